"""A service is asked only after everything about it was checked; each lie is named, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as change
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain import JobSlot
from sealmarket.cli._infer_service import facts_lines
from sealmarket.inference.errors import ServiceNotProven
from sealmarket.inference.service import owners_rules, prove_service
from sealmarket.protocol.transitions import Status
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.session import weights_hash
from sealmarket_enclave.sealed.hpke import PrivateKey
from tests.client.bundles import MEASUREMENT
from tests.inference.enclave import SERVING
from tests.inference.proven import TERMS, ServiceCase

OTHER = LaunchMeasurement(image=b"\x0f" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> ServiceCase:
    return ServiceCase(tmp_path_factory.mktemp("device"))


LIES: dict[str, tuple[Callable[[ServiceCase], Any], str]] = {
    "other terms": (lambda c: replace(c.document, terms=replace(TERMS, unit_price=Wei(6))), "session terms"),
    "other documents": (lambda c: replace(c.document, spec=replace(c.spec, matched_at=1)), "specification"),
    "no policy": (lambda c: replace(c.document, policies=()), "policy"),
    "another policy": (
        lambda c: replace(c.document, policies=(replace(c.policy, workloads=(keccak(b"x"),)),)),
        "the policy is the one that was sealed",
    ),
    "another seal": (
        lambda c: replace(c.document, seals=(replace(c.seal, content_root=keccak(b"x")),)),
        "the seal is the one that the job names",
    ),
    "another evidence": (lambda c: replace(c.document, evidence_hash=keccak(b"x")), "hash of the evidence"),
    "a key of the host's": (
        lambda c: replace(c.document, enclave_key=HexBytes(PrivateKey.generate().public.raw)),
        "hash of the enclave's key",
    ),
    "no key": (lambda c: replace(c.document, enclave_key=HexBytes(b"x")), "key of the enclave"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_host_says_falsely_is_named(lie: str, case: ServiceCase) -> None:
    made, named = LIES[lie]
    with pytest.raises(ServiceNotProven, match=named):
        prove_service(made(case), case.package, case.trusted(), allow_simulated=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"quote": HexBytes(b"no quote")}, "the evidence is the one that was hashed"),
        ({"enclave_key": HexBytes(PrivateKey.generate().public.raw)}, "the evidence is the one that was hashed"),
        ({"collateral": ""}, "authentic, and acceptable"),
    ],
)
def test_evidence_that_is_not_the_accepted_one_is_refused(changes: Any, named: str, case: ServiceCase) -> None:
    with pytest.raises(ServiceNotProven, match=named):
        prove_service(case.document, replace(case.package, **changes), case.trusted(), allow_simulated=True)


def test_a_service_whose_job_is_over_or_not_accepted_is_refused(case: ServiceCase) -> None:
    for status in Status:
        if status is not Status.ACCEPTED:
            trusted = case.trusted(slot=JobSlot(status, 0, bytes(26)))
            with pytest.raises(ServiceNotProven, match="status of the job"):
                prove_service(case.document, case.package, trusted, allow_simulated=True)


def test_a_service_past_its_end_is_refused(case: ServiceCase) -> None:
    late = change(case.record.at, timestamp=TERMS.end)
    trusted = case.trusted(at=late)
    with pytest.raises(ServiceNotProven, match="end of the service"):
        prove_service(case.document, case.package, trusted, allow_simulated=True)


def test_an_image_that_the_owner_does_not_allow_is_refused(tmp_path: Path) -> None:
    other = ServiceCase(tmp_path, OTHER)
    with pytest.raises(ServiceNotProven, match="authentic, and acceptable to the policy of asset"):
        prove_service(other.document, other.package, other.trusted(), allow_simulated=True)


METER = Bytes32(b"\x4d" * 32)


class Metered(ServiceCase):
    """A service whose owner names a meter."""

    def _policy(self, asset: AssetId) -> PolicyDocument:
        return replace(super()._policy(asset), serving=replace(SERVING, meter=METER))


def test_before_money_is_locked_a_host_can_show_no_other_policies_than_the_jobs(tmp_path: Path) -> None:
    case = Metered(tmp_path)
    cheap = replace(case.policy, serving=SERVING)
    for lie in (
        replace(case.document, policies=(cheap,)),
        replace(case.document, policies=(cheap,), seals=(replace(case.seal, policy_hash=cheap.digest()),)),
        replace(case.document, policies=()),
        replace(case.document, seals=()),
    ):
        with pytest.raises(ServiceNotProven):
            owners_rules(lie, case.spec)


def test_the_meter_that_the_owners_name_is_shown_to_users(tmp_path: Path, case: ServiceCase) -> None:
    other = Metered(tmp_path)
    assert owners_rules(other.document, other.spec).meter == METER
    proven = prove_service(other.document, other.package, other.trusted(), allow_simulated=True)
    assert proven.facts.meter == METER
    assert any(str(METER) in line for line in facts_lines(proven))
    plain = prove_service(case.document, case.package, case.trusted(), allow_simulated=True)
    assert any("the owners name no meter" in line for line in facts_lines(plain))


def test_terms_beyond_an_owners_rules_for_services_are_refused(tmp_path: Path) -> None:
    class Careful(ServiceCase):
        def _policy(self, asset: AssetId) -> PolicyDocument:
            return replace(super()._policy(asset), serving=replace(SERVING, max_lease=Uint64(999)))

    other = Careful(tmp_path)
    with pytest.raises(ServiceNotProven, match="lease: expected at most 999, found 1000"):
        prove_service(other.document, other.package, other.trusted(), allow_simulated=True)


def test_a_policy_without_rules_for_services_takes_part_in_none(tmp_path: Path) -> None:
    class Silent(ServiceCase):
        def _policy(self, asset: AssetId) -> PolicyDocument:
            return replace(super()._policy(asset), serving=UNSET)

    other = Silent(tmp_path)
    with pytest.raises(ServiceNotProven, match="serving"):
        prove_service(other.document, other.package, other.trusted(), allow_simulated=True)


def test_the_users_own_policy_counts_beside_the_owners(case: ServiceCase) -> None:
    strict = AppraisalPolicy(measurements=(tdx_measurement(OTHER),), platforms="any", lowest_grade="simulated")
    with pytest.raises(ServiceNotProven, match="your own policy"):
        prove_service(case.document, case.package, case.trusted(), own=strict, allow_simulated=True)
    own = AppraisalPolicy(measurements=(MEASUREMENT,), platforms="any", lowest_grade="simulated")
    prove_service(case.document, case.package, case.trusted(), own=own, allow_simulated=True)


def test_a_virtual_device_needs_its_root_and_the_users_word(case: ServiceCase) -> None:
    with pytest.raises(ServiceNotProven, match="grade: expected hardware, found simulated"):
        prove_service(case.document, case.package, case.trusted())
    without = change(case.trusted(), roots=TrustAnchors.production())
    with pytest.raises(ServiceNotProven, match="authentic, and acceptable"):
        prove_service(case.document, case.package, without, allow_simulated=True)


def test_what_cannot_be_checked_counts_as_false(case: ServiceCase) -> None:
    absences: tuple[dict[str, Any], ...] = ({"book": None}, {"facts": None}, {"roots": None})
    for absent in absences:
        with pytest.raises(ServiceNotProven, match="what to compare with"):
            prove_service(case.document, case.package, change(case.trusted(), **absent), allow_simulated=True)


def test_a_true_service_is_proven_and_requests_are_bound_to_it(case: ServiceCase) -> None:
    service = prove_service(case.document, case.package, case.trusted(), allow_simulated=True)
    assert service.simulated
    assert service.key == case.hpke.public
    assert service.info.enclave_key == case.hpke.public.digest
    assert service.facts.weights == weights_hash([case.seal.content_root])
    assert [step.name for step in service.steps] == ["policy", "match", "evidence", "decision"]
