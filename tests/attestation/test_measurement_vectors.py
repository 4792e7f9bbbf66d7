"""Measurement digests are what the specification's vectors say, for each TEE."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.arm.measurement import CcaMeasurement, RealmHash
from sealmarket.attestation.core.model import Bytes4, Bytes8, Bytes16
from sealmarket.attestation.intel.measurement import SgxMeasurement, TdxMeasurement
from sealmarket.attestation.nitro.measurement import NitroMeasurement
from sealmarket.attestation.nvidia.measurement import NvidiaMeasurement
from sealmarket.attestation.policy.composite import binding_report_data, device_nonce
from sealmarket.attestation.registry import Measurement
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, Bytes64, to_builtins
from sealmarket_enclave.protocol.hashing import keccak

FILE = Path(__file__).resolve().parents[2] / "docs" / "spec" / "vectors" / "measurements.json"


def examples() -> tuple[Measurement, ...]:
    """One measurement of each TEE, every byte told from its neighbours."""

    def run(start: int, length: int) -> bytes:
        return bytes((start + i) % 256 for i in range(length))

    a, b, c, d, e, f, g, h = (Bytes48(run(16 * n, 48)) for n in range(8))
    return (
        TdxMeasurement(
            mr_td=a, rtmr0=b, rtmr1=c, rtmr2=d, rtmr3=e, mr_config_id=f, mr_owner=g, mr_owner_config=h,
            td_attributes=Bytes8(run(1, 8)), xfam=Bytes8(run(9, 8)),
        ),
        SgxMeasurement(
            mr_enclave=Bytes32(run(0, 32)), mr_signer=Bytes32(run(32, 32)), isv_prod_id=1, isv_svn=2,
            misc_select=Bytes4(run(3, 4)), attributes=Bytes16(run(5, 16)), config_id=Bytes64(run(64, 64)), config_svn=3,
        ),
        SnpMeasurement(launch_digest=a, policy=Bytes8(run(2, 8)), host_data=Bytes32(run(7, 32)), vmpl=1),
        NitroMeasurement(pcr0=a, pcr1=b, pcr2=c, pcr8=d),
        CcaMeasurement(
            hash_algorithm=RealmHash.SHA_384, rim=a, rem0=b, rem1=c, rem2=d, rem3=e,
            personalization=Bytes64(run(1, 64)),
        ),
        NvidiaMeasurement(device="GH100", driver="550.90.07", vbios="96.00.9F.00.01"),
        NvidiaMeasurement(device="LS10", driver="", vbios="96.10.55.00.01"),
    )  # fmt: skip


def test_each_digest_is_the_one_of_its_vector() -> None:
    vectors = json.loads(FILE.read_text())

    found = [{"measurement": to_builtins(m), "digest": str(m.digest())} for m in examples()]

    assert found == vectors["measurements"]


def test_a_digest_is_computed_as_the_page_says() -> None:
    tdx = examples()[0]
    assert isinstance(tdx, TdxMeasurement)
    fields = b"".join(
        (
            tdx.mr_td, tdx.rtmr0, tdx.rtmr1, tdx.rtmr2, tdx.rtmr3, tdx.mr_config_id, tdx.mr_owner,
            tdx.mr_owner_config, tdx.td_attributes, tdx.xfam,
        )
    )  # fmt: skip

    assert tdx.digest() == keccak(keccak(b"sealmarket/measurement/v1") + keccak(b"tdx") + keccak(fields))


def test_no_two_tees_share_a_digest() -> None:
    assert len({measurement.digest() for measurement in examples()}) == len(examples())


def test_nonce_and_binding_are_those_of_the_specifications_vectors() -> None:
    vectors = json.loads(FILE.with_name("composite.json").read_text())
    for vector in vectors["bindings"]:
        report_data, *names = (bytes.fromhex(text[2:]) for text in (vector["reportData"], *vector["deviceNames"]))
        assert device_nonce(report_data).hex() == vector["nonce"][2:]
        assert binding_report_data(report_data, names).hex() == vector["binding"][2:]
        assert sha256(b"sealmarket/device-nonce/v1\0" + report_data).digest() == device_nonce(report_data)
