"""What the commands of ``sealmarket infer`` share: their options, and the way to a service that may be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import UNSET, UnsetType

from sealmarket.cli._options import Usage, asset_option, coins, hash_option, home_folder
from sealmarket_enclave.protocol.codec import Bytes32, Wei
from sealmarket_enclave.protocol.numbers import JobId

if TYPE_CHECKING:
    from sealmarket.client.offered_services import ServiceWish
    from sealmarket.inference.pool import Spending
    from sealmarket.inference.service import Service

ServiceId = Annotated[str, typer.Option("--service", help="The service: the id of its job.")]
OfAsset = Annotated[
    str | None, typer.Option("--asset", help="A model in place of a service: 0xID, 0xID:VERSION, or its card.")
]
OfWorkload = Annotated[
    str | None, typer.Option("--workload", help="Only services of this workload: its folder, or its digest.")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Which services a user asks: by their ids, or as those of a model at which the user has a tab."""

    service: Annotated[
        list[str] | None,
        typer.Option("--service", help="The service: the id of its job; repeat for others of the same model."),
    ] = None
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", help="Where each host answers, in order; without it, where the market says."),
    ] = None
    asset: OfAsset = None
    workload: OfWorkload = None

    def __post_init__(self) -> None:
        """Raises :class:`Usage` for options that name nothing, or contradict each other."""
        model = self.asset is not None
        if self.workload is not None and not model:
            raise Usage(
                "--workload alone names no model: any owner may allow an enclave of its own to serve that workload",
                remedy="name the model you trust with --asset; --workload then narrows the choice",
            )
        services, addresses = len(self.service or ()), len(self.provider or ())
        if bool(self.service) == model:
            raise Usage(
                f"{services} services and {'a' if model else 'no'} model are named, expected one of the two",
                remedy="name --asset, or each --service",
            )
        if addresses not in (0, services):
            raise Usage(
                f"{services} services and {addresses} addresses, expected one --provider for each --service",
                remedy="name them in the same order, or none: the market says where each is",
            )


def wish_of(asset: str | None, workload: str | None, *, simulated: bool) -> ServiceWish:
    """Which services are looked for. Raises :class:`Usage`."""
    from sealmarket.client.offered_services import ServiceWish
    from sealmarket.workloads.folders import read_bundle

    asset_id, version = (None, None) if asset is None else asset_option(asset)
    digest = None
    if workload is not None:
        digest = hash_option(workload) if workload.startswith("0x") else read_bundle(Path(workload)).digest
    return ServiceWish(asset=asset_id, version=version, workload=digest, simulated=simulated)


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
