"""Services that can be asked: what a backend lists, each held against the chain. What does not hold is left out.

1. Its address is signed by the provider of the job.
2. At a final block the job is of kind session, and Accepted.
3. At the head the service is open and before its end, the enclave has not signed its last statement, and no asset of it
   is revoked.

That nothing else is there is the backend's statement, which no reader can check. Nothing here proves an enclave: who
asks a service holds its evidence against the policies first (:mod:`sealmarket.inference.service`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sealmarket.chain import Chain
from sealmarket.chain.sessions import ServiceState
from sealmarket.client.errors import ClientError, JobNotFound
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.services import SignedServiceAddress
from sealmarket.protocol.signatures import require_signer
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId, Kind
from sealmarket_enclave.protocol.signing import SignatureRefused

MOST_LOOKED_AT = 64
"""Of the services that a backend lists, in one search: each costs a few calls of the chain."""


class ServiceNotOffered(ClientError):
    """A service cannot be asked, or nothing says where."""

    def __init__(self, what: str, expected: object, found: object, remedy: str) -> None:
        super().__init__(f"{what}: expected {expected}, found {found}", remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceWish:
    """Which services are looked for; None: any. Without ``version`` any of the asset.

    ``simulated``: also those whose terms let a virtual device serve.
    """

    asset: AssetId | None = None
    version: int | None = None
    workload: Bytes32 | None = None
    simulated: bool = False

    def takes(self, spec: JobSpec) -> bool:
        """Whether a service is one of them."""
        uses = [use for use in spec.assets if self.asset in (None, use.asset_id)]
        return (
            any(self.version in (None, use.version) for use in uses)
            and self.workload in (None, spec.workload_digest)
            and (self.simulated or spec.min_grade is Grade.HARDWARE)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedService:
    """A service by what the chain says, and where its provider says that it is reached."""

    job_id: JobId
    url: str
    spec: JobSpec
    state: ServiceState
    now: int
    """The time of the head by which ``state`` is."""

    @property
    def takes_tabs(self) -> bool:
        """Whether its bond lets a tab open."""
        return self.state.bond >= self.state.least_bond

    @property
    def model(self) -> tuple[object, ...]:
        """What services that stand in for each other have in common."""
        return model_of(self.spec)


def model_of(spec: JobSpec) -> tuple[object, ...]:
    """What the specifications of services that stand in for each other have in common."""
    return (spec.workload_digest, *((use.asset_id, use.version) for use in spec.assets))


class ServiceFinder:
    """Looks for services of one market."""

    def __init__(self, chain: Chain, api: MarketApi) -> None:
        self._chain, self._api = chain, api

    def find(self, wish: ServiceWish) -> list[OfferedService]:
        """Services that can be asked, the cheapest first, of the :data:`MOST_LOOKED_AT` newest that the market lists.

        Raises:
            ChainError, ServiceError: chain or backend do not answer.
        """
        self._chain.head()  # a wrong chain is named before a backend is asked
        found: list[OfferedService] = []
        for signed in self._listed(wish):
            try:
                service = self.checked(signed)
            except (ServiceNotOffered, JobNotFound):
                continue
            if wish.takes(service.spec):
                found.append(service)
        return sorted(found, key=lambda one: (one.state.unit_price, -one.state.end))

    def of(self, job_id: JobId) -> OfferedService:
        """One service, with its address. Raises :class:`ServiceNotOffered`, ItemNotFound for no address, ChainError."""
        return self.checked(self._api.services.address(job_id))

    def checked(self, signed: SignedServiceAddress) -> OfferedService:
        """A service whose address and state hold.

        Raises:
            ServiceNotOffered: a rule does not hold, and which.
            JobNotFound: no such job up to the newest final block.
            ChainError: the chain cannot be read.
        """
        address, book = signed.address, self._chain.book
        record = read_job(self._chain, address.job_id)
        spec = record.spec
        serves = record.status is Status.ACCEPTED and spec.kind is Kind.SESSION
        _require(serves, "an accepted service", f"a {spec.kind.slug} job that is {record.status.name.lower()}")
        try:
            digest = address.digest(book.chain_id, book.market)
            require_signer(digest, signed.signature, spec.provider, "the address of a service")
        except SignatureRefused as error:
            raise ServiceNotOffered("address", "its provider's signature", error.message, _NAME_IT) from error
        head = self._chain.head()
        state = self._chain.sessions_at(head).service(address.job_id)
        _require(state.exists and state.enclave_signer == _signer_of(record), "a service that is open", "none")
        _require(head.timestamp < state.end and not state.last, "a service before its end", f"its end at {state.end}")
        view = self._chain.at(head)
        revoked = [use.asset_id for use in spec.assets if view.asset(use.asset_id, use.version).revoked]
        _require(not revoked, "assets in force", f"{len(revoked)} that their owners revoked")
        return OfferedService(job_id=address.job_id, url=address.url, spec=spec, state=state, now=head.timestamp)

    def _listed(self, wish: ServiceWish) -> Iterator[SignedServiceAddress]:
        cursor, seen = None, 0
        while True:
            page = self._api.services.list(asset=wish.asset, workload=wish.workload, cursor=cursor)
            for signed in page.items:
                if seen == MOST_LOOKED_AT:
                    return
                seen += 1
                yield signed
            if not page.items or (cursor := page.next) is None:
                return


_NAME_IT = "name the provider's address yourself (--provider), or another service"


def _require(holds: bool, expected: str, found: str) -> None:
    if not holds:
        raise ServiceNotOffered("the service", expected, found, "name another: sealmarket infer services")


def _signer_of(record: JobRecord) -> Address | None:
    return None if record.enclave is None else record.enclave.enclave_signer
