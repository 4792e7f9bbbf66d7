"""A secret parameter takes the slot that the workload names, under a policy for one job of the same enclaves."""

from __future__ import annotations

from dataclasses import replace as change
from pathlib import Path

import pytest
from msgspec.structs import replace

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.cli._options import Usage
from sealmarket.cli._request_options import secret_values
from sealmarket.client.errors import RequestInvalid
from sealmarket.client.limits import JobLimits
from sealmarket.client.requests import AssetWish, Wanted
from sealmarket.client.secret_parameters import LIFE_SECONDS, _loaded, secret_draft, with_slots
from sealmarket.client.unmeetable import require_meetable
from sealmarket.protocol.orders import Purpose
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import Address, Bytes48, Wei, from_builtins, to_builtins
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.workload.errors import ParametersRefused
from tests.client.bundles import MEASUREMENT, Case
from tests.client.bundles import policy as owners_policy
from tests.enclave.workload.bundles import bundle

NOW, CONSUMER = 1_700_000_000, Address(b"\xc0" * 20)
ROWS, SOUTH, SECRET = (AssetWish(asset_id=AssetId(keccak(name))) for name in (b"rows", b"south", b"secret"))


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """A job over rows by a workload whose inputs are one ``card`` and one to three ``rows``."""
    tree = bundle(tmp_path / "workload")
    (tree / "environment.json").write_bytes(build(b"", []).canonical())
    return Wanted(
        workload=read_bundle(tree),
        parameters={"target": "a"},
        assets=[ROWS, SOUTH],
        limits=JobLimits(max_compute_price=Wei(1)),
        purpose=Purpose.INFER,
    )


def policy(*measurements: object) -> PolicyDocument:
    made = owners_policy(AssetId(keccak(b"rows")), Case().committee)
    evidence = {**made.evidence, "measurements": [to_builtins(one) for one in measurements or (MEASUREMENT,)]}
    return replace(made, evidence=evidence)


def own(*measurements: object) -> AppraisalPolicy:
    """The consumer's rules."""
    return from_builtins(AppraisalPolicy, policy(*measurements).evidence)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_a_name_that_is_no_input_for_one_asset_is_refused_with_those_that_are(wanted: Wanted) -> None:
    for name in ("word", "rows"):
        with pytest.raises(RequestInvalid, match=f"of the name {name}") as refused:
            with_slots(wanted, {name: SECRET})
        assert "card, rows-1, rows-2" in refused.value.remedy
    with pytest.raises(ParametersRefused, match="number of assets"):
        with_slots(change(wanted, assets=[ROWS] * 4), {"card": SECRET})


def test_owners_who_share_no_enclave_leave_no_place_for_a_secret(wanted: Wanted) -> None:
    other = replace(MEASUREMENT, mr_td=Bytes48(bytes(48)))
    with pytest.raises(RequestInvalid, match="no enclave that you trust is admitted by all owners"):
        secret_draft(own(MEASUREMENT, other), [policy(), policy(other)], wanted, CONSUMER, NOW)


def test_owners_and_provider_do_not_choose_the_image_that_reads_a_secret(wanted: Wanted) -> None:
    theirs = replace(MEASUREMENT, mr_td=Bytes48(bytes(48)))
    with pytest.raises(RequestInvalid, match="no enclave that you trust"):
        secret_draft(own(), [policy(theirs)], wanted, CONSUMER, NOW)


@pytest.mark.parametrize("text", ["", "name", "name=value", "=@file", "name=@", "a=@absent"])
def test_what_is_no_secret_parameter_is_a_wrong_call(text: str, tmp_path: Path) -> None:
    with pytest.raises(Usage):
        secret_values([text.replace("absent", str(tmp_path / "absent"))])


def test_a_name_twice_is_a_wrong_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(Usage, match="no secret parameter") as refused:
        secret_values([f"a=@{tmp_path / 'file'}", f"a=@{tmp_path / 'file'}"])
    assert "each name once" in refused.value.remedy


# --- what is made -----------------------------------------------------------------------------------------------


def test_a_secret_takes_its_slot_and_the_others_keep_their_order(wanted: Wanted) -> None:
    assert with_slots(wanted, {"card": SECRET}).assets == [SECRET, ROWS, SOUTH]
    assert with_slots(wanted, {"card": SECRET}).workload is wanted.workload


def test_the_policy_of_a_secret_admits_one_job_of_this_consumer_alone(wanted: Wanted) -> None:
    other = replace(MEASUREMENT, mr_td=Bytes48(bytes(48)))
    draft = secret_draft(own(MEASUREMENT, other), [policy(MEASUREMENT, other), policy(other)], wanted, CONSUMER, NOW)
    terms = draft.terms
    assert (terms.price, terms.max_uses, terms.consumers, terms.purposes) == (0, 1, (CONSUMER,), ("infer",))
    assert terms.expiry == NOW + wanted.limits.valid_for + LIFE_SECONDS
    assert draft.workloads == (wanted.workload.digest,)
    assert from_builtins(AppraisalPolicy, draft.evidence).measurements == (other,)
    require_meetable(draft, NOW, Case().book.timing)


def test_a_secret_demands_of_the_enclave_what_its_consumer_demands(wanted: Wanted) -> None:
    draft = secret_draft(replace(own(), maximum_age_seconds=60), [policy()], wanted, CONSUMER, NOW)
    assert draft.rules().maximum_age_seconds == 60
    assert draft.output == policy().output


def test_values_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "a value").write_bytes(b"0.75\n")
    assert secret_values([f"card=@{tmp_path / 'a value'}"]) == {"card": b"0.75\n"}
    assert secret_values(None) == {}


def test_a_folder_that_was_not_finished_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    assert _loaded(tmp_path / "half") is None
    (tmp_path / "half" / "sealed.json").write_text("{}")
    assert _loaded(tmp_path / "half") is None
