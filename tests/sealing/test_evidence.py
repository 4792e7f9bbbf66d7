"""Sealed evidence packages: what is refused, what two readers of one package can be shown, and how large it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.protocol.limits import MAXIMUM_PACKAGE
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.sealing import evidence
from sealmarket.sealing.evidence import (
    MOST_READERS,
    About,
    EvidenceSealer,
    NotAReader,
    PackageTooLong,
    SealedEvidence,
    TooManyReaders,
    read_evidence,
)
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import recover
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PRIVATE_KEY_BYTES, PrivateKey
from tests.sealing.two_keys import opens_under_both

VECTOR = Path(__file__).resolve().parents[2] / "docs/spec/vectors/evidence.json"
ABOUT = About(
    chain_id=31337,
    market=Address(b"\x11" * 20),
    job_id=JobId(Bytes32(b"\x22" * 32)),
    evidence_hash=Bytes32(b"\x33" * 32),
    epoch=7,
)
KEYS = [PrivateKey(bytes([place]) * PRIVATE_KEY_BYTES) for place in (1, 2, 3)]
PLAINTEXT = b'{"a":"package"}' * 10
SIGNATURE = HexBytes(b"\x04" * 65)
SEALED = EvidenceSealer(PLAINTEXT, ABOUT).wrapped([key.public for key in KEYS], lambda _: SIGNATURE)
OWN = range(116, 116 + 1200)
"""Where the first reader's name and wrapped key lie."""


def _edited(at: int, new: bytes) -> bytes:
    return SEALED.raw[:at] + new + SEALED.raw[at + len(new) :]


FORMS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "at least 116 bytes, found 0"),
    "another magic": (_edited(0, b"SEALMKT\x00"), "begins"),
    "another version": (_edited(8, b"\x00\x02"), "version 2"),
    "no reader": (_edited(114, b"\x00\x00"), "1 to 64 readers, found 0"),
    "65 readers": (_edited(114, b"\x00\x41"), "1 to 64 readers, found 65"),
    "more readers than bytes": (_edited(114, b"\x00\x40"), "64 readers"),
    "a reader twice": (_edited(116 + 1200, SEALED.raw[116:148]), "each reader once"),
    "a longer ciphertext than there is": (_edited(110, b"\xff\xff\xff\xff"), "ciphertext of 4294967295"),
    "a ciphertext without a tag": (_edited(110, b"\x00\x00\x00\x0f"), "ciphertext of 15"),
    "a byte more": (SEALED.raw + b"\x00", "signature of 0 or 65"),
    "a signature of 64 bytes": (SEALED.raw[:-1], "signature of 0 or 65"),
    "too many bytes": (SEALED.raw + bytes(MAXIMUM_PACKAGE), "at most 6291456 bytes"),
}


@pytest.mark.parametrize("form", FORMS)
def test_bytes_of_another_form_are_refused(form: str) -> None:
    raw, why = FORMS[form]
    with pytest.raises(MalformedDocument, match=why):
        read_evidence(raw)


@given(st.integers(0, len(SEALED.raw) - 66), st.integers(1, 255))
def test_a_change_of_any_byte_is_seen_by_its_reader_or_by_the_providers_signature(at: int, flip: int) -> None:
    raw = _edited(at, bytes([SEALED.raw[at] ^ flip]))
    try:
        changed = read_evidence(raw)
    except MalformedDocument:
        return
    assert changed.sealed_hash != SEALED.sealed_hash
    if at < 114 or at in OWN or at >= 116 + 1200 * len(KEYS):
        with pytest.raises(NotOpened):
            changed.opened(KEYS[0], ABOUT)


