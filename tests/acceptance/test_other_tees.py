"""A job that demands another kind of TEE runs the same path: CCA and Nitro, on virtual devices."""

from __future__ import annotations

import json

import pytest

from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_localnet.market import LocalMarket
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.market import raise_curtain
from tests.acceptance.money import assert_conserved
from tests.acceptance.proofs import audit, prove


class CcaMarket(LocalMarket):
    """A market whose device is a virtual CCA platform."""

    tee = Tee.CCA


class NitroMarket(LocalMarket):
    """A market whose device is a virtual Nitro instance."""

    tee = Tee.NITRO


@pytest.mark.parametrize("kind", [CcaMarket, NitroMarket])
def test_a_job_that_demands_another_tee_runs_on_its_virtual_device_and_is_proven(
    kind: type[LocalMarket], tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Short: the device's socket lies in it, and a socket's path has at most 107 bytes.
    folder = tmp_path_factory.mktemp("tee")
    with Supervisor(logs=folder / "logs") as programs:
        stage = raise_curtain(programs, folder, kind=kind)
        job_id = stage.job()
        record = stage.reach_status(job_id, Status.SETTLED)
        assert record.spec.tee == kind.tee
        assert record.decision is not None
        assert record.decision.grade == Grade.SIMULATED
        model = json.loads(stage.consumer.open_result(job_id, stage.result_key)["model.json"])
        assert model["rows"] == 5
        status, report = audit(stage, prove(stage, job_id))
        assert (status, report["conclusion"], report["simulated"]) == (0, "proven", True)
        assert_conserved(stage.chain)
        stage.close()
