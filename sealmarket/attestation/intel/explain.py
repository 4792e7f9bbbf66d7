"""The ``intel`` section of an appraisal policy as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.core.model import TcbStatus
from sealmarket.attestation.intel.rules import IntelRules


def explain_platform(rules: IntelRules) -> Iterator[str]:
    """What is required of every Intel platform."""
    if rules.lowest_tcb_status is TcbStatus.UP_TO_DATE:
        yield "Intel must rate the platform UpToDate."
    else:
        yield f"Intel may rate the platform as low as {rules.lowest_tcb_status.value}."
    if rules.tcb_grace_seconds:
        yield f"A worse status passes for {rules.tcb_grace_seconds} seconds after the date of its TCB level."
    allowed = ", ".join(rules.advisories_allowed)
    yield f"Only these advisories may apply: {allowed}." if allowed else "No advisory may apply."
    if rules.minimum_evaluation_number:
        yield f"Collateral must be of TCB evaluation {rules.minimum_evaluation_number} or newer."
    else:
        yield "Collateral of any TCB evaluation that Intel still signs as valid is taken."
    if rules.platform_flags_refused:
        yield f"These platform features must be off: {', '.join(f.value for f in rules.platform_flags_refused)}."


def explain_td(rules: IntelRules) -> Iterator[str]:
    """What is required of a trust domain beside."""
    if rules.sept_ve_disable == "any":
        yield "A TD WITHOUT SEPT_VE_DISABLE is accepted: its host can inject page faults (Azure's TDs are so)."
    names = ", ".join(a.value for a in rules.td_attributes_allowed) or "none"
    yield f"Further TD attributes allowed: {names}. Migration and profiling never."
    if rules.service_td_allowed:
        yield f"{len(rules.service_td_allowed)} service TD(s) may be bound."
