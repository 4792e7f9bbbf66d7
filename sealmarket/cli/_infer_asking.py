"""The way of ``infer proxy`` and ``infer chat`` to services that may be asked: found, proven, and held open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sealmarket.cli._asking import progress
from sealmarket.cli._infer_choice import places
from sealmarket.cli._infer_service import Named
from sealmarket.cli._options import Usage, home_folder, load_key, market
from sealmarket.client.signing import address_of
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import from_builtins, parse_json
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError

if TYPE_CHECKING:
    from sealmarket.attestation.policy.rules import AppraisalPolicy
    from sealmarket.inference.pool import Asker, Spending
    from sealmarket_enclave.protocol.numbers import JobId

_MOST_POLICY = 4 << 20
_PROOF_SECONDS = 60.0
"""For each document that a host shows of its service."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Services that are proven and held open, where others like them are found, and what proves and holds one more."""

    askers: list[Asker]
    find: Callable[[], Mapping[JobId, str]]
    open_one: Callable[[JobId, str], Asker]


@contextmanager
def asking_all(
    named: Named,
    book: Path,
    rpc: str,
    key_file: Path,
    spending: Spending,
    *,
    evidence_policy: Path | None,
    development_root: list[Path],
    allow_simulated: bool,
    accept_code: str | None,
    passphrase_file: Path | None,
) -> Iterator[Asked]:
    """Prove services, and hold what asks them. Of several, one that is not proven is left out, and named.

    Raises:
        ServiceNotProven, and what else a check raises: the only service, or the last one of which none is proven.
    """
    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
    from sealmarket.client.offered_services import model_of
    from sealmarket.http import HttpClient
    from sealmarket.inference.host import ServiceHost
    from sealmarket.inference.opening import opened, prove, service_folder

    roots = TrustAnchors.production().with_development(*map(read_file, development_root))
    own, account = _policy(evidence_policy), load_key(key_file, passphrase_file)
    askers: list[Asker] = []
    with ExitStack() as stack:
        chain, _, api = stack.enter_context(market(book, rpc, accept_code))
        find = partial(places, named, chain, api, address_of(account), simulated=allow_simulated)

        def open_one(job_id: JobId, provider: str) -> Asker:
            with closing(ServiceHost(provider, job_id, HttpClient(seconds=_PROOF_SECONDS))) as shown:
                proven = prove(chain, shown, job_id, roots, own, simulated=allow_simulated)
            host = stack.enter_context(closing(ServiceHost(provider, job_id)))
            folder = service_folder(home_folder(), job_id)
            return stack.enter_context(opened(chain, host, proven, account, spending, folder))

        found = find()
        last = list(found)[-1]
        for job_id, provider in found.items():
            progress(f"verifying service {job_id}: chain, decision, evidence, key")
            try:
                askers.append(open_one(job_id, provider))
            except SealmarketError as error:
                if job_id == last and not askers:
                    raise
                progress(f"WARNING: service {job_id} is left out: {error}")
        yield Asked(askers, partial(find, model=model_of(askers[0].service.spec)), open_one)


def _policy(path: Path | None) -> AppraisalPolicy | None:
    from sealmarket.attestation.policy.rules import AppraisalPolicy

    if path is None:
        return None
    try:
        return from_builtins(AppraisalPolicy, parse_json(read_file(path, _MOST_POLICY)))
    except MalformedDocument as error:
        raise Usage(f"{path} is no policy for evidence: {error.message}", remedy="see docs/spec/evidence.md") from error
