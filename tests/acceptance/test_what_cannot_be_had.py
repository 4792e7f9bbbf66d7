"""Inputs and requests that nobody could serve, and a provider whose enclave works: the fault table to the last wei."""

from __future__ import annotations

from pathlib import Path

from sealmarket.chain import Fault
from sealmarket.client import SealedAsset, Store
from sealmarket.protocol.transitions import Status
from sealmarket.sealing.evidence import SealedEvidence
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.policy import OutputRules
from tests.acceptance.host import Host
from tests.acceptance.market import COMPUTE_PRICE, WINDOWS, Rehearsal, changes, names_of

TEXT = OutputRules(media_types=("text/csv",), max_outputs=1, max_bytes=1 << 16, bucket_bytes=4096)


def _lose(rehearsal: Rehearsal, kind: str, name: Bytes32) -> None:
    """The store loses a blob that was uploaded."""
    (rehearsal.market.folder / "backend" / "blobs" / kind / name.hex()).unlink()


def _wait_in_vain(rehearsal: Rehearsal, job_id: JobId) -> None:
    """The host waits for its share of the quote window, the nodes for half of the decide window."""
    rehearsal.pass_time(WINDOWS["quote_window"] // 2 + 1)
    rehearsal.reach_status(job_id, Status.QUOTED)
    rehearsal.pass_time(WINDOWS["decide_window"] // 2 + 1)


def test_a_container_that_its_owner_never_put_back_harms_nobody(rehearsal: Rehearsal) -> None:
    asset = rehearsal.publish("north")
    _lose(rehearsal, "containers", asset.summary.seal.content_root)
    before = rehearsal.still()
    job_id = rehearsal.job(asset, rehearsal.sealed["south"])
    _wait_in_vain(rehearsal, job_id)
    record = rehearsal.reach_status(job_id, Status.REFUSED)
    assert record.fault is Fault.INPUT_REFUSED
    assert names_of(record.reasons) == {"content_missing"}
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}


def test_owners_without_a_format_in_common_cost_the_consumer_its_hold_fee_and_the_provider_nothing(
    rehearsal: Rehearsal,
) -> None:
    asset: SealedAsset = rehearsal.publish("north", output=TEXT)
    before = rehearsal.still()
    record = rehearsal.reach_status(rehearsal.job(asset, rehearsal.sealed["south"]), Status.REFUSED)
    assert record.fault is Fault.REQUEST_REFUSED
    assert names_of(record.reasons) == {"output_rules_unmet"}
    hold = int(record.spec.hold_fee)
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2) - hold, "burned": hold}


def test_parameters_that_were_never_posted_cost_the_consumer_its_hold_fee_and_the_provider_nothing(
    rehearsal: Rehearsal,
) -> None:
    before = rehearsal.still()
    handle = rehearsal.request(post=False)
    job_id = rehearsal.match_around(handle, "provider", post_parameters=False)
    _wait_in_vain(rehearsal, job_id)
    record = rehearsal.reach_status(job_id, Status.REFUSED)
    assert record.fault is Fault.REQUEST_REFUSED
    assert names_of(record.reasons) == {"parameters_missing"}
    hold = int(record.spec.hold_fee)
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2) - hold, "burned": hold}


class _Hiding(Store):
    """A store that takes evidence and shows it to nobody."""

    def put_evidence(self, sealed: SealedEvidence) -> None:
        """It is gone."""


def test_evidence_that_the_store_hides_reaches_the_nodes_from_the_host_and_the_job_goes_on(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    before = rehearsal.still()
    with Host(rehearsal, tmp_path, store=_Hiding):
        job_id = rehearsal.job(provider="host")
        rehearsal.reach_status(job_id, Status.SETTLED)
        assert rehearsal.consumer.open_result(job_id, rehearsal.result_key)
    rehearsal.still()
    assert changes(before, rehearsal.balances())["host"] == COMPUTE_PRICE
