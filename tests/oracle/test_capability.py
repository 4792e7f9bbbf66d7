"""What a provider promised, held against evidence and request: whose fault each difference is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.rules import IntelRules
from sealmarket.attestation.raw import parse_endorsements
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.limits import MAXIMUM_CAPABILITY
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes, Uint64, to_builtins
from sealmarket_enclave.protocol.hashing import keccak, sha256
from sealmarket_enclave.protocol.job import result_key_names, result_keys_hash
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.workload.bundle import ENVIRONMENT, DigestManifest, ListedFile
from sealmarket_enclave.workload.environment import Interpreter
from sealmarket_enclave.workload.manifest import InputSlot, Limits
from sealmarket_oracle.gate.collateral_rules import Basis, excused
from sealmarket_oracle.gate.inputs import AppraisalInput, FaultRow, Violation
from sealmarket_oracle.gate.notes import note_of
from tests.oracle.world import LAUNCH, NOW, OTHER_LAUNCH, World, terms

LIMITS = Limits(cpu_seconds=60, wall_seconds=60, memory_bytes=1 << 30, threads=2)
NEEDED = Bytes32(b"\x0e" * 32)


def _manifest(limits: Limits = LIMITS) -> bytes:
    return DigestManifest(
        entry_point="train:run",
        interpreter=Interpreter.current(),
        limits=limits,
        inputs=(InputSlot(name="rows", media_type="text/csv", maximum=16),),
        files=(ListedFile(path=ENVIRONMENT, executable=False, sha256=NEEDED),),
    ).canonical()


def _promise(**changes: Any) -> Capability:
    fields: dict[str, Any] = {
        "tee": Tee.TDX,
        "measurements": (to_builtins(tdx_measurement(LAUNCH)),),
        "platform_classes": (),
        "memory_bytes": Uint64(1 << 30),
        "threads": 2,
        "environments": (str(NEEDED),),
        "ciphertext_bytes": Uint64(1 << 30),
    }
    return Capability(**(fields | changes))


def _decided(world: World, raw: bytes, *, keep: bool = True, workload: bytes = b"", **package: Any) -> Decision:
    """What a node decides on a job whose provider named this document."""
    manifest = workload or _manifest()
    digest = sha256(manifest)
    world.store.blobs.add(("workloads", digest))
    if keep:
        world.store.put_document(raw)
    asset = world.publish(workloads=(digest,), **_allowing(digest))
    world.match(asset, capability_hash=keccak(raw), workload_digest=digest)
    world.quote(**({"manifest": HexBytes(manifest)} | package))
    return world.decided(world.node())


def _allowing(digest: Bytes32) -> dict[str, Any]:
    return {"policy_terms": terms(allow_root=allowed_leaf(Tee.TDX, tdx_measurement(LAUNCH).digest(), digest))}


def _expect(decision: Decision, outcome: Outcome, *reasons: JobReason | Reason) -> None:
    assert decision.outcome is outcome
    assert set(reason_codes(decision.reasons)) == {reason.code for reason in reasons}


# --- the platform's fault ---------------------------------------------------------------------------------------


def test_a_document_that_the_provider_does_not_publish_is_awaited_and_then_its_fault(world: World) -> None:
    raw = _promise().canonical()
    with pytest.raises(AssertionError, match="capability_missing"):
        _decided(world, raw, keep=False)
    node = world.node()
    world.chain.mine(3, seconds=200)
    _expect(world.decided(node), Outcome.PLATFORM_REFUSED, JobReason.CAPABILITY_MISSING)


INVALID: dict[str, bytes] = {
    "no document": b"nothing",
    "another spelling": b" " + _promise().canonical(),
    "measurements of no kind": _promise(measurements=({"tee": "tdx"},)).canonical(),
    "rules of no kind": _promise(min_tcb={"intel": {"unknown": 1}}).canonical(),
    "a rule that is no vendor's": _promise(min_tcb={"platforms": "any"}).canonical(),
    "more than a node reads": _promise(extension={"pad": "x" * MAXIMUM_CAPABILITY}).canonical(),
}


@pytest.mark.parametrize("what", INVALID)
def test_a_document_that_does_not_follow_the_schema_is_the_providers_fault(what: str, world: World) -> None:
    _expect(_decided(world, INVALID[what]), Outcome.PLATFORM_REFUSED, JobReason.CAPABILITY_INVALID)


BROKEN: dict[str, tuple[Capability, tuple[JobReason | Reason, ...]]] = {
    "the measurement": (
        _promise(measurements=(to_builtins(tdx_measurement(OTHER_LAUNCH)),)),
        (JobReason.CAPABILITY_BROKEN,),
    ),
    "the kind of TEE": (_promise(tee=Tee.SNP), (JobReason.CAPABILITY_BROKEN,)),
    "the TCB": (
        _promise(min_tcb={"intel": to_builtins(IntelRules(minimum_evaluation_number=10_000))}),
        (Reason.EVALUATION_NUMBER,),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_evidence_that_breaks_the_promise_of_is_the_platforms_fault(what: str, world: World) -> None:
    promise, reasons = BROKEN[what]
    _expect(_decided(world, promise.canonical()), Outcome.PLATFORM_REFUSED, *reasons)


# --- the request's fault ----------------------------------------------------------------------------------------


def test_evidence_that_keeps_the_promise_and_misses_an_owners_rules_is_the_requests_fault(world: World) -> None:
    promise = _promise(measurements=(to_builtins(tdx_measurement(OTHER_LAUNCH)),))
    decision = _decided(world, promise.canonical(), launch=OTHER_LAUNCH)
    _expect(decision, Outcome.REQUEST_REFUSED, Reason.MEASUREMENT_NOT_ALLOWED, JobReason.OWNER_RULES_UNMET)


BEYOND: dict[str, Callable[[], dict[str, Any]]] = {
    "memory": lambda: {"raw": _promise(memory_bytes=Uint64((1 << 30) - 1)).canonical()},
    "threads": lambda: {"raw": _promise(threads=1).canonical()},
    "environment": lambda: {"raw": _promise(environments=(str(Bytes32(b"\x0f" * 32)),)).canonical()},
}


@pytest.mark.parametrize("what", BEYOND)
def test_a_workload_that_needs_more_than_the_promised_is_the_requests_fault(what: str, world: World) -> None:
    _expect(_decided(world, **BEYOND[what]()), Outcome.REQUEST_REFUSED, JobReason.BEYOND_CAPABILITY)


def test_a_workload_that_declares_more_time_than_the_request_grants_is_the_requests_fault(world: World) -> None:
    slow = _manifest(replace(LIMITS, wall_seconds=61))
    decision = _decided(world, _promise().canonical(), workload=slow)
    _expect(decision, Outcome.REQUEST_REFUSED, JobReason.RUN_SECONDS_TOO_FEW)


@pytest.mark.parametrize("manifest", [b"", b"{}", _manifest(replace(LIMITS, wall_seconds=61))])
def test_a_manifest_that_is_not_the_workloads_says_nothing(manifest: bytes, world: World) -> None:
    assert _decided(world, _promise().canonical(), manifest=HexBytes(manifest)).outcome is Outcome.ACCEPTED


def test_a_promise_that_names_no_environment_promises_none_by_name(world: World) -> None:
    assert _decided(world, _promise(environments=()).canonical()).outcome is Outcome.ACCEPTED


# --- result keys ------------------------------------------------------------------------------------------------


def test_a_result_key_that_an_owner_demands_must_be_among_the_jobs(world: World) -> None:
    demanded = bytes(PrivateKey.generate().public.raw)
    asset = world.publish(edit_policy=lambda document: replace(document, result_keys=(keccak(demanded),)))
    world.match(asset)
    world.quote()
    _expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.OWNER_KEY_MISSING)
    keys = [world.result_key, demanded]
    for raw in (demanded, result_key_names(keys)):
        world.store.put_document(raw)
    world.match(asset, result_keys_hash=result_keys_hash(keys))
    world.quote()
    assert world.decided(world.node()).outcome is Outcome.ACCEPTED


# --- no party's fault -------------------------------------------------------------------------------------------


def _row(world: World, reason: Reason, matched_at: int) -> tuple[FaultRow, ...]:
    """The rows of one finding against evidence whose collateral the virtual device signed."""
    basis = Basis(parse_endorsements(Tee.TDX, world.device.endorsements()), "host", ZERO_HASH)
    case = cast("AppraisalInput", SimpleNamespace(spec=SimpleNamespace(matched_at=matched_at, tee=Tee.TDX)))
    violation = Violation(FaultRow.PLATFORM, note_of(Finding(reason, "this", "that"), "evidence"))
    return tuple(found.row for found in excused(case, basis, [violation]))


RESTING = (Reason.TCB_STATUS_TOO_LOW, Reason.ADVISORY_NOT_ALLOWED, Reason.TCB_REVOKED, Reason.CERTIFICATE_REVOKED)


@pytest.mark.parametrize("reason", RESTING)
def test_what_a_vendor_signed_after_the_match_charges_no_party(reason: Reason, world: World) -> None:
    assert _row(world, reason, 0) == (FaultRow.NO_PARTY, FaultRow.NO_PARTY)


@pytest.mark.parametrize("reason", RESTING)
def test_what_a_vendor_signed_before_the_match_is_the_platforms_fault(reason: Reason, world: World) -> None:
    assert _row(world, reason, NOW + 86_400) == (FaultRow.PLATFORM,)


def test_a_finding_that_no_collateral_decides_stays_where_it_is(world: World) -> None:
    assert _row(world, Reason.MEASUREMENT_NOT_ALLOWED, 0) == (FaultRow.PLATFORM,)


@pytest.mark.parametrize("basis", [None, Basis(Endorsements(), "host", ZERO_HASH)])
def test_collateral_that_does_not_read_excuses_nothing(basis: Basis | None) -> None:
    case = cast("AppraisalInput", SimpleNamespace(spec=SimpleNamespace(matched_at=0, tee=Tee.TDX)))
    violation = Violation(FaultRow.PLATFORM, note_of(Finding(Reason.TCB_REVOKED, "this", "that"), "evidence"))
    assert list(excused(case, basis, [violation])) == [violation]


def test_a_promise_kept_and_every_rule_met_is_accepted(world: World) -> None:
    assert _decided(world, _promise().canonical()).outcome is Outcome.ACCEPTED
