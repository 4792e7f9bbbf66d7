"""Releases of the runtime: what an owner's check refuses, and that the same release is the same bytes."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec.structs import replace

from sealmarket.attestation.core.cbor import read_cbor
from sealmarket.cli.release import checked_release
from sealmarket.releases.corim import PROFILE, TAG_COMID, TAG_CORIM
from sealmarket.releases.documents import Component, ReleasedEnclave, ReleasedMeasurements
from sealmarket.releases.dsse import private_key, public_key, sign
from sealmarket.releases.errors import (
    ProvenanceRefused,
    PublisherKeyRefused,
    ReleaseDisagrees,
    ReleaseFileDiffers,
    ReleaseRefused,
)
from sealmarket.releases.folder import BILL, CORIM, MEASUREMENTS, PROVENANCE, check_release, write_release
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError

KEY, STRANGER = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
LAUNCH = LaunchMeasurement(image=b"\x01" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48)
MEASURED = ReleasedMeasurements(
    release="1.2.3",
    interpreter="3.11.7",
    enclaves=(
        ReleasedEnclave(
            kind="batch",
            tee="tdx",
            driver="virtual",
            grade="simulated",
            image=Bytes32(b"\x04" * 32),
            measurement=tdx_measurement(LAUNCH),
        ),
    ),
)
COMPONENTS = (Component(name="msgspec", version="0.22.0", files=Bytes32(b"\x05" * 32)),)
COMMIT = "ab" * 20


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release that holds."""
    write_release(tmp_path / "release", MEASURED, COMPONENTS, KEY, COMMIT)
    return tmp_path / "release"


def _statement(release: Path) -> dict[str, Any]:
    envelope = json.loads((release / PROVENANCE).read_text())
    return dict(json.loads(base64.b64decode(envelope["payload"])))


def _signed_again(release: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    statement = _statement(release)
    edit(statement)
    (release / PROVENANCE).write_bytes(sign(json.dumps(statement).encode(), KEY).canonical())


@pytest.mark.parametrize("name", [MEASUREMENTS, BILL, CORIM])
def test_a_file_that_was_changed_is_refused_by_its_name(name: str, release: Path) -> None:
    raw = (release / name).read_bytes()
    (release / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(ReleaseFileDiffers, match=name):
        check_release(release, [KEY.public_key()])


def test_what_no_named_key_signed_is_refused(release: Path) -> None:
    with pytest.raises(ProvenanceRefused, match="a signature by one of 1 named keys"):
        check_release(release, [STRANGER.public_key()])
    with pytest.raises(ProvenanceRefused, match="a signature by one of 0 named keys"):
        check_release(release, [])


def test_a_signature_over_another_payload_is_refused(release: Path) -> None:
    envelope = json.loads((release / PROVENANCE).read_text())
    other = sign(b"{}", KEY)
    (release / PROVENANCE).write_text(json.dumps(envelope | {"payload": other.payload}))
    with pytest.raises(ProvenanceRefused, match="a signature"):
        check_release(release, [KEY.public_key()])


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s.update({"_type": "https://in-toto.io/Statement/v0.1"}),
        lambda s: s.update({"predicateType": "https://slsa.dev/provenance/v0.2"}),
        lambda s: s["predicate"]["buildDefinition"].update({"buildType": "another"}),
        lambda s: s["predicate"]["buildDefinition"].update({"resolvedDependencies": "none"}),
        lambda s: s["predicate"].pop("buildDefinition"),
        lambda s: s.update({"more": 1}),
    ],
    ids=["statement", "predicate", "build", "dependencies", "no build", "more"],
)
def test_a_provenance_of_another_form_is_refused(edit: Callable[[dict[str, Any]], object], release: Path) -> None:
    _signed_again(release, edit)
    with pytest.raises(ProvenanceRefused):
        check_release(release, [KEY.public_key()])


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s["subject"].pop(),
        lambda s: s["predicate"]["buildDefinition"]["externalParameters"].update({"release": "9.9.9"}),
        lambda s: s["predicate"]["buildDefinition"]["resolvedDependencies"].pop(),
        lambda s: s["predicate"]["runDetails"]["builder"].update({"id": "another"}),
    ],
    ids=["a file is not named", "another release", "a distribution is not named", "another builder"],
)
def test_documents_that_disagree_are_refused_although_their_publisher_signed_them(
    edit: Callable[[dict[str, Any]], object], release: Path
) -> None:
    _signed_again(release, edit)
    with pytest.raises(ReleaseDisagrees):
        check_release(release, [KEY.public_key()])


