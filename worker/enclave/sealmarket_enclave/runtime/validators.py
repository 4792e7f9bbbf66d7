"""Hold outputs against the owners' validators: each in a sandbox of its own, all must pass before anything leaves.

Rules (docs/spec/steps.md, "Validators"):

1. For each output, each validator of its media type runs once, in the order of the outputs' names; one that several
   owners name alike runs once for all of them.
2. It is given the output and its rules. With ``data`` it is also given the data of the owners who name it so, as the
   workload had them: no owner's data reach a step that this owner does not name. One that demands withheld rows is
   given those too, apart.
3. A verdict that does not pass withholds everything, as any output that the rules do not allow. Its code stays inside,
   since a workload could choose it to say something.
4. A validator that gives no verdict withholds everything too. If the request granted what is fair (:mod:`.grants`), the
   failure names the first asset whose owner names it; provider and owners are paid as for a workload out of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.policy import OutputRules, Validator
from sealmarket_enclave.protocol.steps import DATA, MAXIMUM_VERDICT, OUTPUT, RULES, VERDICT, WITHHELD, read_verdict
from sealmarket_enclave.runtime.errors import StepFailed, WorkloadFailed
from sealmarket_enclave.runtime.grants import UNFINISHED, Grant
from sealmarket_enclave.runtime.outputs import DeclaredOutput
from sealmarket_enclave.runtime.workplace import StepCall, Steps
from sealmarket_enclave.sandbox import FailureKind
from sealmarket_enclave.workload.timing import seconds_for_step


@dataclass(frozen=True, slots=True)
class Held:
    """One output to be held against one validator, for the owners of the assets at ``indices``."""

    name: str
    check: Validator
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Validating:
    """What validators of one job are given. ``clock`` is wall time in seconds; ``data`` is in the assets' order.

    ``withheld`` has the rows that the workload did not have, by the place of their asset.
    """

    steps: Steps
    clock: Callable[[], float]
    rules: Sequence[OutputRules]
    data: Sequence[bytes | bytearray]
    withheld: Mapping[int, bytes | bytearray]

    def require(self, outputs: Mapping[str, bytes], declared: Mapping[str, DeclaredOutput], seconds: int) -> None:
        """Return if every validator of every output passes within ``seconds``.

        Raises:
            WorkloadFailed: one does not pass, or does not finish within less than what is fair.
            StepFailed: one gave no verdict.
        """
        held = tuple(
            Held(name, check, indices)
            for name in sorted(outputs)
            for check, indices in self._named()
            if check.media_type == declared[name].media_type
        )
        inputs = [self._inputs(one, outputs[one.name]) for one in held]
        grant = Grant(seconds, tuple(seconds_for_step(sum(map(len, given.values()))) for given in inputs))
        until = self.clock() + seconds
        for place, (one, given) in enumerate(zip(held, inputs, strict=True)):
            self._hold(one, given, grant.seconds(place, until - self.clock()), fair=grant.fair)

    def _named(self) -> list[tuple[Validator, tuple[int, ...]]]:
        """Each validator once, with the assets whose owners name it."""
        named: dict[bytes, tuple[Validator, list[int]]] = {}
        for index, rules in enumerate(self.rules):
            for check in rules.checks:
                named.setdefault(check.canonical(), (check, []))[1].append(index)
        return [(check, tuple(indices)) for check, indices in named.values()]

    def _inputs(self, one: Held, output: bytes) -> dict[str, bytes | bytearray]:
        given: dict[str, bytes | bytearray] = {OUTPUT: output, RULES: one.check.rules_text}
        for number, index in enumerate(one.indices if one.check.takes_data else (), 1):
            given[f"{DATA}-{number}"] = self.data[index]
            if one.check.withholds:
                given[f"{WITHHELD}-{number}"] = self.withheld[index]
        return given

    def _hold(self, one: Held, given: Mapping[str, bytes | bytearray], seconds: float, *, fair: bool) -> None:
        call = StepCall(one.check.digest, given, MAXIMUM_VERDICT, seconds, {})
        try:
            verdict = read_verdict(self.steps.run(call).get(VERDICT, b""))
        except MalformedDocument:
            raise StepFailed(one.indices[0]) from None
        except WorkloadFailed as error:
            if error.kind in UNFINISHED and not fair:
                raise WorkloadFailed(FailureKind.OUT_OF_TIME) from error
            raise StepFailed(one.indices[0]) from error
        if not verdict.passes:
            raise WorkloadFailed("output_refused")
