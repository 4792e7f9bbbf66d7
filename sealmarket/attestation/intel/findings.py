"""Intel SGX and TDX reports: acceptable? Everything about the platform and the TD or enclave that the policy refuses.

Checks considered and rejected: the SVNs in a v3 quote's header (informational, unsigned by hardware
policy), XFAM (part of the measurement tuple), MRSEAM (the module's identity and level are proven by TCB
info, which names its signer; pinning hashes would refuse every module update).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport, TcbStatus
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.authenticate import IntelBody
from sealmarket.attestation.intel.quote import TRANSPORT_SIZES, SgxBody, TdBody
from sealmarket.attestation.intel.rules import IntelRules, TdAttribute

_TD_BITS = {
    TdAttribute.LASS: 27,
    TdAttribute.PKS: 30,
    TdAttribute.KL: 31,
    TdAttribute.TPA: 62,
    TdAttribute.PERFMON: 63,
}
_PROFILING = {4: "HGS+ profiling", 5: "performance profiling", 6: "PMT profiling"}
_DEBUG, _SEPT_VE_DISABLE, _MIGRATABLE = 0, 28, 29

_SGX_INIT, _SGX_PROVISION_KEY, _SGX_EINITTOKEN_KEY = 0, 4, 5
_SGX_KNOWN = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 6 | 1 << 7 | 1 << 10
"""INIT, DEBUG (appraised for every TEE alike), MODE64BIT, CET, KSS, AEX-Notify."""


def findings(report: AuthenticReport, rules: IntelRules, now: datetime) -> Iterator[Finding]:
    """What the rules refuse about an Intel report."""
    body = report.body
    assert isinstance(body, IntelBody)
    yield from _tcb(report, rules, now)
    yield from _evaluation(report, rules)
    for flag in rules.platform_flags_refused:
        if flag.value in body.pck.flags:
            yield Finding(Reason.PLATFORM_CONFIGURATION, f"{flag.value} off", "on")
    yield from _padding(body, rules)
    inner = body.quote.body
    if isinstance(inner, TdBody):
        yield from _td(inner, rules)
        for mismatch in body.replay or ():
            yield Finding(
                Reason.RTMR_REPLAY,
                f"RTMR{mismatch.register} {mismatch.quoted.hex()}",
                mismatch.replayed.hex(),
            )
    else:
        yield from _sgx(inner)


def _tcb(report: AuthenticReport, rules: IntelRules, now: datetime) -> Iterator[Finding]:
    tcb = report.tcb
    if tcb.status is TcbStatus.NO_LEVEL:
        yield Finding(Reason.TCB_NO_LEVEL, "a TCB level that Intel lists", "older than all of them")
        return
    if tcb.status is TcbStatus.REVOKED:
        yield Finding(Reason.TCB_REVOKED, "a TCB level that Intel has not revoked", tcb.status.value)
        return
    if tcb.status.severity > rules.lowest_tcb_status.severity and not _in_grace(report, rules, now):
        age = f" since {tcb.level_date.date()}" if tcb.level_date else ""
        yield Finding(
            Reason.TCB_STATUS_TOO_LOW,
            f"{rules.lowest_tcb_status.value} or better, or a TCB date within {rules.tcb_grace_seconds} s",
            f"{tcb.status.value}{age}",
        )
    refused = [name for name in tcb.advisories if name not in rules.advisories_allowed]
    if refused:
        allowed = ", ".join(rules.advisories_allowed) or "none"
        yield Finding(Reason.ADVISORY_NOT_ALLOWED, f"advisories only of: {allowed}", ", ".join(refused))


def _in_grace(report: AuthenticReport, rules: IntelRules, now: datetime) -> bool:
    """Intel's appraisal counts grace from the date of the level that the platform reached."""
    date = report.tcb.level_date
    return bool(rules.tcb_grace_seconds) and date is not None and date + timedelta(0, rules.tcb_grace_seconds) >= now


def _evaluation(report: AuthenticReport, rules: IntelRules) -> Iterator[Finding]:
    numbers = report.tcb.evaluation_numbers
    if len(set(numbers)) > 1:
        yield Finding(
            Reason.EVALUATION_MIXED,
            "TCB info and QE identity of one evaluation",
            " and ".join(map(str, numbers)),
        )
    if numbers and min(numbers) < rules.minimum_evaluation_number:
        yield Finding(Reason.EVALUATION_NUMBER, f"{rules.minimum_evaluation_number} or newer", str(min(numbers)))


def _padding(body: IntelBody, rules: IntelRules) -> Iterator[Finding]:
    quote = body.quote
    total = quote.length + quote.padding
    transport = total in TRANSPORT_SIZES or (quote.padding < 8 and total % 8 == 0)
    if quote.padding and not (rules.zero_padding == "any" or (rules.zero_padding == "transport" and transport)):
        yield Finding(Reason.ZERO_PADDING, f"a quote of {quote.length} bytes", f"{quote.padding} zeros behind it")


def _td(body: TdBody, rules: IntelRules) -> Iterator[Finding]:
    attributes = body.attributes
    bits = {i for i in range(attributes.bit_length()) if attributes >> i & 1}
    if rules.sept_ve_disable == "required" and _SEPT_VE_DISABLE not in bits:
        yield Finding(Reason.SEPT_VE_DISABLE, "SEPT_VE_DISABLE set", "clear")
    if _MIGRATABLE in bits:
        yield Finding(Reason.MIGRATABLE, "MIGRATABLE clear", "set")
    profiling = [name for bit, name in _PROFILING.items() if bit in bits]
    if profiling:
        yield Finding(Reason.PROFILING, "no profiling", ", ".join(profiling))
    allowed = {_TD_BITS[name] for name in rules.td_attributes_allowed}
    rest = bits - allowed - {_DEBUG, _SEPT_VE_DISABLE, _MIGRATABLE, *_PROFILING}
    if rest:
        names = {bit: name.value for name, bit in _TD_BITS.items()}
        found = ", ".join(names.get(bit, f"bit {bit}") for bit in sorted(rest))
        want = ", ".join(a.value for a in rules.td_attributes_allowed) or "none"
        yield Finding(Reason.TD_ATTRIBUTES, f"further attributes only of: {want}", found)
    service = body.mr_service_td
    if service is not None and any(service) and service not in rules.service_td_allowed:
        yield Finding(Reason.SERVICE_TD, "MRSERVICETD zero or allowed", service.hex())


def _sgx(body: SgxBody) -> Iterator[Finding]:
    flags = body.flags
    if not flags >> _SGX_INIT & 1:
        yield Finding(Reason.SGX_ATTRIBUTES, "INIT set", "clear")
    for bit, name in ((_SGX_PROVISION_KEY, "PROVISION_KEY"), (_SGX_EINITTOKEN_KEY, "EINITTOKEN_KEY")):
        if flags >> bit & 1:
            yield Finding(Reason.SGX_ATTRIBUTES, f"{name} clear", "set")
    unknown = flags & ~(_SGX_KNOWN | 1 << _SGX_PROVISION_KEY | 1 << _SGX_EINITTOKEN_KEY)
    if unknown:
        yield Finding(Reason.SGX_ATTRIBUTES, "only known attributes", f"{unknown:#x}")
