"""A sealed evidence package: one ciphertext, and its key wrapped for each reader (docs/spec/shares.md, "Evidence").

| offset | bytes | field |
|---|---|---|
| 0 | 8 | magic ``SEALEVD\\0`` |
| 8 | 2 | version, 1 |
| 10 | 4 | epoch |
| 14 | 32 | job id |
| 46 | 32 | evidence hash |
| 78 | 32 | commitment |
| 110 | 4 | length *c* of the ciphertext in bytes |
| 114 | 2 | number *r* of readers, 1 to 64 |
| 116 | 1200 *r* | for each reader the Keccak-256 of its HPKE key (32) and the wrapped content key (1168) |
| 116 + 1200 *r* | *c* | AES-256-GCM ciphertext and tag: nonce 0, the first 114 bytes as associated data |
| then | 65 or 0 | the provider's signature over an ``EvidenceSeal``; the copy for one user of a service has none |

AES-GCM does not commit to its key, so the commitment is over key and plaintext, and every reader holds both against it.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealmarket.protocol.limits import MAXIMUM_PACKAGE
from sealmarket.sealing.contexts import EvidenceKeyInfo
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import OVERHEAD_BYTES, PrivateKey, PublicKey

MAGIC: Final = b"SEALEVD\x00"
VERSION: Final = 1
MOST_READERS: Final = 64
"""A committee has at most 11 members, a job at most 8 result keys and two auditors of each of 16 owners."""
WRAP_BYTES: Final = OVERHEAD_BYTES + 32
"""A content key as it is sealed to a reader."""
SIGNATURE_BYTES: Final = 65
_FIXED, _COUNT = struct.Struct(">8sHI32s32s32sI"), struct.Struct(">H")
_KEY_BYTES, _NAME_BYTES, _TAG_BYTES = 32, 32, 16
_NONCE = bytes(12)
"""A content key is drawn for one package and encrypts once."""
_COMMITMENT = b"sealmarket/evidence-commitment/1"


Sign = Callable[[Bytes32], HexBytes]
"""The provider's signature over the :class:`EvidenceSeal` of a sealed hash."""


class EvidenceNotSealed(SealmarketError):
    """Evidence cannot be sealed like this."""


class TooManyReaders(EvidenceNotSealed):
    """Evidence is sealed to 1 to ``MOST_READERS`` readers."""

    def __init__(self, found: int) -> None:
        super().__init__(
            f"evidence is sealed to 1 to {MOST_READERS} readers, found {found}",
            remedy="seal it to the committee and the job's result keys; a reader can show it to further ones",
        )


class PackageTooLong(EvidenceNotSealed):
    """A sealed package has at most ``MAXIMUM_PACKAGE`` bytes."""

    def __init__(self, found: int) -> None:
        super().__init__(
            f"a sealed evidence package has at most {MAXIMUM_PACKAGE} bytes, found {found}",
            remedy="leave out collateral that no reader needs for this quote",
        )


