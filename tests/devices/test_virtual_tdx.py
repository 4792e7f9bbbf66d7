"""The virtual TDX device measures what it launches, and cannot be asked to lie."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from pathlib import Path

import dcap_qvl
import msgspec
import pytest
from cryptography import x509

from sealmarket_devices import wire
from sealmarket_devices.client import DeviceRefused, DeviceUnreachable, VirtualDevice
from sealmarket_devices.measure import ImageRefused, command_digest, extend_register, image_files, measure_image
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.runtime.platforms import device as platform
from tests.devices.conftest import (
    Launch,
    device_process,
    interpreter,
    tell,
    told_bytes,
    wait_until_gone,
    write_image,
)
from tests.patience import PATIENCE

REPORT_DATA = bytes(range(64))


def verify(quote: bytes, device: VirtualDevice) -> dcap_qvl.VerifiedReport:
    collateral = dcap_qvl.QuoteCollateralV3.from_json(device.endorsements())
    return dcap_qvl.verify_with_root_ca(quote, collateral, device.root(), int(time.time()))


# Refusals.


def test_an_image_with_a_symbolic_link_is_refused(launch: Launch, image: Path) -> None:
    (image / "link.py").symlink_to("/etc/hostname")
    with pytest.raises(DeviceRefused, match=r"link or special file: link\.py"):
        launch(image, interpreter())


def test_an_image_with_a_linked_folder_is_refused(image: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (image / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageRefused, match="folder"):
        list(image_files(image))


def test_an_image_with_a_named_pipe_is_refused_and_does_not_hold_the_device(launch: Launch, image: Path) -> None:
    os.mkfifo(image / "pipe")
    with pytest.raises(DeviceRefused, match="pipe"):
        launch(image, interpreter())


def test_an_image_with_bytecode_is_refused(image: Path) -> None:
    (image / "__pycache__").mkdir()
    with pytest.raises(ImageRefused, match="bytecode"):
        list(image_files(image))


def test_two_names_that_are_one_after_normalisation_are_refused(image: Path) -> None:
    (image / "caf\u00e9").touch()
    (image / "cafe\u0301").touch()
    with pytest.raises(ImageRefused, match="after NFC"):
        list(image_files(image))


def test_an_image_without_an_entry_point_is_refused(launch: Launch, image: Path) -> None:
    (image / "__main__.py").unlink()
    with pytest.raises(DeviceRefused, match="__main__"):
        launch(image, interpreter())


def test_an_interpreter_that_is_none_is_refused(launch: Launch, image: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match="no interpreter at"):
        launch(image, tmp_path / "absent")
    with pytest.raises(DeviceRefused, match="did not say where its standard library is"):
        launch(image, Path("/bin/true"))


def test_an_interpreter_that_lies_about_its_library_is_refused(launch: Launch, image: Path, tmp_path: Path) -> None:
    liar = tmp_path / "python"
    layout = json.dumps([str(Path(json.__file__).parents[1]), "lib", "python3.11", "", ""])
    liar.write_text(f"#!/bin/sh\necho '{layout}'\n")
    liar.chmod(0o755)
    with pytest.raises(DeviceRefused, match="copy"):
        launch(image, liar)


def test_arguments_that_the_kernel_would_cut_are_refused() -> None:
    with pytest.raises(ImageRefused, match="NUL"):
        command_digest(["a\0b"])


@pytest.mark.parametrize("claim", ["mr_td", "measurement", "rtmr0", "td_attributes", "debug", "report_data", "svn"])
def test_a_launch_that_names_a_claim_is_refused(tdx: VirtualDevice, image: Path, claim: str) -> None:
    request = {"kind": "launch", "image": str(image), "interpreter": str(interpreter()), claim: b"x"}
    with pytest.raises(DeviceRefused, match="unknown field"):
        tdx._ask(request, wire.Launched)  # type: ignore[arg-type]


@pytest.mark.parametrize("claim", ["mr_td", "rtmr0", "td_attributes", "tee_tcb_svn"])
def test_a_quote_request_that_names_a_claim_is_refused(launch: Launch, image: Path, claim: str) -> None:
    request = msgspec.msgpack.encode({"kind": "quote", "report_data": bytes(64), claim: bytes(48)})
    answer = told_bytes(launch(image, interpreter()), "raw", request.hex())
    assert isinstance(msgspec.msgpack.decode(answer, type=platform.Answer), platform.Refused)


@pytest.mark.parametrize("index", [-1, 0, 1, 4])
def test_registers_of_the_launch_cannot_be_extended(launch: Launch, image: Path, index: int) -> None:
    answer = tell(launch(image, interpreter()), "extend", index, "00" * 48)
    assert answer == f"PlatformRefused: an enclave extends RTMR 2 or 3, found {index}"


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_of_another_length_is_refused_by_the_device_itself(launch: Launch, image: Path, size: int) -> None:
    request = msgspec.msgpack.encode(platform.QuoteRequest(report_data=bytes(size)))
    answer = told_bytes(launch(image, interpreter()), "raw", request.hex())
    assert msgspec.msgpack.decode(answer, type=platform.Answer) == platform.Refused(
        message=f"report data takes 64 bytes, found {size}"
    )


def test_the_host_cannot_ask_for_a_quote(tdx: VirtualDevice) -> None:
    with pytest.raises(DeviceRefused, match="not a request"):
        tdx._ask(platform.QuoteRequest(report_data=bytes(64)), wire.Launched)  # type: ignore[arg-type]


def test_a_launch_without_a_channel_is_refused(tdx: VirtualDevice, image: Path) -> None:
    request = wire.Launch(image=str(image), interpreter=str(interpreter()))
    with pytest.raises(DeviceRefused, match="exactly one descriptor"):
        tdx._ask(request, wire.Launched)


def test_a_channel_that_is_not_a_socket_is_refused(tdx: VirtualDevice, image: Path) -> None:
    request = wire.Launch(image=str(image), interpreter=str(interpreter()))
    with (image / "payload.bin").open("rb") as file, pytest.raises(DeviceRefused, match="which is a socket"):
        tdx._ask(request, wire.Launched, file.fileno())


def test_garbage_on_the_control_socket_is_answered_and_the_device_goes_on(tdx: VirtualDevice) -> None:
    for packet in (b"\xc1", b"{}", b"\x81\xa4kind\xa6launch", bytes(1000), b"\x81\xa4kind\xa4root\xff"):
        tdx._socket.send(packet)
        answer = msgspec.msgpack.decode(tdx._socket.recv(wire.MAX_PACKET), type=wire.Answer)
        assert isinstance(answer, wire.Failed)
    assert x509.load_der_x509_certificate(tdx.root()).subject


def test_a_second_device_on_the_same_socket_is_refused(tmp_path: Path) -> None:
    from sealmarket_devices.device import DeviceError, _listen

    with device_process("tdx", tmp_path) as (_, path), pytest.raises(DeviceError, match="another device"):
        _listen(path)


def test_nothing_answers_where_no_device_is(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnreachable, match="no virtual device answers"):
        VirtualDevice(tmp_path / "absent.sock")


def test_evidence_of_one_device_does_not_verify_under_another_devices_root(
    tdx: VirtualDevice, launch: Launch, image: Path, tmp_path: Path
) -> None:
    quote = told_bytes(launch(image, interpreter()), "quote", REPORT_DATA.hex())
    with (
        device_process("tdx", tmp_path / "other") as (_, path),
        VirtualDevice(path) as other,
        pytest.raises(ValueError),
    ):
        verify(quote, other)


def test_a_debug_device_says_debug_in_its_evidence(image: Path, tmp_path: Path) -> None:
    with device_process("tdx", tmp_path / "debug", "--debug") as (_, path), VirtualDevice(path) as device:
        with device.launch(image, interpreter()) as enclave:
            quote = told_bytes(enclave, "quote", REPORT_DATA.hex())
        assert dcap_qvl.Quote.parse(quote).report.td_attributes[0] & 1
        with pytest.raises(ValueError, match=r"(?i)debug"):
            verify(quote, device)


# What holds.


def test_a_quote_verifies_under_the_development_root(tdx: VirtualDevice, launch: Launch, image: Path) -> None:
    quote = told_bytes(launch(image, interpreter(), ["--mode", "test"]), "quote", REPORT_DATA.hex())
    assert verify(quote, tdx).status == "UpToDate"
    report = dcap_qvl.Quote.parse(quote).report
    expected = tdx_measurement(measure_image(image, interpreter(), ["--mode", "test"]))
    assert report.report_data == REPORT_DATA
    assert (report.mr_td, report.rt_mr0, report.rt_mr1) == (expected.mr_td, expected.rtmr0, expected.rtmr1)
    assert (report.rt_mr2, report.rt_mr3) == (bytes(48), bytes(48))
    assert (report.td_attributes, report.xfam) == (expected.td_attributes, expected.xfam)


def test_one_byte_changed_in_the_image_changes_mrtd_and_nothing_else(launch: Launch, tmp_path: Path) -> None:
    first = launch(write_image(tmp_path / "a", extra=b"A"), interpreter()).measured
    second = launch(write_image(tmp_path / "b", extra=b"B"), interpreter()).measured
    assert first.image != second.image
    assert (first.runtime, first.command) == (second.runtime, second.command)


def test_the_executable_bit_and_the_arguments_are_measured(image: Path) -> None:
    before = measure_image(image, interpreter(), ["a"])
    (image / "payload.bin").chmod(0o755)
    after = measure_image(image, interpreter(), ["a", ""])
    assert before.image != after.image
    assert before.command != after.command


def test_a_file_edited_after_the_launch_does_not_reach_the_enclave(launch: Launch, image: Path) -> None:
    enclave = launch(image, interpreter())
    facts = tell(enclave, "facts")
    assert isinstance(facts, dict)
    entry = Path(facts["entry"])
    assert not entry.is_relative_to(image)
    (image / "__main__.py").write_text("raise SystemExit")
    assert "attach()" in entry.read_text()
    assert Path(facts["stdlib"]).is_relative_to(Path(facts["executable"]).parents[1])
    assert not any("site-packages" in folder for folder in facts["path"])


def test_an_enclave_starts_with_a_fixed_environment_and_five_descriptors(launch: Launch, image: Path) -> None:
    facts = tell(launch(image, interpreter(), ["x", "y"]), "facts")
    assert isinstance(facts, dict)
    assert facts["argv"] == ["x", "y"]
    assert set(facts["environment"]) <= {"LANG", "TZ", "LD_LIBRARY_PATH", "LC_CTYPE"}
    assert facts["descriptors"][:5] == [0, 1, 2, 3, 4]
    assert len(facts["descriptors"]) == 6  # the sixth reads the folder itself
    assert facts["session"]


def test_a_child_of_the_enclave_inherits_neither_socket(launch: Launch, image: Path) -> None:
    inherited = tell(launch(image, interpreter()), "child")
    assert isinstance(inherited, list)
    assert not [target for target in inherited if target.startswith("socket:")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any process's memory")
def test_another_process_of_the_same_user_cannot_read_the_enclaves_memory(launch: Launch, image: Path) -> None:
    enclave = launch(image, interpreter())
    tell(enclave, "facts")
    with pytest.raises(PermissionError):
        Path(f"/proc/{enclave.pid}/mem").read_bytes()


def test_an_extension_shows_in_the_next_quote(launch: Launch, image: Path) -> None:
    enclave = launch(image, interpreter())
    digest = hashlib.sha384(b"job specification").digest()
    value = told_bytes(enclave, "extend", 3, digest.hex())
    assert value == extend_register(bytes(48), digest) == hashlib.sha384(bytes(48) + digest).digest()
    report = dcap_qvl.Quote.parse(told_bytes(enclave, "quote", REPORT_DATA.hex())).report
    assert (report.rt_mr2, report.rt_mr3) == (bytes(48), value)


def test_two_enclaves_have_registers_of_their_own(launch: Launch, image: Path) -> None:
    first, second = launch(image, interpreter()), launch(image, interpreter())
    told_bytes(first, "extend", 2, "11" * 48)
    report = dcap_qvl.Quote.parse(told_bytes(second, "quote", REPORT_DATA.hex())).report
    assert report.rt_mr2 == bytes(48)


def test_everything_simulated_says_so(tdx: VirtualDevice) -> None:
    root = x509.load_der_x509_certificate(tdx.root())
    assert "DEVELOPMENT" in root.subject.rfc4514_string()
    collateral = dcap_qvl.QuoteCollateralV3.from_json(tdx.endorsements())
    chain = x509.load_pem_x509_certificates(collateral.tcb_info_issuer_chain.encode())
    assert all("DEVELOPMENT" in certificate.subject.rfc4514_string() for certificate in chain)


def test_a_stopped_enclave_is_gone_and_listed_as_ended(tdx: VirtualDevice, launch: Launch, image: Path) -> None:
    enclave = launch(image, interpreter())
    tell(enclave, "facts")
    tdx.stop(enclave.id)
    wait_until_gone(enclave.pid)
    assert enclave.channel.recv(1) == b""
    assert [info.exit_code for info in tdx.enclaves() if info.id == enclave.id] == [-9]
    with pytest.raises(DeviceRefused, match="no enclave"):
        tdx.stop(enclave.id)


def test_killing_the_device_kills_its_enclaves(image: Path, tmp_path: Path) -> None:
    with (
        device_process("tdx", tmp_path / "state") as (process, path),
        VirtualDevice(path) as device,
        device.launch(image, interpreter()) as enclave,
    ):
        tell(enclave, "facts")
        process.kill()
        process.wait(timeout=PATIENCE)
        wait_until_gone(enclave.pid)


def test_the_root_stays_and_its_keys_are_private(image: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    roots = []
    for _ in range(2):
        with device_process("tdx", state) as (_, path), VirtualDevice(path) as device:
            roots.append(device.root())
            assert path.stat().st_mode & 0o777 == 0o600
    assert roots[0] == roots[1]
    assert {file.stat().st_mode & 0o777 for file in state.glob("*.key")} == {0o600}
    assert state.stat().st_mode & 0o777 == 0o700


def test_a_descriptor_more_than_asked_for_is_closed(tdx: VirtualDevice) -> None:
    reader, writer = os.pipe()
    socket.send_fds(tdx._socket, [msgspec.msgpack.encode(wire.Root())], [writer])
    os.close(writer)
    assert msgspec.msgpack.decode(tdx._socket.recv(wire.MAX_PACKET), type=wire.RootCertificate).simulated
    assert os.read(reader, 1) == b""  # end of file: no copy of the writer is left
    os.close(reader)
