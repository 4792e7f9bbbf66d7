"""A job of a minute beside its plain run, by processor time, and what of it is the checks of content.

Checks are what holds inputs and outputs against their owners' rules: the readers, which are sandboxes that run while
the containers are opened, and the whole stage `validate`. An enclave that has neither gives a share near 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.benchmarks._cpu import Enclaves

MINUTE_SECONDS = 60.0
MOST_TIMES = 64
TARGET, SHARE_TARGET = 1.02, 0.1
_STUDENT_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Of 1 to 10 degrees of freedom, two-sided."""


@dataclass(frozen=True, slots=True)
class MinutePair:
    """Seconds of processor time: of the job from opening to sealing, of the checks in it, and of the plain run."""

    job: float
    checks: float
    plain: float

    @property
    def ratio(self) -> float:
        """The job beside the plain run."""
        return self.job / self.plain


def times(plain_cpu: float, wanted: float = MINUTE_SECONDS) -> int:
    """How often the rows have to be there for a plain run of ``wanted`` seconds, if one takes ``plain_cpu``."""
    return max(1, min(MOST_TIMES, math.ceil(wanted / max(plain_cpu, 0.1))))


def pair_of(
    enclaves: Enclaves, began: Mapping[str, float], seconds: Mapping[str, float], plain_cpu: float
) -> MinutePair:
    """What one job's enclave used, by when its stages began (Unix time) and how long they took."""
    end = began["seal"] + seconds["seal"]
    whole = enclaves.during(began["open"], end)
    reading = enclaves.during(began["open"], began["compute"])
    checks = reading.tree - reading.own
    if "validate" in began:
        checks += enclaves.during(began["validate"], began["seal"]).tree
    return MinutePair(whole.tree, checks, plain_cpu)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The geometric mean of ratios, and the bounds within which it is with 95 % confidence (Student's t)."""
    logs = [math.log(value) for value in values]
    middle = statistics.mean(logs)
    if len(logs) < 2:
        return math.exp(middle), 0.0, math.inf
    factor = _STUDENT_95[min(len(logs) - 1, len(_STUDENT_95)) - 1]
    half = factor * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def results_of(pairs: Sequence[MinutePair]) -> list[dict[str, Any]]:
    """The two figures; none without pairs."""
    if not pairs:
        return []
    job, plain = (statistics.median(values) for values in ([p.job for p in pairs], [p.plain for p in pairs]))
    ratio, low, high = interval([pair.ratio for pair in pairs])
    share = statistics.median(pair.checks / pair.job for pair in pairs)
    checks = statistics.median(pair.checks for pair in pairs)
    bounds = {"ci_low": round(low, 4), "ci_high": round(high, 4) if math.isfinite(high) else None}
    return [
        {"name": "job_minute_vs_plain", "value": round(job, 3), "unit": "s", "beside_value": round(plain, 3),
         "beside": "the same training, plainly (processor time)", "ratio": round(ratio, 4), "target": TARGET, **bounds},
        {"name": "checks_share", "value": round(checks, 3), "unit": "s", "beside_value": round(job, 3),
         "beside": "all of the job (processor time)", "ratio": round(share, 4), "target": SHARE_TARGET},
    ]  # fmt: skip


def report(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the two, if they are there."""
    found = {one["name"]: one for one in results}
    if (one := found.get("job_minute_vs_plain")) is None:
        return
    share = found["checks_share"]
    print("\nA job of a minute, by processor time, from opening to sealing\n")
    print(f"{'in the enclave, its sandboxes included':50}{one['value']:9.3f} s")
    print(f"{one['beside']:50}{one['beside_value']:9.3f} s")
    bounds = f"95 % of {one['ci_low']} to {one['ci_high']}"
    print(f"{'ratio, the geometric mean of the pairs':50}{one['ratio']:9.4f}   target <= {TARGET}; {bounds}")
    print(f"{'share of reading and validating checks':50}{share['ratio']:9.4f}   target <= {SHARE_TARGET}")
