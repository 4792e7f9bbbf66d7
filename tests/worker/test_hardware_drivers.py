"""The drivers of hardware, over emulated machines: what they refuse before a launch, and how they launch.

No TEE is here. A guest is a program that speaks like a monitor, an SGX enclave one that connects like Gramine's.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sevsnpmeasure import guest, vcpu_types
from sevsnpmeasure.sev_mode import SevMode

from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.intel.measurement import SgxMeasurement, TdxMeasurement
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.channel import Load
from sealmarket_worker.drivers.gramine import GramineDriver
from sealmarket_worker.drivers.guest import GUEST_ENVIRONMENTS, GuestDriver, relocated
from sealmarket_worker.drivers.guest_measurement import expected
from sealmarket_worker.drivers.installed import driver_named
from sealmarket_worker.drivers.interface import DriverError, DriverSettings
from sealmarket_worker.drivers.program import ProgramEnded
from sealmarket_worker.drivers.sigstruct import read_sigstruct
from sealmarket_worker.errors import ConfigInvalid, EnclaveRefused
from sealmarket_worker.machine import NEEDS
from tests.attestation.test_snp_launch import firmware
from tests.enclave.runtime.twins import load_of
from tests.enclave.scene import Scene
from tests.vectors import vector
from tests.worker.hardware import guest_image, machine

GUESTS = (Tee.TDX, Tee.SNP, Tee.CCA)
SNP: dict[str, Any] = {"cpus": 2, "cpu": "EPYC-Milan", "policy": "0000000000030000"}


def driver(tmp_path: Path, tee: Tee = Tee.SNP, *, without: str = "", **changes: Any) -> GuestDriver:
    image = guest_image(tmp_path / "image", **changes)
    settings = DriverSettings(
        tee=tee,
        device=Path("/dev/kvm"),
        image=image,
        interpreter=Path(sys.executable),
        environments=tmp_path / "environments",
    )
    return GuestDriver(settings, machine(tmp_path / "machine", tee, without=without))


# --- before a launch --------------------------------------------------------------------------------------------------

LACKING = [
    (tee, lacked) for tee in GUESTS for lacked in (NEEDS[tee].flag, NEEDS[tee].parameter, *NEEDS[tee].devices) if lacked
]


@pytest.mark.parametrize(("tee", "lacked"), LACKING, ids=str)
def test_a_machine_that_lacks_one_thing_for_a_guest_is_refused_with_it_and_the_way_to_get_it(
    tmp_path: Path, tee: Tee, lacked: str
) -> None:
    with pytest.raises(DriverError) as refused:
        driver(tmp_path, tee, without=lacked).check()
    assert lacked in refused.value.message
    assert refused.value.remedy == NEEDS[tee].enable


def test_a_machine_of_another_processor_launches_no_guest(tmp_path: Path) -> None:
    found = driver(tmp_path, Tee.TDX)
    with pytest.raises(DriverError, match="the processor is riscv64, tdx needs x86_64"):
        replace(found, machine=replace(found.machine, kind="riscv64")).check()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"command": ["no-such-monitor"]}, "no-such-monitor"),
        ({"command": []}, "command"),
        ({"channel": "tcp"}, "channel"),
        ({"endorsements": "absent.json"}, "absent.json"),
        ({"kernal": "vmlinuz"}, "kernal"),
        ({"snp": {**SNP, "policy": "30000"}}, "policy"),
        ({"snp": {**SNP, "cpu": "i486"}}, "i486"),
        ({"snp": SNP, "kernel": "absent"}, "absent"),
        ({}, "what a guest of snp will measure"),
        ({"snp": SNP}, "firmware"),
    ],
    ids=str,
)
def test_a_guest_file_with_a_fault_is_refused_by_name_before_anything_is_launched(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(SealmarketError, match=named):
        driver(tmp_path, **changes).check()


def test_an_image_without_a_guest_file_is_refused(tmp_path: Path) -> None:
    found = driver(tmp_path)
    (tmp_path / "image" / "guest.toml").unlink()
    with pytest.raises(ConfigInvalid, match="name the folder of a guest image"):
        found.check()


def test_collateral_that_is_gone_is_named_with_the_way_to_fetch_it(tmp_path: Path) -> None:
    found = driver(tmp_path)
    assert found.endorsements() == "{}"
    (tmp_path / "image" / "collateral.json").unlink()
    with pytest.raises(DriverError) as refused:
        found.endorsements()
    assert "sealmarket collateral fetch" in refused.value.remedy


def test_no_driver_of_hardware_has_simulated_evidence() -> None:
    for name, tee in (("guest", Tee.TDX), ("guest", Tee.SNP), ("guest", Tee.CCA), ("gramine", Tee.SGX)):
        assert not driver_named(name, tee).simulated
    for name, tee in (("guest", Tee.SGX), ("gramine", Tee.TDX)):
        with pytest.raises(ConfigInvalid, match=f"has no {tee.slug}"):
            driver_named(name, tee)


# --- a launch ---------------------------------------------------------------------------------------------------------


def test_a_monitor_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('KVM: no such feature')"]
    with pytest.raises(ProgramEnded, match="ended with status 1; it said: KVM: no such feature"):
        driver(tmp_path, command=command).launch()


@pytest.mark.parametrize("mode", ["deaf", "silent"])
def test_a_guest_that_does_not_answer_is_ended_after_its_time(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ProgramEnded, match=r"has not answered within 0\.3 s"):
        driver(tmp_path, mode=mode, start_seconds=0.3).launch()


def test_a_guest_is_given_folders_as_it_sees_them_and_ends_with_its_session(tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    scene, found = Scene(tmp_path / "scene"), driver(tmp_path)
    load = load_of(scene, environment=str(tmp_path / "environments" / "ab12"))
    session = found.launch()
    program, run = session._program, session._run  # type: ignore[attr-defined] # what is looked at here
    with session, pytest.raises(EnclaveRefused, match=f"environment at {GUEST_ENVIRONMENTS}/ab12"):
        session.load(load)
    assert not program.runs
    assert not run.exists()


def test_a_guest_of_a_host_that_is_killed_ends_too(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tests.worker.test_hardware_drivers import driver\n"
        "session = driver(Path(sys.argv[1])).launch()\n"
        "print(session._program._process.pid, flush=True); time.sleep(600)\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), root], stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        watched = os.pidfd_open(int(host.stdout.readline()))
        host.kill()
        assert select.select([watched], [], [], 60)[0], "the guest outlived its host"
        os.close(watched)


def test_only_paths_below_the_hosts_folder_are_relocated(tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    load = load_of(Scene(tmp_path / "scene"))
    moved = relocated(load, Path("/elsewhere"), GUEST_ENVIRONMENTS)
    assert moved == load
    moved = relocated(load, Path(str(load.environment)).parent, GUEST_ENVIRONMENTS)
    assert isinstance(moved, Load)
    assert moved.environment == f"{GUEST_ENVIRONMENTS}/{Path(str(load.environment)).name}"
    assert (moved.spec, moved.workload, moved.seals) == (load.spec, load.workload, load.seals)
    assert relocated("/state/environments-other/a", Path("/state/environments"), "/x") == "/state/environments-other/a"


# --- what will be measured --------------------------------------------------------------------------------------------


def test_the_registers_of_a_td_follow_from_the_event_log_of_its_boot(tmp_path: Path) -> None:
    log = vector("tdx/go-tdx-guest-ccel-ccel_data.dat")
    quote = vector("tdx/go-tdx-guest-cos-113-tdx-quote.bin")
    launch = {"mr_td": "11" * 48, "event_log": "ccel", "td_attributes": "0000001000000000", "xfam": "e742060000000000"}
    image = guest_image(tmp_path / "image", tdx=launch)
    (image / "ccel").write_bytes(log)
    measured = expected(Tee.TDX, image)
    assert isinstance(measured, TdxMeasurement)
    for register in (measured.rtmr0, measured.rtmr1, measured.rtmr2):
        assert bytes(register) in quote
    assert bytes(measured.rtmr3) == bytes(48)


def test_the_launch_digest_of_an_image_is_that_of_the_reference_and_moves_with_each_file(tmp_path: Path) -> None:
    image = guest_image(tmp_path / "image", snp=SNP)
    (image / "firmware").write_bytes(firmware())
    measured = expected(Tee.SNP, image)
    assert isinstance(measured, SnpMeasurement)
    reference = guest.calc_launch_digest(
        SevMode.SEV_SNP,
        SNP["cpus"],
        vcpu_types.CPU_SIGS[SNP["cpu"]],
        str(image / "firmware"),
        str(image / "kernel"),
        str(image / "initial_disk"),
        "console=none",
        1,
    )
    assert bytes(measured.launch_digest) == reference
    assert measured.policy == bytes.fromhex("0000030000000000")
    for name in ("firmware", "kernel", "initial_disk"):
        before = (image / name).read_bytes()
        (image / name).write_bytes(b"\x90" + before[1:])
        changed = expected(Tee.SNP, image)
        assert changed.digest() != measured.digest(), name
        (image / name).write_bytes(before)


def test_an_event_log_that_does_not_read_is_refused(tmp_path: Path) -> None:
    launch = {"mr_td": "11" * 48, "event_log": "ccel", "td_attributes": "00" * 8, "xfam": "00" * 8}
    image = guest_image(tmp_path / "image", tdx=launch)
    (image / "ccel").write_bytes(b"no log")
    with pytest.raises(SealmarketError):
        expected(Tee.TDX, image)


def test_a_realm_is_not_measured_here_and_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="take the realm's initial measurement"):
        expected(Tee.CCA, guest_image(tmp_path / "image"))


# --- Gramine ----------------------------------------------------------------------------------------------------------


def sigstruct(**changes: bytes) -> bytes:
    raw = bytearray(1808)
    places = {
        "header": (0, bytes.fromhex("06000000e10000000000010000000000")),
        "header2": (24, bytes.fromhex("01010000600000006000000001000000")),
        "modulus": (128, b"\x05" * 384),
        "misc": (900, b"\x01\0\0\0"),
        "attributes": (928, b"\x04" + bytes(7) + b"\xe7" + bytes(7)),
        "hash": (960, b"\xaa" * 32),
        "numbers": (1024, b"\x07\0\x02\0"),
    }
    for name, (at, value) in places.items():
        value = changes.get(name, value)
        raw[at : at + len(value)] = value
    return bytes(raw)


@pytest.mark.parametrize(
    "raw", [b"", sigstruct()[:-1], sigstruct() + b"\0", sigstruct(header=bytes(16)), sigstruct(header2=bytes(16))]
)
def test_a_file_that_is_no_signature_structure_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "sealmarket.sig").write_bytes(raw)
    with pytest.raises(ConfigInvalid, match=r"sealmarket\.sig"):
        read_sigstruct(tmp_path / "sealmarket.sig")


def test_what_a_quote_will_say_is_read_from_the_signature_structure(tmp_path: Path) -> None:
    (tmp_path / "sealmarket.sig").write_bytes(sigstruct())
    measured = read_sigstruct(tmp_path / "sealmarket.sig")
    assert isinstance(measured, SgxMeasurement)
    assert (measured.mr_enclave, measured.isv_prod_id, measured.isv_svn) == (b"\xaa" * 32, 7, 2)
    assert measured.attributes[0] == 0x05, "the processor sets INIT"


def gramine_driver(tmp_path: Path, loader: str, monkeypatch: pytest.MonkeyPatch) -> GramineDriver:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gramine-sgx").write_text(f"#!{sys.executable}\n{loader}")
    (tmp_path / "bin" / "gramine-sgx").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    manifest = tmp_path / "manifest"
    manifest.mkdir()
    (manifest / "sealmarket.sig").write_bytes(sigstruct())
    (manifest / "sealmarket.manifest.sgx").touch()
    (manifest / "collateral.json").write_text("{}")
    settings = DriverSettings(tee=Tee.SGX, device=manifest, image=manifest, interpreter=Path(sys.executable))
    return GramineDriver(settings, machine(tmp_path / "machine", Tee.SGX))


@pytest.mark.parametrize("lost", ["sealmarket.sig", "sealmarket.manifest.sgx", "collateral.json"])
def test_a_manifest_that_is_not_whole_is_refused_by_the_file_that_is_missing(
    tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = gramine_driver(tmp_path, "", monkeypatch)
    found.check()
    (tmp_path / "manifest" / lost).unlink()
    with pytest.raises(DriverError, match=lost):
        found.check()


@pytest.mark.loopback
def test_an_enclave_that_ends_before_it_connects_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = gramine_driver(tmp_path, "print('error: no SGX driver'); raise SystemExit(3)", monkeypatch)
    with pytest.raises(ProgramEnded, match="ended with status 3; it said: error: no SGX driver"):
        found.launch()


CONNECTING = """
from sealmarket_enclave.runtime.channel import Load, Refused, enclave_side
from sealmarket_enclave.runtime.platforms import gramine
stream, _ = gramine.attach()
channel = enclave_side(stream)
channel.expect(Load)
channel.send(Refused(code="sandbox_unavailable", message="no Landlock under Gramine", remedy=""))
"""


@pytest.mark.loopback
def test_an_enclave_that_connects_is_one_session_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scene").mkdir()
    session = gramine_driver(tmp_path, CONNECTING, monkeypatch).launch()
    program = session._program  # type: ignore[attr-defined] # what is looked at here
    with session, pytest.raises(EnclaveRefused, match="no Landlock under Gramine"):
        session.load(load_of(Scene(tmp_path / "scene")))
    assert not program.runs


def test_the_loader_has_to_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gramine_driver(tmp_path, "", monkeypatch)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(DriverError, match="no program gramine-sgx"):
        found.check()
