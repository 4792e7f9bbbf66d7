"""The steps of an enclave on local files: each input through its card's reader, each output before the validators.

The runtime's order and interface (docs/spec/steps.md), with three differences: what does not fit is named in words; a
validator that takes data is given all inputs, since nothing here says whose they are; and where a policy has rows
withheld, they are the same ones in each run, since a trial needs no secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.errors import InputsRefused, ReaderFailed
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.local import LocalRun
from sealmarket.workloads.reading import read
from sealmarket.workloads.steps import Kind, Step, named
from sealmarket_enclave.protocol.card import ARROW, Card
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.protocol.steps import (
    DATA,
    OUTPUT,
    RULES,
    TABLE,
    VERDICT,
    WITHHELD,
    WITHHELD_PERMILLE,
    WITHHELD_SECRET,
    WITHHELD_TABLE,
    read_verdict,
)
from sealmarket_enclave.workload.manifest import Manifest, Value

REFUSED, NO_VERDICT = "output_refused", "validator_failed"
"""How a run ends whose output a validator refuses, or that one said nothing about."""
_TRIAL_SECRET = "00" * 32


@dataclass(frozen=True, slots=True)
class StepShelf:
    """Where steps come from: ``folders`` of one's own, and those that come with Sealmarket."""

    cache: WorkloadCache
    folders: tuple[Path, ...] = ()

    def find(self, digest: Bytes32, kind: Kind) -> Step:
        """The step with a digest. Raises :class:`StepUnknown`, :class:`FetchFailed`."""
        for folder in self.folders:
            bundle = read_bundle(folder)
            if bundle.digest == digest:
                return Step(bundle.manifest.name, bundle, folder, self.cache)
        return named(digest, self.cache, kind=kind)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one validator says of one output. An enclave keeps ``code`` to itself; None for an output that passes."""

    output: str
    validator: Bytes32
    name: str
    code: str | None


@dataclass(frozen=True, slots=True)
class LocalInputs:
    """What a workload is ``given``, by the names of its inputs, and the tables ``withheld`` from it."""

    given: dict[str, bytes] = field(default_factory=dict)
    withheld: dict[str, bytes] = field(default_factory=dict)


def read_by_cards(
    manifest: Manifest,
    files: Mapping[str, bytes],
    cards: Sequence[Card | None],
    shelf: StepShelf,
    withholds: int = 0,
) -> LocalInputs:
    """What a workload is given: each input held against its card, as a table where its slot says so.

    Args:
        files: by the names under which the workload takes them, in that order.
        cards: in the order of ``files``; None for an input without a promise.
        withholds: how many rows of a thousand are withheld of each input; 0 for none.

    Raises:
        InputsRefused: another number of cards, or a slot for a table whose card names no reader; rows to be withheld
            of an input that the workload does not take as a table.
        ContentUnfit: data that is not what its card promises, with the column named.
        ReaderFailed, StepUnknown: a reader that gives no report, or is not here.
    """
    if len(cards) != len(files):
        raise InputsRefused(f"{len(cards)} cards for {len(files)} files", "a card for each file, in their order")
    found = LocalInputs()
    parameters: dict[str, Value] = {WITHHELD_PERMILLE: withholds, WITHHELD_SECRET: _TRIAL_SECRET} if withholds else {}
    wanted = (TABLE, WITHHELD_TABLE) if withholds else (TABLE,)
    for (name, content), card in zip(files.items(), cards, strict=True):
        table = manifest.slot(name).media_type == ARROW
        if withholds and not table:
            raise InputsRefused(f"the policy has rows of {name} withheld", "a workload that takes it as a table")
        if card is None or card.reader is None:
            if table:
                raise InputsRefused(f"no reader makes a table of {name}", "a card that names a reader")
            found.given[name] = content
            continue
        outputs = read(content, card, shelf.find(card.reader.digest, "readers"), table=table, **parameters)
        for missing in (one for one in wanted if table and one not in outputs):
            raise ReaderFailed(f"no {missing}")
        found.given[name] = outputs[TABLE] if table else content
        if withholds:
            found.withheld[name] = outputs[WITHHELD_TABLE]
    return found


def judged(
    ended: LocalRun, manifest: Manifest, rules: OutputRules, inputs: LocalInputs, shelf: StepShelf
) -> tuple[LocalRun, list[Judgement]]:
    """The run as the validators leave it, and what each says. A run that failed before is left as it is.

    Raises:
        StepUnknown, FetchFailed: a validator that is not here.
    """
    if ended.failure:
        return ended, []
    found = list(_judgements(ended.outputs, manifest, rules, inputs, shelf))
    failure = next((NO_VERDICT if one.code == NO_VERDICT else REFUSED for one in found if one.code is not None), "")
    return (replace(ended, failure=failure, outputs={}) if failure else ended), found


def _judgements(
    outputs: Mapping[str, bytes],
    manifest: Manifest,
    rules: OutputRules,
    inputs: LocalInputs,
    shelf: StepShelf,
) -> Iterator[Judgement]:
    media_types = {output.name: output.media_type for output in manifest.outputs}
    for name in sorted(outputs):
        for check in rules.checks:
            if check.media_type != media_types[name]:
                continue
            step = shelf.find(check.digest, "validators")
            given: dict[str, bytes | memoryview] = {OUTPUT: outputs[name], RULES: check.rules_text}
            if check.takes_data:
                given |= {f"{DATA}-{number}": data for number, data in enumerate(inputs.given.values(), 1)}
            if check.withholds:
                given |= {f"{WITHHELD}-{number}": data for number, data in enumerate(inputs.withheld.values(), 1)}
            try:
                ran = step.run(given, {})
                code = read_verdict(ran.outputs[VERDICT]).code
            except (KeyError, MalformedDocument):
                code = NO_VERDICT
            yield Judgement(name, check.digest, step.name, code)
