"""A consumer's value reaches the workload and no host: an asset for one use, in a slot that the workload names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.client import AssetWish, Owner
from sealmarket.client.requests import Wanted
from sealmarket.client.secret_parameters import SecretParameters
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.folders import read_bundle
from tests.acceptance import workloads
from tests.acceptance.market import Rehearsal
from tests.acceptance.workloads import MANIFEST, Workload

MARKER = b"MARKER-secret-7d1e 2.5"
SLOT = '[[inputs]]\nname = "threshold"\nmedia_type = "text/plain"\n\n[[inputs]]\nname = "rows"'
CODE = """\
import json

def run(inputs, parameters):
    least = float(bytes(inputs["threshold"]).split()[-1])
    names = sorted(name for name in inputs if name != "threshold")
    lines = [line for name in names for line in bytes(inputs[name]).decode().splitlines()[1:]]
    above = sum(float(line.split(",")[1]) > least for line in lines)
    return {"model.json": json.dumps({"above": above, "rows": len(lines)}).encode()}
"""


@pytest.fixture
def workload(rehearsal: Rehearsal, tmp_path: Path) -> Workload:
    """Counts the rows above a threshold, which is an input of its own."""
    made = workloads.other(rehearsal.workload, tmp_path / "above", CODE)
    (made.bundle / "workload.toml").write_text(MANIFEST.replace('[[inputs]]\nname = "rows"', SLOT))
    return replace(made, digest=read_bundle(made.bundle).digest)


def test_a_secret_parameter_reaches_the_workload_and_no_one_else(
    rehearsal: Rehearsal, workload: Workload, tmp_path: Path
) -> None:
    rows = rehearsal.publish("north", workloads=(workload.digest,))
    consumer = rehearsal.market.purses["consumer"].account
    owner = Owner(rehearsal.chain, consumer, rehearsal.store, rehearsal.api)
    secrets = SecretParameters(owner, rehearsal.chain, rehearsal.store, tmp_path / "secrets")
    wanted = Wanted(
        workload=read_bundle(workload.bundle),
        parameters={},
        assets=[AssetWish(asset_id=rows.asset_id, version=rows.version)],
        limits=rehearsal.limits("provider"),
    )
    rules = AppraisalPolicy(measurements=(rehearsal.measurement,), platforms="any", lowest_grade="simulated")
    sealed = secrets.seal(wanted, {"threshold": MARKER}, rules)
    assert secrets.seal(wanted, {"threshold": MARKER}, rules) == sealed, (
        "an earlier call goes on; nothing is published twice"
    )
    handle = rehearsal.consumer.request(
        workload.bundle, {}, sealed.assets, wanted.limits, rehearsal.result_key, purpose=wanted.purpose
    )
    job_id = rehearsal.consumer.wait_match(handle)
    rehearsal.reach_status(job_id, Status.SETTLED, Status.MATURED)
    model = json.loads(rehearsal.consumer.open_result(job_id, rehearsal.result_key)["model.json"])
    assert model == {"above": 3, "rows": 3}
    kept = [path for path in rehearsal.folder.rglob("*") if path.is_file() and MARKER in path.read_bytes()]
    assert kept == [], "no host, store or log has the value"
    used = next(one for one in sealed.assets if one.asset_id != rows.asset_id)
    state = rehearsal.chain.at(rehearsal.chain.head()).asset(used.asset_id, used.version)
    assert (state.uses_taken, state.terms.max_uses, state.terms.price) == (1, 1, 0)
    assert secrets.seal(wanted, {"threshold": MARKER}, rules) != sealed, "another job takes another asset"
