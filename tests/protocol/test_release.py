"""The bytes of a release: one form, any length of a share, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import AssetId, JobId
from sealmarket_enclave.protocol.release import MAXIMUM_RELEASE, Release, ReleasedShare, read_release

RELEASE = Release(
    job_id=JobId(Bytes32(b"\x01" * 32)),
    evidence_hash=Bytes32(b"\x02" * 32),
    index=3,
    shares=tuple(ReleasedShare(asset_id=AssetId(Bytes32(bytes([n]) * 32)), sealed=HexBytes(bytes(n))) for n in (4, 5)),
    signature=HexBytes(b"\x06" * 65),
)
RAW = bytes(RELEASE.raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x" + RAW[1:],
        RAW[:-1],
        RAW + b"\x00",
        RAW[:73] + b"\x03" + RAW[74:],
        RAW[:73] + b"\x01" + RAW[74:],
        RAW[:106] + b"\xff" + RAW[107:],
        RAW + bytes(MAXIMUM_RELEASE),
    ],
    ids=["nothing", "magic", "short", "long", "more shares", "fewer shares", "a longer share", "too long"],
)
def test_bytes_of_another_form_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedDocument, match="a release"):
        read_release(raw)


@given(st.binary(max_size=300), st.integers(0, len(RAW)))
def test_any_bytes_are_refused_or_read_back_alike(tail: bytes, at: int) -> None:
    for raw in (tail, RAW[:at] + tail, RAW[:at] + tail + RAW[at + len(tail) :]):
        try:
            assert read_release(raw).raw == raw
        except MalformedDocument:
            continue


@given(
    st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.binary(max_size=70)), max_size=4), st.integers(0, 255)
)
def test_every_release_reads_as_it_was_written(shares: list[tuple[bytes, bytes]], index: int) -> None:
    written = Release(
        job_id=RELEASE.job_id,
        evidence_hash=RELEASE.evidence_hash,
        index=index,
        shares=tuple(
            ReleasedShare(asset_id=AssetId(Bytes32(name)), sealed=HexBytes(sealed)) for name, sealed in shares
        ),
        signature=RELEASE.signature,
    )
    assert read_release(written.raw) == written