def test_measurements_of_one_release_beside_the_corim_of_another_are_refused(release: Path, tmp_path: Path) -> None:
    other = tdx_measurement(LaunchMeasurement(image=b"\x09" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48))
    changed = ReleasedMeasurements(
        release="1.2.3",
        interpreter="3.11.7",
        enclaves=(
            ReleasedEnclave(**{name: getattr(MEASURED.enclaves[0], name) for name in _NAMES}, measurement=other),
        ),
    )
    write_release(tmp_path / "other", changed, COMPONENTS, KEY, COMMIT)
    shutil.copy(tmp_path / "other" / CORIM, release / CORIM)
    named = _statement(tmp_path / "other")["subject"]
    _signed_again(release, lambda s: s.update({"subject": [_pick(named, one) for one in s["subject"]]}))
    with pytest.raises(ReleaseDisagrees, match=CORIM):
        check_release(release, [KEY.public_key()])


_NAMES = ("kind", "tee", "driver", "grade", "image")


def _pick(other: list[dict[str, Any]], own: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in other if one["name"] == CORIM) if own["name"] == CORIM else own


def test_an_enclave_under_the_name_of_another_tee_is_refused_although_its_publisher_signed_it(tmp_path: Path) -> None:
    renamed = replace(MEASURED, enclaves=(replace(MEASURED.enclaves[0], tee="snp"),))
    write_release(tmp_path / "renamed", renamed, COMPONENTS, KEY, COMMIT)
    with pytest.raises(ReleaseDisagrees, match="expected snp, found tdx in its measurement"):
        check_release(tmp_path / "renamed", [KEY.public_key()])


@pytest.mark.parametrize("name", [PROVENANCE, MEASUREMENTS])
@pytest.mark.parametrize("raw", [b"", b"{}", b"[" * 1000, b"\xff"])
def test_bytes_that_are_no_document_are_refused(raw: bytes, name: str, release: Path) -> None:
    (release / name).write_bytes(raw)
    with pytest.raises((MalformedDocument, ReleaseRefused)):
        check_release(release, [KEY.public_key()])


def test_a_key_of_another_kind_is_refused() -> None:
    other = generate_private_key(SECP384R1())
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for read, pem in ((private_key, private), (public_key, public), (private_key, public), (public_key, b"")):
        with pytest.raises(PublisherKeyRefused, match="P-256") as refused:
            read(pem)
        assert "cryptography.io" not in refused.value.message
        assert "openssl" in refused.value.remedy


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "provenance.dsse.json").unlink(), "it has no provenance.dsse.json"),
        (lambda folder: (folder / "provenance.dsse.json").write_bytes(b"{}"), "no release that this version reads"),
    ],
)
def test_a_folder_that_is_no_release_is_named_with_what_to_do(
    spoil: Callable[[Path], object], said: str, release: Path, tmp_path: Path
) -> None:
    key = tmp_path / "publisher.pub"
    key.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    spoil(release)
    with pytest.raises(SealmarketError, match=said) as refused:
        checked_release(release, [key])
    assert str(release) in refused.value.message
    assert refused.value.remedy


def test_a_release_that_holds_says_what_its_evidence_will_show(release: Path) -> None:
    checked = check_release(release, [STRANGER.public_key(), KEY.public_key()])
    assert (checked.measured, checked.components, checked.source) == (MEASURED, COMPONENTS, COMMIT)


def test_the_same_release_is_the_same_bytes_but_for_its_signature(release: Path, tmp_path: Path) -> None:
    write_release(tmp_path / "again", MEASURED, COMPONENTS, STRANGER, COMMIT)
    for name in (MEASUREMENTS, BILL, CORIM):
        assert (tmp_path / "again" / name).read_bytes() == (release / name).read_bytes()
    assert _statement(tmp_path / "again") == _statement(release)


def test_the_corim_reads_by_the_rules_for_cbor_from_outside(release: Path) -> None:
    item = read_cbor((release / CORIM).read_bytes(), "the CoRIM", tags=(32, TAG_CORIM, TAG_COMID))
    assert (item.tag, item.value[3].value) == (TAG_CORIM, PROFILE)
    [comid] = item.value[1]
    assert comid.tag == TAG_COMID
    inner = read_cbor(comid.value, "a CoMID", tags=(560,))
    [[environment, values]] = inner[4][0]
    measurement = MEASURED.enclaves[0].measurement
    assert environment[0][0] == cbor2.CBORTag(560, bytes(measurement.digest()))
    found = {one[0]: one[1] for one in values}
    assert found["mr_td"] == {2: [[7, bytes(measurement.mr_td)]]}  # type: ignore[attr-defined]


def test_the_bill_of_materials_names_each_distribution_with_the_version_that_is_measured(release: Path) -> None:
    bill = json.loads((release / BILL).read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    named = {(one["name"], one["version"]) for one in bill["components"]}
    assert named == {("CPython", "3.11.7"), ("msgspec", "0.22.0")}
