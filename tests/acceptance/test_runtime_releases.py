"""The drill of a patched runtime, in a market that runs.

Old enclaves serve until an owner withdraws them, new ones once it approved their release; the data is sealed once.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealmarket.attestation.registry import Measurement
from sealmarket.chain import Fault
from sealmarket.client import AssetWish, SealedAsset
from sealmarket.client.jobs import JobRecord
from sealmarket.client.results import fetch_evidence
from sealmarket.protocol.transitions import Status
from sealmarket.releases.documents import ReleasedEnclave, ReleasedMeasurements, digest_of_files
from sealmarket.releases.folder import write_release
from sealmarket.sealing.keyfile import KeyKind, write_key_file
from sealmarket.service.errors import ItemNotFound
from sealmarket_devices.driver import VIRTUAL
from sealmarket_enclave.protocol.codec import HexBytes
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_worker.image import base_interpreter
from tests.acceptance.host import Host
from tests.acceptance.market import Rehearsal, names_of
from tests.acceptance.test_approvals import final, say

__all__ = ["say"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def patched(image: Path, folder: Path) -> tuple[Path, Measurement]:
    """The same image with one line more, as a fix would leave it, and what its evidence will say."""
    made = Path(shutil.copytree(image, folder))
    with (made / "sealmarket_enclave/runtime/main.py").open("a") as source:
        source.write("# patched\n")
    return made, VIRTUAL.expected_measurement(Tee.TDX, made, base_interpreter())


def released(folder: Path, name: str, measurement: Measurement, key: EllipticCurvePrivateKey) -> Path:
    """A release of one enclave."""
    enclave = ReleasedEnclave(
        kind="batch",
        tee="tdx",
        driver="virtual",
        grade="simulated",
        image=digest_of_files({}),
        measurement=measurement,
    )
    measured = ReleasedMeasurements(release=name, interpreter="3.11", enclaves=(enclave,))
    write_release(folder / name, measured, (), key)
    return folder / name


def done(rehearsal: Rehearsal, provider: str, asset: SealedAsset, version: int, *wanted: Status) -> JobRecord:
    """A job over one version by one provider, at its end."""
    wish = AssetWish(asset_id=asset.asset_id, version=version)
    limits = rehearsal.limits(provider)
    handle = rehearsal.consumer.request(rehearsal.workload.bundle, {}, [wish], limits, rehearsal.result_key)
    return rehearsal.reach_status(rehearsal.consumer.wait_match(handle), *wanted)


def audited(rehearsal: Rehearsal, say: Any, folder: Path, job: JobRecord, auditor: PrivateKey) -> None:
    """The auditor whom the policy names reads the evidence from the store, and another key opens none."""
    with pytest.raises(ItemNotFound):
        fetch_evidence(rehearsal.chain, rehearsal.store, job.job_id, PrivateKey.generate())
    path, about = folder / "auditor.key", {"about": "an auditor's"}
    write_key_file(
        path, KeyKind.RESULT_KEY, auditor.secret_bytes(), about=about, passphrase=None, confirm_unencrypted=True
    )
    roots = [word for root in rehearsal.market.root_files for word in ("--development-root", str(root))]
    code, report, error = say("consumer", "verify", job.job_id, "--evidence-key", path, *roots, "--json")
    assert code == 0, error
    states = {check["state"] for step in report["steps"] for check in step["checks"]}
    assert states == {"ok"}, report
    assert "a quorum opened this package" in {check["what"] for step in report["steps"] for check in step["checks"]}


def test_a_market_is_patched_without_sealing_its_data_again(rehearsal: Rehearsal, say: Any, tmp_path: Path) -> None:
    image, new = patched(rehearsal.image, tmp_path / "image")
    auditor, key = PrivateKey.generate(), generate_private_key(SECP256R1())
    asset = rehearsal.publish("north", auditors=(HexBytes(auditor.public.raw),))
    old_release, new_release = (
        released(tmp_path, name, one, key) for name, one in (("1.0.0", rehearsal.measurement), ("1.0.1", new))
    )
    (tmp_path / "publisher.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    signed = ("--release-key", tmp_path / "publisher.pub", "--yes", "--json")
    settled = (Status.SETTLED, Status.MATURED)
    with Host(rehearsal, tmp_path / "host", image=image):
        audited(rehearsal, say, tmp_path, done(rehearsal, "provider", asset, 1, *settled), auditor)
        refused = done(rehearsal, "host", asset, 1, Status.REFUSED)
        assert refused.fault is Fault.TERMS_REFUSED
        assert "measurement_not_allowed" in names_of(refused.reasons)

        words = ("owner", "approve-release", new_release, "--asset", asset.folder, "--out", tmp_path / "next", *signed)
        code, made, error = say("north", *words)
        assert code == 0, error
        assert made["seal"]["contentRoot"] == str(asset.seal.content_root)
        assert (made["assetVersion"], made["seal"]["contentVersion"]) == (2, 1)
        final(rehearsal, rehearsal.chain.head().number)
        for provider in ("host", "provider"):
            done(rehearsal, provider, asset, 2, *settled)

        code, _, error = say("north", "owner", "withdraw-release", old_release, f"{asset.asset_id}:2", *signed)
        assert code == 0, error
        final(rehearsal, rehearsal.chain.head().number)
        refused = done(rehearsal, "provider", asset, 2, Status.REFUSED)
        assert "pair_not_on_chain" in names_of(refused.reasons)
        done(rehearsal, "host", asset, 2, *settled)

        code, _, error = say("north", "owner", "withdraw-release", new_release, f"{asset.asset_id}:2", *signed)
        assert (code, "no other enclave" in error) == (2, True), error
    code, made, error = say(
        "north", "owner", "rewrap", tmp_path / "next", "--out", tmp_path / "third", "--yes", "--json"
    )
    assert (code, made["assetVersion"]) == (0, 3), error
    third = SealedAsset.load(tmp_path / "third")
    assert [one["mrTd"] for one in third.policy.evidence["measurements"]] == [str(new.mr_td)]  # type: ignore[attr-defined]