class NotAReader(NotOpened):
    """A package is wrapped for other keys than this one."""

    def __init__(self, key: Bytes32) -> None:
        SealmarketError.__init__(
            self,
            f"the evidence is sealed to other keys than {key}",
            remedy="use the key of a node of the job's committee, or one of its result keys",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a package is evidence for: every wrapped key is bound to it. ``epoch`` is the committee's."""

    chain_id: int
    market: Address
    job_id: JobId
    evidence_hash: Bytes32
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEvidence:
    """A package as it travels; read, and neither opened nor believed."""

    job_id: JobId
    evidence_hash: Bytes32
    epoch: int
    commitment: Bytes32
    wraps: tuple[tuple[Bytes32, bytes], ...]
    """Each reader's key by its Keccak-256, and the content key as it is wrapped for it."""
    ciphertext: bytes
    signature: bytes = b""

    @property
    def content_hash(self) -> Bytes32:
        """What all copies of one package share, for any readers."""
        return keccak(self._fixed() + self.ciphertext)

    @property
    def sealed_hash(self) -> Bytes32:
        """What the provider signs: every byte before the signature."""
        return keccak(self._unsigned())

    @property
    def raw(self) -> bytes:
        """The bytes that travel."""
        return self._unsigned() + self.signature

    def opened(self, key: PrivateKey, about: About) -> bytes:
        """The plaintext, for a reader that knows by itself what the evidence is for.

        Raises:
            NotAReader: it is wrapped for other keys.
            NotOpened: altered, for another job, evidence, epoch or market, or its commitment does not hold.
        """
        if (self.job_id, self.evidence_hash, self.epoch) != (about.job_id, about.evidence_hash, about.epoch):
            raise NotOpened("evidence of another job")
        if (wrapped := dict(self.wraps).get(key.public.digest)) is None:
            raise NotAReader(key.public.digest)
        content_key = key.open(wrapped, _info(about, key.public, self.content_hash))
        try:
            plaintext = AESGCM(content_key).decrypt(_NONCE, self.ciphertext, self._fixed())
        except (InvalidTag, ValueError):
            raise NotOpened("a content key of evidence") from None
        if _commitment(content_key, plaintext) != self.commitment:
            raise NotOpened("a commitment of evidence")
        return plaintext

    def _fixed(self) -> bytes:
        about = self.job_id, self.evidence_hash, self.commitment
        return _FIXED.pack(MAGIC, VERSION, self.epoch, *about, len(self.ciphertext))

    def _unsigned(self) -> bytes:
        wraps = b"".join(bytes(name) + wrapped for name, wrapped in self.wraps)
        return self._fixed() + _COUNT.pack(len(self.wraps)) + wraps + self.ciphertext


class EvidenceSealer:
    """Seals one package once; it holds the content key, and wraps it for whom it is asked to."""

    def __init__(self, plaintext: bytes, about: About) -> None:
        """Raises :class:`PackageTooLong`."""
        self._about, self._key = about, secrets.token_bytes(_KEY_BYTES)
        size = len(plaintext) + _TAG_BYTES
        longest = _FIXED.size + _COUNT.size + MOST_READERS * (_NAME_BYTES + WRAP_BYTES) + size + SIGNATURE_BYTES
        if longest > MAXIMUM_PACKAGE:
            raise PackageTooLong(longest)
        commitment = _commitment(self._key, plaintext)
        fixed = _FIXED.pack(MAGIC, VERSION, about.epoch, about.job_id, about.evidence_hash, commitment, size)
        self._unwrapped = SealedEvidence(
            job_id=about.job_id,
            evidence_hash=about.evidence_hash,
            epoch=about.epoch,
            commitment=commitment,
            wraps=(),
            ciphertext=AESGCM(self._key).encrypt(_NONCE, plaintext, fixed),
        )

    def wrapped(self, readers: Sequence[PublicKey], sign: Sign | None = None) -> SealedEvidence:
        """The package for these readers, each once, signed by its provider where ``sign`` is given.

        Raises:
            TooManyReaders: none, or more than ``MOST_READERS``.
        """
        each = {reader.digest: reader for reader in readers}
        if not 1 <= len(each) <= MOST_READERS:
            raise TooManyReaders(len(each))
        content = self._unwrapped.content_hash
        wraps = tuple((name, key.seal(self._key, _info(self._about, key, content))) for name, key in each.items())
        made = replace(self._unwrapped, wraps=wraps)
        return made if sign is None else replace(made, signature=bytes(sign(made.sealed_hash)))


def read_evidence(raw: bytes) -> SealedEvidence:
    """Read the bytes of a sealed package, one pass and no more.

    Raises:
        MalformedDocument: they are of another form, or too many.
    """
    if len(raw) > MAXIMUM_PACKAGE:
        raise MalformedDocument(f"a sealed evidence package has at most {MAXIMUM_PACKAGE} bytes, found {len(raw)}")
    begin = _FIXED.size + _COUNT.size
    if len(raw) < begin:
        raise MalformedDocument(f"a sealed evidence package has at least {begin} bytes, found {len(raw)}")
    magic, version, epoch, job_id, evidence_hash, commitment, size = _FIXED.unpack_from(raw)
    if (magic, version) != (MAGIC, VERSION):
        found = f"{magic!r} version {version}"
        raise MalformedDocument(f"a sealed evidence package begins {MAGIC!r} version {VERSION}, found {found}")
    (count,) = _COUNT.unpack_from(raw, _FIXED.size)
    if not 1 <= count <= MOST_READERS:
        raise MalformedDocument(f"a sealed evidence package has 1 to {MOST_READERS} readers, found {count}")
    end = begin + count * (_NAME_BYTES + WRAP_BYTES)
    signature = raw[end + size :]
    if size < _TAG_BYTES or len(raw) < end + size or len(signature) not in (0, SIGNATURE_BYTES):
        expected = f"{end} bytes, a ciphertext of {size} and a signature of 0 or {SIGNATURE_BYTES}"
        raise MalformedDocument(f"a sealed evidence package of {count} readers has {expected}, found {len(raw)}")
    wraps = tuple(_wrap(raw, begin + place * (_NAME_BYTES + WRAP_BYTES)) for place in range(count))
    if len(dict(wraps)) != count:
        raise MalformedDocument("a sealed evidence package names each reader once, found one twice")
    return SealedEvidence(
        job_id=JobId(Bytes32(job_id)),
        evidence_hash=Bytes32(evidence_hash),
        epoch=epoch,
        commitment=Bytes32(commitment),
        wraps=wraps,
        ciphertext=raw[end : end + size],
        signature=signature,
    )


def _wrap(raw: bytes, at: int) -> tuple[Bytes32, bytes]:
    end = at + _NAME_BYTES
    return Bytes32(raw[at:end]), raw[end : end + WRAP_BYTES]


def _commitment(key: bytes, plaintext: bytes) -> Bytes32:
    return Bytes32(sha256(_COMMITMENT + key + plaintext).digest())


def _info(about: About, reader: PublicKey, content: Bytes32) -> EvidenceKeyInfo:
    return EvidenceKeyInfo(
        chain_id=about.chain_id,
        market=about.market,
        job_id=about.job_id,
        evidence_hash=about.evidence_hash,
        epoch=about.epoch,
        content=content,
        reader=reader.digest,
    )
