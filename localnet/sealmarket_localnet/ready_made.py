"""What a newcomer to a local market needs beside it: a workload with its wheels, and a policy draft that allows it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.client import DraftTerms, PolicyDraft
from sealmarket.workloads.fetch import fetch_wheels, lock_environment
from sealmarket_devices.driver import VIRTUAL
from sealmarket_enclave.protocol.codec import Bytes32, Wei, canonical_json, to_builtins
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_localnet.market import ETHER
from sealmarket_worker.image import base_interpreter, build_image

DAY = 86_400
DRAFT = "policy.json"


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """A workload's copy with its environment locked, and a policy draft beside it."""

    workload: Path
    policy: Path


def prepare(source: Path, market: Path, now: int) -> ReadyMade:
    """Copy a workload into the market's folder, fetch what its lock names, and draft a policy for any table.

    Raises:
        FetchFailed: no network, or a wheel that is not the locked one.
        BundleError: the folder is no workload.
    """
    home = market / "workloads" / source.resolve().name
    if not (home / DRAFT).exists():
        shutil.rmtree(home, ignore_errors=True)
        digest = _locked(source, home / "workload", market / "wheels")
        (home / DRAFT).write_bytes(msgspec.json.format(canonical_json(_draft(digest, now)), indent=2))
    return ReadyMade(home / "workload", home / DRAFT)


def _locked(source: Path, copy: Path, wheels: Path) -> Bytes32:
    """The digest of the copy. Its wheels go where the worker looks for those of every workload."""
    shutil.copytree(source, copy)
    with tempfile.TemporaryDirectory() as name:
        fetch_wheels(copy, Path(name))
        digest = lock_environment(copy, Path(name))
        for wheel in Path(name).glob("*.whl"):
            shutil.copy(wheel, wheels)
    return digest


def _draft(workload: Bytes32, now: int) -> PolicyDraft:
    with tempfile.TemporaryDirectory() as name:
        image = build_image(Path(name) / "image")
        measurement = VIRTUAL.expected_measurement(Tee.TDX, image, base_interpreter())
    rules = AppraisalPolicy(measurements=(measurement,), platforms="any", lowest_grade="simulated")
    return PolicyDraft(
        title="My table",
        evidence=to_builtins(rules),
        workloads=(workload,),
        terms=DraftTerms(
            price=Wei(ETHER // 2), expiry=now + 30 * DAY, max_uses=10, purposes=("train",), min_grade="simulated"
        ),
        output=OutputRules(
            media_types=("application/json", "application/onnx"), max_outputs=2, max_bytes=5 << 20, bucket_bytes=1 << 16
        ),
        data_card={"note": "owner sell --describe puts the table's own card here"},
    )
