"""A job that demands another kind of TEE than the other tests' runs the same path: here on a virtual CCA realm."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_a_job_that_demands_cca_runs_on_a_virtual_realm_and_is_proven(tmp_path: Path) -> None:
    with Supervisor(logs=tmp_path / "logs") as programs:
        stage = raise_curtain(programs, tmp_path, kind=CcaMarket)
        job_id = stage.job()
        record = stage.reach_status(job_id, Status.SETTLED)
        assert record.spec.tee == Tee.CCA
        assert record.decision is not None
        assert record.decision.grade == Grade.SIMULATED
        model = json.loads(stage.consumer.open_result(job_id, stage.result_key)["model.json"])
        assert model["rows"] == 5
        status, report = audit(stage, prove(stage, job_id))
        assert (status, report["conclusion"], report["simulated"]) == (0, "proven", True)
        assert_conserved(stage.chain)
        stage.close()
