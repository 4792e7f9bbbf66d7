"""What the commands of ``sealmarket infer`` share: their options, and the way to a service that may be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import UNSET, UnsetType

from sealmarket.cli._asking import progress
from sealmarket.cli._options import Usage, coins, hash_option, home_folder, load_key, market
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import Bytes32, Wei, from_builtins, parse_json
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.numbers import JobId

if TYPE_CHECKING:
    from sealmarket.attestation.policy.rules import AppraisalPolicy
    from sealmarket.inference.pool import Asker, Spending
    from sealmarket.inference.service import Service

_MOST_POLICY = 4 << 20

ServiceId = Annotated[str, typer.Option("--service", help="The service: the id of its job.")]
HostUrl = Annotated[str, typer.Option("--provider", help="Where the provider's host answers.")]
ServiceIds = Annotated[
    list[str], typer.Option("--service", help="The service: the id of its job; repeat for others of the same model.")
]
HostUrls = Annotated[
    list[str], typer.Option("--provider", help="Where the provider's host answers; one for each service, in order.")
]
Grants = Annotated[int, typer.Option(help="How many requests run side by side at each service.", min=1, max=64)]
Cap = Annotated[int, typer.Option(help="Units that one grant may spend.", min=1)]
Budget = Annotated[int, typer.Option(help="Units that each service may cost you in all.", min=1)]
MostUnits = Annotated[int, typer.Option(help="Units that one request may cost.", min=1)]
MostOutput = Annotated[int, typer.Option(help="Units of an answer whose length the client leaves open.", min=1)]
EvidencePolicy = Annotated[
    Path | None, typer.Option(help="Your own policy for its evidence (JSON), beside the owners'.", exists=True)
]
DevelopmentRoots = Annotated[
    list[Path] | None, typer.Option(help="A development root (DER) to accept: evidence is then SIMULATED.")
]
AllowSimulated = Annotated[bool, typer.Option("--allow-simulated", help="Take a virtual device, which hides nothing.")]


def service_option(text: str) -> JobId:
    """The id of a service."""
    return JobId(hash_option(text))


def folder_of(service: str) -> Path:
    """Where a service's grants and receipts lie."""
    from sealmarket.inference.opening import service_folder

    return service_folder(home_folder(), service_option(service))


def spending_of(grants: int, cap: int, budget: int) -> Spending:
    """What the user allows."""
    from sealmarket.inference.pool import Spending

    return Spending(grants=grants, cap=cap, budget=budget)


@contextmanager
def asking(service: str, provider: str, *arguments: Any, **options: Any) -> Iterator[Asker]:
    """Prove a service, and hold what asks it; arguments as for :func:`asking_all`."""
    with asking_all([service], [provider], *arguments, **options) as askers:
        yield askers[0]


@contextmanager
def asking_all(
    services: list[str],
    providers: list[str],
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
) -> Iterator[list[Asker]]:
    """Prove services, and hold what asks them. Of several, one that is not proven is left out, and named.

    Raises:
        Usage: not one address for each service.
        ServiceNotProven, and what else a check raises: the only service, or the last one of which none is proven.
    """
    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
    from sealmarket.inference.host import ServiceHost
    from sealmarket.inference.opening import opened, prove, service_folder

    if len(services) != len(providers):
        raise Usage(
            f"{len(services)} services and {len(providers)} addresses, expected one --provider for each --service",
            remedy="name them in the same order",
        )
    jobs, own = [service_option(service) for service in services], _policy(evidence_policy)
    roots = TrustAnchors.production().with_development(*map(read_file, development_root))
    account = load_key(key_file, passphrase_file)
    askers: list[Asker] = []
    with ExitStack() as stack:
        chain, _, _ = stack.enter_context(market(book, rpc, accept_code))
        for job_id, provider in dict(zip(jobs, providers, strict=True)).items():
            host = stack.enter_context(closing(ServiceHost(provider, job_id)))
            progress(f"verifying service {job_id}: chain, decision, evidence, key")
            try:
                proven = prove(chain, host, job_id, roots, own, simulated=allow_simulated)
            except SealmarketError as error:
                if job_id == jobs[-1] and not askers:
                    raise
                progress(f"WARNING: service {job_id} is left out: {error}")
                continue
            folder = service_folder(home_folder(), job_id)
            askers.append(stack.enter_context(opened(chain, host, proven, account, spending, folder)))
        yield askers


def _policy(path: Path | None) -> AppraisalPolicy | None:
    from sealmarket.attestation.policy.rules import AppraisalPolicy

    if path is None:
        return None
    try:
        return from_builtins(AppraisalPolicy, parse_json(read_file(path, _MOST_POLICY)))
    except MalformedDocument as error:
        raise Usage(f"{path} is no policy for evidence: {error.message}", remedy="see docs/spec/evidence.md") from error


def metered(meter: Bytes32 | UnsetType) -> str:
    """What counts the units of a service, for people."""
    if meter is not UNSET:
        return f"units are counted by the meter {meter}"
    return "units are what the workload says, within the owners' bounds: the owners name no meter"


def facts_lines(service: Service) -> list[str]:
    """A proven service, for people."""
    facts = service.facts
    lines = [f"service {facts.job_id}", f"  provider {facts.provider.checksum}", f"  workload {facts.workload}"]
    lines += [f"  {step.name}: {len(step.checks)} checks hold" for step in service.steps]
    lines += [f"  {coins(Wei(int(facts.unit_price)))} for each unit", f"  {metered(facts.meter)}"]
    lines += [f"  proven at block {service.block.number}"]
    if service.simulated:
        lines.append("  SIMULATED: no hardware stands behind it; its provider can read prompts and answers")
    return lines
