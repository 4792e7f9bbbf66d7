"""A TPM 2.0 quote: its bytes and nothing else (TPM 2.0 part 2, TPMS_ATTEST, TPMS_QUOTE_INFO), all big-endian."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason

PCR_COUNT, PCR_SIZE = 24, 32
_GENERATED, _ATTEST_QUOTE = b"\xff\x54\x43\x47", b"\x80\x18"
_SHA256_BANK = 0x000B
_CLOCK_AND_FIRMWARE = 17 + 8
MAXIMUM_DATA = 64


class TpmQuote(NamedTuple):
    """What a TPM signed: the caller's data, which PCRs, and the hash over their values."""

    extra_data: bytes
    selected: tuple[int, ...]
    digest: bytes


def read_quote(message: bytes) -> TpmQuote:
    """Read what a TPM signed.

    Raises:
        EvidenceRefused: not a quote over one bank of SHA-256, to the last byte.
    """
    if message[:6] != _GENERATED + _ATTEST_QUOTE:
        refuse(Reason.VTPM_QUOTE, "a quote that the TPM itself made, ff544347 8018", message[:6].hex())
    _, at = _sized(message, 6, "signer")
    extra, at = _sized(message, at, "extra data")
    if len(extra) > MAXIMUM_DATA:
        refuse(Reason.VTPM_QUOTE, f"at most {MAXIMUM_DATA} bytes of extra data", len(extra))
    at += _CLOCK_AND_FIRMWARE
    selection = message[at : at + 10]
    expected = (1).to_bytes(4) + _SHA256_BANK.to_bytes(2) + b"\x03"
    if len(selection) != 10 or selection[:7] != expected:
        refuse(Reason.VTPM_QUOTE, "one selection of SHA-256 registers in three bytes", selection.hex())
    bits = int.from_bytes(selection[7:], "little")
    digest, at = _sized(message, at + 10, "digest")
    if len(digest) != PCR_SIZE or at != len(message):
        refuse(
            Reason.VTPM_QUOTE, f"a digest of {PCR_SIZE} bytes at the end", f"{len(digest)}, {len(message) - at} behind"
        )
    return TpmQuote(extra, tuple(i for i in range(PCR_COUNT) if bits >> i & 1), digest)


def check_pcrs(quote: TpmQuote, pcrs: tuple[bytes, ...]) -> dict[int, bytes]:
    """The values of the registers that a quote covers.

    Raises:
        EvidenceRefused: not the values that were signed.
    """
    if len(pcrs) != PCR_COUNT or any(len(pcr) != PCR_SIZE for pcr in pcrs):
        refuse(Reason.VTPM_PCRS, f"{PCR_COUNT} registers of {PCR_SIZE} bytes", f"{len(pcrs)}")
    found = {index: pcrs[index] for index in quote.selected}
    digest = sha256(b"".join(found.values())).digest()
    if digest != quote.digest:
        refuse(Reason.VTPM_PCRS, f"registers of digest {quote.digest.hex()}, as the TPM signed", digest.hex())
    return found


def _sized(message: bytes, at: int, name: str) -> tuple[bytes, int]:
    """A TPM2B and the place behind it."""
    length = int.from_bytes(message[at : at + 2])
    end = at + 2 + length
    if end > len(message):
        refuse(Reason.TRUNCATED, f"{length} bytes of {name} in the TPM's quote", max(0, len(message) - at - 2))
    return message[at + 2 : end], end
