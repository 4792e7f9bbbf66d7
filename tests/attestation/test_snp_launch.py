"""SEV-SNP launch digests agree with ``sev-snp-measure``, on firmware made here with every kind of section."""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sevsnpmeasure import guest as reference
from sevsnpmeasure import vcpu_types
from sevsnpmeasure.gctx import GCTX
from sevsnpmeasure.sev_mode import SevMode

from sealmarket.attestation.amd.launch import CPU_SIGNATURES, Guest, LaunchNotMeasurable, _Digest, launch_digest

RESET = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
HASHES = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
METADATA = UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
SECTIONS = ((0x800000, 0x3000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x80F000, 0x1000, 0x10))


def firmware(
    sections: tuple[tuple[int, int, int], ...] = SECTIONS,
    *,
    names: frozenset[UUID] = frozenset({RESET, HASHES, METADATA}),
    filling: bytes = b"\xf4",
) -> bytes:
    """A firmware image of two pages: code, metadata, the table of entries, the reset vector."""
    metadata = struct.pack("<4sIII", b"ASEV", 16 + 12 * len(sections), 1, len(sections))
    metadata += b"".join(struct.pack("<III", *section) for section in sections)
    start = 4096
    values = {RESET: 0x80B004, HASHES: 0x80FC00, METADATA: 8192 - start}
    entries = b"".join(struct.pack("<IH", value, 22) + name.bytes_le for name, value in values.items() if name in names)
    table = entries + struct.pack("<H", len(entries) + 18) + FOOTER.bytes_le
    tail = table + bytes(32)
    body = filling * start + metadata
    return body.ljust(8192 - len(tail), b"\0") + tail


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "whole pages"),
        (bytes(4095), "whole pages"),
        (bytes(4096), "no table of entries"),
        (firmware(names=frozenset({RESET, HASHES})), "no SEV metadata"),
        (firmware(((0, 4096, 99),)), "not known"),
        (firmware(((0, 100, 1),)), "not whole pages"),
        (firmware(((0, 0xFFFFF000, 1),)), "not whole pages"),
    ],
)
def test_firmware_that_cannot_be_measured_is_refused(image: bytes, message: str) -> None:
    with pytest.raises(LaunchNotMeasurable, match=message):
        launch_digest(Guest(firmware=image, cpus=1, cpu="EPYC-Milan"))


def test_a_kernel_that_the_firmware_would_not_check_is_refused() -> None:
    with pytest.raises(LaunchNotMeasurable, match="takes no kernel hashes"):
        launch_digest(Guest(firmware=firmware(SECTIONS[:3]), cpus=1, cpu="EPYC-Milan", kernel=b"k"))


def test_further_cpus_without_a_place_to_start_are_refused() -> None:
    image = firmware(names=frozenset({HASHES, METADATA}))
    with pytest.raises(LaunchNotMeasurable, match="reset block"):
        launch_digest(Guest(firmware=image, cpus=2, cpu="EPYC-Milan"))


@pytest.mark.parametrize(("cpus", "cpu"), [(0, "EPYC-Milan"), (1, "EPYC-Naples"), (5000, "EPYC-Genoa")])
def test_an_unknown_machine_is_refused(cpus: int, cpu: str) -> None:
    with pytest.raises(LaunchNotMeasurable, match="expected 1 to 4096 CPUs"):
        launch_digest(Guest(firmware=firmware(), cpus=cpus, cpu=cpu))


@settings(deadline=None)
@given(st.binary(max_size=9000))
def test_any_firmware_is_measured_or_refused(image: bytes) -> None:
    padded = image.ljust(-len(image) % 4096 + len(image), b"\0")
    with pytest.raises(LaunchNotMeasurable):
        launch_digest(Guest(firmware=padded, cpus=1, cpu="EPYC-Milan"))


def test_each_input_changes_the_digest() -> None:
    base = Guest(firmware=firmware(), cpus=2, cpu="EPYC-Genoa", kernel=b"k", initial_disk=b"i", command_line="c")
    changes = {
        "firmware": firmware(filling=b"\x90"),
        "cpus": 3,
        "cpu": "EPYC-Milan",
        "kernel": b"K",
        "initial_disk": b"I",
        "command_line": "C",
        "features": 0x21,
    }
    fields = {name: getattr(base, name) for name in changes}
    digests = {launch_digest(Guest(**{**fields, name: value})) for name, value in changes.items()}
    assert len(digests | {launch_digest(base)}) == len(changes) + 1


@pytest.mark.parametrize("cpu", CPU_SIGNATURES)
def test_cpu_signatures_are_those_of_the_reference(cpu: str) -> None:
    assert CPU_SIGNATURES[cpu] == vcpu_types.CPU_SIGS[cpu]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    cpus=st.integers(1, 5),
    cpu=st.sampled_from(sorted(CPU_SIGNATURES)),
    kernel=st.none() | st.binary(min_size=1, max_size=64),
    disk=st.binary(max_size=64),
    command_line=st.text("abc =/", max_size=30),
    features=st.sampled_from([1, 0x21]),
    order=st.permutations(SECTIONS),
)
def test_digests_agree_with_the_reference(
    tmp_path: Path,
    cpus: int,
    cpu: str,
    kernel: bytes | None,
    disk: bytes,
    command_line: str,
    features: int,
    order: list[tuple[int, int, int]],
) -> None:
    image = firmware(tuple(order))
    files = {"ovmf": image, "kernel": kernel or b"", "initrd": disk}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    expected = reference.calc_launch_digest(
        SevMode.SEV_SNP,
        cpus,
        vcpu_types.CPU_SIGS[cpu],
        str(tmp_path / "ovmf"),
        str(tmp_path / "kernel") if kernel is not None else "",
        str(tmp_path / "initrd") if disk else "",
        command_line,
        features,
    )
    ours = Guest(
        firmware=image,
        cpus=cpus,
        cpu=cpu,
        kernel=kernel,
        initial_disk=disk,
        command_line=command_line,
        features=features,
    )
    assert launch_digest(ours) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 3, 5, 6]), st.integers(0, 2**40), st.binary(min_size=48, max_size=48))))
def test_the_chain_of_pages_is_the_references(pages: list[tuple[int, int, bytes]]) -> None:
    ours, theirs = _Digest(), GCTX()
    for kind, address, contents in pages:
        ours.page(kind, address, contents)
        theirs._update(kind, address, contents)
    assert ours.value == theirs.ld()
