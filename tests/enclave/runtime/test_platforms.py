"""The platforms of hardware, over emulations of their kernel interfaces: what they refuse, wait for, and give.

No hardware is here: what these tests hold is that each answer which the interface allows is read as it is meant.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.platforms import gramine, guest
from sealmarket_enclave.runtime.platforms.files import KernelFiles
from sealmarket_enclave.runtime.platforms.gramine import GraminePlatform
from sealmarket_enclave.runtime.platforms.guest import GuestPlatform
from sealmarket_enclave.runtime.platforms.interface import PlatformError, PlatformLost, PlatformRefused
from tests.enclave.runtime.kernel import TsmFolder, TsmKernel
from tests.vectors import first, manifest, vector

DATA = bytes(range(64))


def platform(kernel: TsmKernel, tee: Tee = Tee.TDX, pauses: list[float] | None = None) -> GuestPlatform:
    waited = pauses if pauses is not None else []
    return GuestPlatform(tee, files=kernel, reports=Path("/reports"), registers=Path("/registers"), pause=waited.append)


# --- reports of the kernel: refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (TsmKernel(absent=True), "No such file or directory"),
        (TsmKernel(provider="sev_guest"), "reports of tdx_guest, found those of 'sev_guest'"),
        (TsmKernel(report=lambda _data: b""), "does not hold the report data"),
        (TsmKernel(report=lambda data: data[:-1]), "does not hold the report data"),
        (TsmKernel(report=lambda _data: bytes(5000)), "does not hold the report data"),
        (TsmKernel(report=lambda data: data * 1025), "at most 65536 bytes"),
        (TsmKernel(takes=63), "took 63 of 64 bytes"),
        (TsmKernel(others=4), "another process wrote into the request's folder, 4 times"),
        (TsmKernel(busy=99), "busy"),
        (TsmKernel(in_flight=99), "busy"),
    ],
    ids=[
        "no such interface",
        "another kind of TEE",
        "an empty report",
        "a report that is cut short",
        "an older report",
        "a report without end",
        "a short write",
        "a generation that always moves",
        "a write that is always busy",
        "a report that is always in flight",
    ],
)
def test_a_report_that_is_not_what_was_asked_for_is_refused_and_its_folder_removed(
    kernel: TsmKernel, said: str
) -> None:
    with pytest.raises(PlatformError, match=said):
        platform(kernel).quote(DATA)
    assert kernel.folders == {}


@pytest.mark.parametrize("size", [0, 63, 65])
def test_report_data_of_another_length_is_not_asked_for(size: int) -> None:
    kernel = TsmKernel()
    with pytest.raises(PlatformRefused, match=f"64 bytes, found {size}"):
        platform(kernel).quote(bytes(size))
    assert kernel.made == []


@pytest.mark.parametrize("generation", [b"", b"-1\n", b"one\n", b"1" * 21, "\u0661".encode()])
def test_a_generation_that_is_no_number_is_refused(generation: bytes) -> None:
    class Odd(TsmKernel):
        def read(self, path: Path, most: int) -> bytes:
            return generation if path.name == "generation" else super().read(path, most)

    with pytest.raises(PlatformLost):
        platform(Odd()).quote(DATA)


# --- reports of the kernel: what is waited for ------------------------------------------------------------------------


def test_a_busy_kernel_is_asked_again_with_growing_pauses() -> None:
    pauses: list[float] = []
    assert DATA in platform(TsmKernel(busy=2, in_flight=3), pauses=pauses).quote(DATA)
    assert pauses == pytest.approx([0.1, 0.2, 0.1, 0.2, 0.4])


def test_a_kernel_that_stays_busy_is_left_within_half_a_minute() -> None:
    pauses: list[float] = []
    with pytest.raises(PlatformLost):
        platform(TsmKernel(in_flight=99), pauses=pauses).quote(DATA)
    assert sum(pauses) < 30


def test_a_generation_that_moved_has_the_request_begun_anew_in_another_folder() -> None:
    kernel = TsmKernel(others=3)
    assert DATA in platform(kernel).quote(DATA)
    assert len(set(kernel.made)) == 4
    assert kernel.folders == {}


def test_each_request_has_a_folder_of_its_own_and_leaves_none() -> None:
    kernel = TsmKernel()
    asked = platform(kernel)
    for number in range(3):
        data = bytes([number]) * 64
        assert data in asked.quote(data)
    assert len(set(kernel.made)) == 3
    assert kernel.folders == {}
    assert kernel.writes == [bytes([number]) * 64 for number in range(3)]


def test_a_folder_that_cannot_be_removed_does_not_cost_the_evidence() -> None:
    assert DATA in platform(TsmKernel(keeps_folders=True)).quote(DATA)


def test_requests_of_several_threads_do_not_mix() -> None:
    kernel = TsmKernel()
    asked = platform(kernel)
    found: dict[int, bytes] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: asked.quote(bytes([n]) * 64)})) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(bytes([number]) * 64 in found[number] for number in range(8))


@given(
    busy=st.integers(0, 8),
    in_flight=st.integers(0, 8),
    others=st.integers(0, 5),
    report=st.sampled_from([lambda data: data, lambda data: data[1:], lambda _: b"", lambda data: b"x" * 900 + data]),
)
def test_whatever_the_kernel_does_evidence_holds_what_was_asked_or_there_is_none(
    busy: int, in_flight: int, others: int, report: Any
) -> None:
    kernel = TsmKernel(busy=busy, in_flight=in_flight, others=others, report=report)
    with contextlib.suppress(PlatformError):
        assert DATA in platform(kernel).quote(DATA)
    assert kernel.folders == {}


# --- runtime registers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tee", [Tee.SNP, Tee.CCA])
def test_a_guest_without_registers_refuses_to_extend_one(tee: Tee) -> None:
    with pytest.raises(PlatformRefused, match="no register"):
        platform(TsmKernel(), tee).extend(3, bytes(48))


@pytest.mark.parametrize(("index", "size"), [(0, 48), (1, 48), (4, 48), (3, 47), (3, 64)])
def test_the_firmwares_registers_and_other_digests_are_refused(index: int, size: int) -> None:
    kernel = TsmKernel()
    with pytest.raises(PlatformRefused):
        platform(kernel).extend(index, bytes(size))
    assert set(kernel.registers.values()) == {bytes(48)}


def test_a_register_that_does_not_move_is_noticed() -> None:
    with pytest.raises(PlatformLost, match="does not hold what it was extended by"):
        platform(TsmKernel(deaf=True)).extend(3, bytes(48))


def test_a_kernel_without_registers_is_named_with_the_version_that_has_them() -> None:
    with pytest.raises(PlatformLost, match=r"Linux 6\.16"):
        platform(TsmKernel(registers={})).extend(3, bytes(48))


def test_a_register_is_extended_as_the_hardware_does() -> None:
    kernel, digest = TsmKernel(busy=1), hashlib.sha384(b"job").digest()
    assert platform(kernel).extend(3, digest) == hashlib.sha384(bytes(48) + digest).digest()


# --- real files -------------------------------------------------------------------------------------------------------


def test_reads_that_give_less_than_there_is_go_on_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "outblob"
    os.mkfifo(path)
    pieces = [b"a" * 7, b"b", b"c" * 4096]

    def write() -> None:
        with path.open("wb", buffering=0) as out:
            for piece in pieces:
                out.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    assert KernelFiles().read(path, 1 << 16) == b"".join(pieces)
    writer.join()


def test_a_file_without_end_is_left_at_its_bound() -> None:
    with pytest.raises(PlatformLost, match="at most 65536 bytes"):
        KernelFiles().read(Path("/dev/zero"), 1 << 16)


def test_a_write_that_is_cut_short_is_a_failure_and_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inblob").touch()
    honest = os.write
    calls: list[int] = []

    def short(handle: int, data: bytes) -> int:
        calls.append(handle)
        return honest(handle, data[:10])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(PlatformLost, match="inblob took 10 of 64 bytes"):
        KernelFiles().write(tmp_path / "inblob", DATA)
    assert len(calls) == 1


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outblob").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        KernelFiles().read(tmp_path / "outblob", 100)


def test_a_report_comes_over_real_files_and_leaves_nothing_behind(tmp_path: Path) -> None:
    asked = GuestPlatform(Tee.TDX, files=TsmFolder(lambda data: b"<" + data + b">"), reports=tmp_path)
    assert asked.quote(DATA) == b"<" + DATA + b">"
    assert list(tmp_path.iterdir()) == []


# --- Gramine ----------------------------------------------------------------------------------------------------------


def attestation(folder: Path, kind: bytes = b"dcap", quote: bytes = b"quote:" + DATA) -> GraminePlatform:
    """`/dev/attestation` as real files."""
    (folder / "attestation_type").write_bytes(kind)
    (folder / "user_report_data").write_bytes(bytes(64))
    (folder / "quote").write_bytes(quote)
    return GraminePlatform(folder=folder)


@pytest.mark.parametrize("kind", [b"none", b"epid", b"", b"dcap2", b"\xff\xfe"])
def test_gramine_without_dcap_is_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(PlatformRefused, match="attestation of type dcap"):
        attestation(tmp_path, kind).quote(DATA)


@pytest.mark.parametrize("quote", [b"", DATA[:-1], b"quote:" + bytes(64)], ids=["none", "cut short", "of other data"])
def test_a_quote_that_does_not_hold_what_was_asked_is_refused(tmp_path: Path, quote: bytes) -> None:
    with pytest.raises(PlatformLost, match="does not hold the report data"):
        attestation(tmp_path, quote=quote).quote(DATA)


def test_a_quote_that_is_too_long_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformLost, match="at most 16384 bytes"):
        attestation(tmp_path, quote=DATA * 300).quote(DATA)
    (tmp_path / "user_report_data").unlink()
    with pytest.raises(PlatformLost, match="No such file"):
        GraminePlatform(folder=tmp_path).quote(DATA)


def test_report_data_that_did_not_arrive_is_noticed(tmp_path: Path) -> None:
    class Deaf(KernelFiles):
        def write(self, path: Path, data: bytes) -> None:
            """Another thread of the enclave was quicker."""

    attestation(tmp_path)
    with pytest.raises(PlatformLost, match="does not hold what was written"):
        GraminePlatform(files=Deaf(), folder=tmp_path).quote(DATA)


def test_sgx_has_no_register_to_extend(tmp_path: Path) -> None:
    with pytest.raises(PlatformRefused, match="no runtime register"):
        attestation(tmp_path).extend(3, bytes(48))


def test_gramine_gives_the_quote_over_real_files(tmp_path: Path) -> None:
    assert attestation(tmp_path).quote(DATA) == b"quote:" + DATA
    assert (tmp_path / "user_report_data").read_bytes() == DATA


@pytest.mark.parametrize("port", ["", "x", "-1", "0", "65536", "123456", "\u0661"])
def test_an_enclave_under_gramine_whose_channel_is_no_port_ends(port: str) -> None:
    with pytest.raises(PlatformLost, match="is a port"):
        gramine.attach({gramine.CHANNEL_VARIABLE: port})


# --- evidence from hardware -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tee", [Tee.TDX, Tee.SNP, Tee.SGX])
def test_evidence_from_hardware_passes_as_it_is(tee: Tee, tmp_path: Path) -> None:
    entries = [
        one
        for one in manifest()
        if one["tee"] == tee.slug and one["role"] == "evidence" and len(one.get("report_data", "")) == 128
    ]
    first(entries)
    for entry in entries:
        recorded, data = vector(entry["file"]), bytes.fromhex(entry["report_data"])
        if tee is Tee.SGX:
            assert attestation(tmp_path, quote=recorded).quote(data) == recorded
        else:
            kernel = TsmKernel(provider=guest.PROVIDERS[tee], report=lambda _, recorded=recorded: recorded)  # type: ignore[misc]
            assert platform(kernel, tee).quote(data) == recorded


# --- the way to the host ----------------------------------------------------------------------------------------------


class _Vsock:
    """Stands for a vsock listener; a machine without a hypervisor above it has none that connects."""

    def __init__(self, peer: int, stream: socket.socket, *_: object) -> None:
        self.peer, self.stream = peer, stream

    def __enter__(self) -> _Vsock:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def bind(self, address: tuple[int, int]) -> None:
        assert address == (socket.VMADDR_CID_ANY, guest.CHANNEL_PORT)

    def listen(self, backlog: int) -> None:
        assert backlog == 1

    def accept(self) -> tuple[socket.socket, tuple[int, int]]:
        return self.stream, (self.peer, 1)


def test_a_guest_takes_the_connection_of_its_host_and_of_no_other_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "close_to_others", lambda: None)
    host, other = socket.socketpair()
    with host, other:
        monkeypatch.setattr("socket.socket", partial(_Vsock, socket.VMADDR_CID_HOST, host))
        assert guest.attach(Tee.TDX)[0] is host
        monkeypatch.setattr("socket.socket", partial(_Vsock, 7, other))
        with pytest.raises(PlatformLost, match="found one from context 7"):
            guest.attach(Tee.TDX)
        assert other.fileno() == -1
