"""The terms for services of a new policy draft: what `owner policy new` asks where the data may answer users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import UNSET

from sealmarket.cli._asking import Asker
from sealmarket.cli._options import Usage, amount, hash_option
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import Bytes32

_ENDPOINTS = "chat,completions,models"
_MOST_COUNT = 9
"""Digits of a count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """The options of `owner policy new` that are about services."""

    serving: Annotated[
        bool | None,
        typer.Option(
            "--serving/--no-serving",
            help="May a service answer users from it, paid by the unit? By default where a workload is one.",
        ),
    ] = None
    per_unit: Annotated[
        str | None,
        typer.Option(help="What a unit (a token, a scored row) earns you at least; by default price / max-lease."),
    ] = None
    max_lease: Annotated[str | None, typer.Option(help="Most units that are served and not yet paid for.")] = None
    max_prompt_units: Annotated[str | None, typer.Option(help="Most units of one prompt.")] = None
    max_answer_units: Annotated[str | None, typer.Option(help="Most units of one answer.")] = None
    unit_bytes: Annotated[
        str | None, typer.Option(help="So many bytes of an answer cost a unit, whatever the workload counts.")
    ] = None
    endpoints: Annotated[str | None, typer.Option(help="What it may answer, with commas: chat, score.")] = None
    meter: Annotated[
        str | None,
        typer.Option(help="What counts units, in place of the workload: a meter's folder, or its digest."),
    ] = None

    @property
    def details(self) -> list[str]:
        """The options that were given, but for the first."""
        names = [field.name for field in fields(self)[1:]]
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]


def serves(ask: Asker, options: ServingOptions, kinds: Sequence[bool | None]) -> bool:
    """Whether a service may answer. ``kinds``: of each workload whether it serves; None where only a digest is known.

    Raises:
        Usage: the answer leaves nothing that the workloads could do, or options contradict it.
    """
    all_serve, none_serves = all(kind is True for kind in kinds), all(kind is False for kind in kinds)
    given = {None: "yes" if options.details else None, True: "yes", False: "no"}[options.serving]
    question = "May a service answer users from it, paid by the unit (yes or no)"
    found = ask("--serving", given, question, "yes" if True in kinds else "no", _yes_or_no)
    if found and none_serves:
        raise Usage(
            "a service runs a workload of kind session, and each workload named is of kind batch",
            remedy="name the session's folder (`sealmarket workload new --template gguf-chat`), or say --no-serving",
        )
    if not found and all_serve:
        raise Usage(
            "each workload named only serves, and --no-serving lets none of them", remedy="leave --no-serving out"
        )
    if not found and options.details:
        raise Usage(
            f"{', '.join(options.details)} and --no-serving say two things",
            remedy="leave --no-serving out, or the others",
        )
    return found


def serving_terms(ask: Asker, options: ServingOptions, price: int) -> dict[str, Any]:
    """What a draft says under ``serving``. ``price`` of a use, in the smallest unit, covers a lease by default."""
    lease = ask("--max-lease", options.max_lease, "Most units served and not yet paid for", "100000", count)
    question = "What does a unit (a token, a scored row) earn you at least"
    per_unit = ask("--per-unit", options.per_unit, question, str(price // lease), amount)
    meter = ask("--meter", options.meter, "What counts units: a meter's folder or digest, or none", "none", _meter)
    question = "What may it answer, with commas (a table's model: score)"
    return {
        "perUnit": str(int(per_unit)),
        "maxLease": str(lease),
        "maxPromptUnits": str(
            ask("--max-prompt-units", options.max_prompt_units, "Most units of a prompt", "2048", count)
        ),
        "maxAnswerUnits": str(
            ask("--max-answer-units", options.max_answer_units, "Most units of an answer", "1024", count)
        ),
        "unitBytes": ask("--unit-bytes", options.unit_bytes, "Bytes of an answer that cost a unit", "64", count),
        "endpoints": ask("--endpoints", options.endpoints, question, _ENDPOINTS, _endpoints),
    } | ({} if meter is None else {"meter": str(meter)})


def count(text: str) -> int:
    """A whole number from 1 on. Raises :class:`Usage`."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_COUNT and int(text)):
        raise Usage(f"{text[:80]!a} is no count", remedy="write a whole number from 1 on")
    return int(text)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("yes", "y", "no", "n"):
        raise Usage(f"{text[:80]!a} is neither yes nor no", remedy="write yes, or no")
    return text.lower().startswith("y")


def _meter(text: str) -> Bytes32 | None:
    if text == "none":
        return None
    if text.startswith("0x"):
        return hash_option(text)
    bundle = read_bundle(Path(text))
    if bundle.manifest.session is UNSET:
        raise Usage(f"{text[:80]} is no meter", remedy="make one: sealmarket workload meter FOLDER --model MODEL.gguf")
    return bundle.digest


def _endpoints(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