@pytest.mark.parametrize(
    "other",
    [
        {"chain_id": 1},
        {"market": Address(bytes(20))},
        {"job_id": JobId(Bytes32(bytes(32)))},
        {"evidence_hash": Bytes32(bytes(32))},
        {"epoch": 8},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_package_for_something_else_does_not_open(other: dict[str, object]) -> None:
    about = dataclasses.replace(ABOUT, **other)  # type: ignore[arg-type]
    with pytest.raises(NotOpened):
        SEALED.opened(KEYS[0], about)
    moved = dataclasses.replace(SEALED, job_id=about.job_id, evidence_hash=about.evidence_hash, epoch=about.epoch)
    with pytest.raises(NotOpened):
        moved.opened(KEYS[0], about)


def test_who_is_no_reader_opens_nothing() -> None:
    with pytest.raises(NotAReader, match="sealed to other keys"):
        SEALED.opened(PrivateKey.generate(), ABOUT)


def test_a_wrapped_key_of_another_package_does_not_open_this_one() -> None:
    other = EvidenceSealer(b"another", ABOUT).wrapped([key.public for key in KEYS])
    with pytest.raises(NotOpened):
        dataclasses.replace(SEALED, wraps=other.wraps).opened(KEYS[0], ABOUT)


def test_a_ciphertext_that_opens_under_two_keys_shows_nothing_to_either_reader() -> None:
    """AES-GCM commits to no key: without the commitment each reader would see a package of the host's choice.

    The tag covers the commitment, so a host cannot choose one that holds for either plaintext.
    """
    first, second = (bytes([fill]) * 32 for fill in (5, 6))
    blocks = 8
    shown = SealedEvidence(
        job_id=ABOUT.job_id,
        evidence_hash=ABOUT.evidence_hash,
        epoch=ABOUT.epoch,
        commitment=Bytes32(bytes(32)),
        wraps=(),
        ciphertext=bytes(16 * blocks + 16),
    )
    ciphertext = opens_under_both(first, second, shown._fixed(), blocks)
    both = [AESGCM(key).decrypt(bytes(12), ciphertext, shown._fixed()) for key in (first, second)]
    assert both[0] != both[1]
    forged = dataclasses.replace(shown, ciphertext=ciphertext)
    for key, content_key in zip(KEYS, (first, second), strict=False):
        wrap = key.public.seal(content_key, evidence._info(ABOUT, key.public, forged.content_hash))
        forged = dataclasses.replace(forged, wraps=(*forged.wraps, (key.public.digest, wrap)))
    for key in KEYS[:2]:
        with pytest.raises(NotOpened, match="a commitment of evidence"):
            forged.opened(key, ABOUT)


@pytest.mark.parametrize("count", [0, MOST_READERS + 1])
def test_evidence_is_sealed_to_no_fewer_and_no_more_readers(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST_READERS", 2)
    readers = [key.public for key in KEYS][: min(count, 3)]
    with pytest.raises(TooManyReaders, match=f"found {len(readers)}"):
        EvidenceSealer(PLAINTEXT, ABOUT).wrapped(readers)


def test_a_package_that_no_node_would_read_is_not_sealed() -> None:
    with pytest.raises(PackageTooLong, match="at most 6291456 bytes"):
        EvidenceSealer(bytes(MAXIMUM_PACKAGE), ABOUT)


@given(st.binary(max_size=400))
@settings(max_examples=50)
def test_any_bytes_are_refused_or_read_back_alike(tail: bytes) -> None:
    for raw in (tail, SEALED.raw[:200] + tail, SEALED.raw[:-100] + tail):
        try:
            assert read_evidence(raw).raw == raw
        except MalformedDocument:
            continue


def test_every_reader_opens_the_same() -> None:
    read = read_evidence(SEALED.raw)
    assert [read.opened(key, ABOUT) for key in KEYS] == [PLAINTEXT] * 3
    assert (read.signature, read.sealed_hash) == (SIGNATURE, SEALED.sealed_hash)


def test_a_reader_who_is_named_twice_has_one_wrapped_key() -> None:
    sealed = EvidenceSealer(PLAINTEXT, ABOUT).wrapped([KEYS[0].public, KEYS[1].public, KEYS[0].public])
    assert [name for name, _ in sealed.wraps] == [KEYS[0].public.digest, KEYS[1].public.digest]


def test_copies_for_different_readers_are_one_content() -> None:
    sealer = EvidenceSealer(PLAINTEXT, ABOUT)
    copies = [sealer.wrapped([key.public]) for key in KEYS]
    assert {copy.content_hash for copy in copies} == {sealer.wrapped([key.public for key in KEYS]).content_hash}
    assert len({copy.sealed_hash for copy in copies}) == len(KEYS)
    assert EvidenceSealer(PLAINTEXT, ABOUT).wrapped([KEYS[0].public]).content_hash != copies[0].content_hash


def test_eleven_nodes_and_a_consumer_read_one_ciphertext() -> None:
    """45 kB for eleven nodes once took 1.29 MB: a ciphertext for each node, in hex."""
    readers = [PrivateKey.generate().public for _ in range(12)]
    sealed = EvidenceSealer(bytes(45_000), ABOUT).wrapped(readers, lambda _: SIGNATURE)
    assert len(sealed.raw) == 116 + 12 * 1200 + 45_000 + 16 + 65


def test_the_vector_opens_and_hashes_as_it_says() -> None:
    vector = json.loads(VECTOR.read_text())
    raw = bytes.fromhex(vector["sealed"][2:])
    about = About(
        chain_id=vector["chainId"],
        market=Address.parse(vector["market"]),
        job_id=JobId(Bytes32.parse(vector["jobId"])),
        evidence_hash=Bytes32.parse(vector["evidenceHash"]),
        epoch=vector["epoch"],
    )
    read = read_evidence(raw)
    found = {"commitment": read.commitment, "contentHash": read.content_hash, "sealedHash": read.sealed_hash}
    assert {name: str(value) for name, value in found.items()} == {name: vector[name] for name in found}
    for reader in vector["readers"]:
        key = PrivateKey(bytes.fromhex(reader["privateKey"][2:]))
        assert str(keccak(key.public.raw)) == reader["name"]
        assert read.opened(key, about) == vector["plaintext"].encode()
    seal = EvidenceSeal(job_id=about.job_id, evidence_hash=about.evidence_hash, sealed_hash=read.sealed_hash)
    digest = seal.digest(about.chain_id, about.market)
    assert (str(digest), str(recover(digest, HexBytes(read.signature)))) == (vector["digest"], vector["provider"])
