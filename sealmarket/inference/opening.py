"""From a service's id to what may be asked: the checks against a chain, and the state on disk. Heavy imports wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain import Chain
from sealmarket.client.signing import Signer, sign
from sealmarket.client.verified import VerifiedMarket
from sealmarket.inference.grants import GrantShelf
from sealmarket.inference.host import ServiceHost
from sealmarket.inference.pool import Asker, Spending
from sealmarket.inference.receipts import ReceiptFile
from sealmarket.inference.service import Service, ServiceFacts, prove_service
from sealmarket.private_files import read_private, replace_private
from sealmarket.receipts.facts import chain_facts
from sealmarket.receipts.model import Trusted
from sealmarket.serving.lock import only_process
from sealmarket_enclave.protocol.codec import decode_canonical
from sealmarket_enclave.protocol.numbers import JobId

FACTS = "service.json"


def service_folder(home: Path, job_id: JobId) -> Path:
    """Where grants and receipts of a service lie."""
    return home / "inference" / job_id.hex()


def prove(
    chain: Chain, host: ServiceHost, job_id: JobId, roots: TrustAnchors, own: AppraisalPolicy | None, *, simulated: bool
) -> Service:
    """Hold a service against its chain.

    Raises:
        MarketNotVerified, ServiceNotProven: a check failed.
        ChainError, HostRefused, HttpError: a check could not be made, which counts as a no.
    """
    VerifiedMarket(chain).require()
    document = host.document()
    facts = chain_facts(chain, job_id)
    package = host.evidence(facts.record.spec, document.evidence_hash, chain.book.chain_id, chain.book.market)
    trusted = Trusted(book=chain.book, facts=facts, roots=roots)
    return prove_service(document, package, trusted, own=own, allow_simulated=simulated)


@contextmanager
def opened(
    chain: Chain, host: ServiceHost, service: Service, account: Signer, spending: Spending, folder: Path
) -> Iterator[Asker]:
    """What asks a proven service. One process holds the folder. Raises :class:`StateInUse`."""
    with only_process(folder):
        replace_private(folder / FACTS, service.facts.canonical())
        with closing(GrantShelf(folder)) as shelf:
            yield Asker(service, shelf, ReceiptFile(folder), host, partial(sign, account, chain.book), spending)


def known_facts(folder: Path) -> ServiceFacts:
    """What was proven of a service when it was last opened. Raises OSError where it never was."""
    return decode_canonical(ServiceFacts, read_private(folder / FACTS))
