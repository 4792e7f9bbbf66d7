"""The options of `owner policy new`, by what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._options import Usage
from sealmarket_enclave.protocol.policy import MAX_WITHHELD


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveOptions:
    """The options of `owner policy new` about which code may run in which enclaves, and who may read their evidence."""

    workload: Annotated[
        list[str] | None, typer.Option(help="A workload that may run: its folder, or its digest; repeat.")
    ] = None
    evidence: Annotated[
        Path | None,
        typer.Option(help="Which enclaves: of `worker image measure`, or an appraisal policy.", exists=True),
    ] = None
    allow_simulated: Annotated[
        bool, typer.Option("--allow-simulated", help="Accept enclaves that NO hardware stands behind.")
    ] = False
    auditor: Annotated[
        list[Path] | None,
        typer.Option(help="The public key of an auditor who may read each job's evidence; repeat.", exists=True),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsOptions:
    """The options of `owner policy new` about who may use the data, for what, how long, and for how much."""

    price: Annotated[str | None, typer.Option(help="Of one use: 0.5coin.")] = None
    expiry: Annotated[str | None, typer.Option(help="The end: 2027-01-31, or in 90 days.")] = None
    max_uses: Annotated[str | None, typer.Option(help="How often it may be used.")] = None
    purposes: Annotated[str | None, typer.Option(help="train, fine_tune, infer, query; with commas.")] = None
    consumer: Annotated[list[str] | None, typer.Option(help="An account that may ask; repeat. None: anyone.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """The options of `owner policy new` about what may leave an enclave."""

    formats: Annotated[str | None, typer.Option(help="Media types that may leave, with commas.")] = None
    max_outputs: Annotated[int, typer.Option(help="Files that one job may hand out.", min=1, max=255)] = 2
    max_bytes: Annotated[int, typer.Option(help="Bytes that one job may hand out.", min=1)] = 5 << 20
    minimum_owners: Annotated[str | None, typer.Option(help="The least number of owners whose data a job pools.")] = (
        None
    )
    validators: Annotated[
        bool, typer.Option("--validators", help="Let outputs leave by their content only: the shipped validators.")
    ] = False
    smallest_group: Annotated[
        int | None,
        typer.Option(help="Rows behind each leaf of a model; needs --card and workloads that take tables.", min=2),
    ] = None
    withhold: Annotated[
        int | None,
        typer.Option(
            help="Rows of a thousand that no workload gets, to test what a model remembers; needs --card.",
            min=1,
            max=MAX_WITHHELD,
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """The options of `owner policy new` about what is published of the data."""

    label: Annotated[list[str] | None, typer.Option(help="A declared purpose: a DPV term or a DUO code; repeat.")] = (
        None
    )
    columns_of: Annotated[
        Path | None, typer.Option(help="A CSV file: its column names are published, no row.", exists=True)
    ] = None
    description: Annotated[str | None, typer.Option(help="What workload authors should know of the data.")] = None
    card: Annotated[
        Path | None, typer.Option(help="The data card of `owner describe`; sealing holds the data against it.")
    ] = None

    def require_one_card(self) -> None:
        """Raise :class:`Usage` where a card is named and parts of another are given beside it."""
        if self.card is not None and (self.columns_of or self.description or self.label):
            raise Usage("--card says all of the data", remedy="give the rest to `sealmarket owner describe`")
