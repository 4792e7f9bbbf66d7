"""Where users reach the services of this market: the address that each one's provider signed, and what it serves.

1. Kept is what the provider of an accepted job of kind session signed: an address costs a job, with its stake.
2. Of one service the address that was signed last, and none that is dated more than :data:`AHEAD_SECONDS` ahead of this
   clock, which no later one could replace.
3. Listed are those whose job is accepted. The others are gone with the next address that is kept.
"""

from __future__ import annotations

from sealmarket.protocol.services import SignedServiceAddress
from sealmarket.protocol.transitions import Status
from sealmarket.serving.rates import UNKNOWN_PEER
from sealmarket_backend.errors import NotFound, Rejected
from sealmarket_backend.index import Index
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json, decode
from sealmarket_enclave.protocol.numbers import Kind

AHEAD_SECONDS = 600
_KEEP = (
    "INSERT INTO services (job_id, workload, body, signed_at, sequence)"
    " VALUES (?, ?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM services))"
    " ON CONFLICT (job_id) DO UPDATE SET body = excluded.body, signed_at = excluded.signed_at"
)
_OVER = "NOT IN (SELECT job_id FROM jobs WHERE status = ?)"


class ServiceAddresses:
    """Keeps them."""

    def __init__(self, database: Database, signatures: Signatures, index: Index) -> None:
        self._database, self._signatures, self._index = database, signatures, index

    def add(self, signed: SignedServiceAddress, now: int, peer: str = UNKNOWN_PEER) -> None:
        """Keep the address of a service. Posting it twice is the same as once.

        Raises:
            NotFound: no such job in a final block.
            Rejected: no accepted job of kind session, not its provider's, dated ahead, or older than the kept one.
        """
        address = signed.address
        job = self._index.job(address.job_id)
        if job.spec.kind is not Kind.SESSION or job.status != Status.ACCEPTED.name.lower():
            raise Rejected(
                f"job {address.job_id} is {job.status}, of kind {job.spec.kind.slug}; expected an accepted session",
                remedy="post the address once the nodes have accepted the service's evidence",
            )
        if address.signed_at > now + AHEAD_SECONDS:
            raise Rejected(
                f"the address is signed at {address.signed_at}, more than {AHEAD_SECONDS} s ahead of {now}",
                remedy="set the clock, and sign it again",
            )
        self._signatures.require(address, signed.signature, job.spec.provider, peer)
        with self._database.write() as connection:
            kept = connection.execute("SELECT signed_at FROM services WHERE job_id = ?", (address.job_id,)).fetchone()
            if kept is not None and kept["signed_at"] > address.signed_at:
                raise Rejected("a later address of this service is kept", remedy="sign a new one to change it")
            for table in ("services", "served_assets"):
                connection.execute(f"DELETE FROM {table} WHERE job_id {_OVER}", (int(Status.ACCEPTED),))  # noqa: S608 - ours
            body = canonical_json(signed)
            connection.execute(_KEEP, (address.job_id, job.spec.workload_digest, body, address.signed_at))
            connection.executemany(
                "INSERT INTO served_assets (asset_id, job_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(use.asset_id, address.job_id) for use in job.spec.assets],
            )

    def of(self, job_id: Bytes32) -> SignedServiceAddress:
        """The address of one service, whatever became of it. Raises :class:`NotFound`."""
        row = self._database.row("SELECT body FROM services WHERE job_id = ?", job_id)
        if row is None:
            raise NotFound(f"no address of service {job_id}", remedy="its provider names one as `url` of its worker")
        return decode(SignedServiceAddress, row["body"])
