"""A Nitro attestation document: its bytes and nothing else (NSM API, "Attestation document specification").

The envelope is a COSE_Sign1, with or without its tag, in exactly one spelling. The payload is what was signed, so its
own spelling is AWS's choice (a map of indefinite length); each of its keys comes once, and none is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha512
from typing import Any

import msgspec

from sealmarket.attestation.core.cbor import read_cbor
from sealmarket.attestation.core.cose import ALGORITHM, ES384, TAG_SIGN1, Sign1, read_sign1
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nitro.measurement import NitroMeasurement
from sealmarket_enclave.protocol.codec import Bytes48

MAXIMUM_BYTES = 64 << 10
PCR_SIZE = 48
_DIGEST = "SHA384"
_PCR_COUNT = 32
_INDICES = frozenset(range(_PCR_COUNT))
_MAXIMUM_CERTIFICATES = 8
_MAXIMUM_CERTIFICATE, _MAXIMUM_DATA = 1024, 512
_LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999."""
_NEEDED = frozenset(("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"))
_FIELDS = _NEEDED | {"public_key", "user_data", "nonce"}
_SIGNER_PCR = 8
REPORT_DATA_SIZE = 64


class NitroDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a document. ``cose`` is the envelope, whose ``signed`` the signature covers."""

    module_id: str
    timestamp: datetime
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    cose: Sign1

    @property
    def measurement(self) -> NitroMeasurement:
        """The typed measurement that policies list."""
        zero = bytes(PCR_SIZE)
        pcr0, pcr1, pcr2, pcr8 = (Bytes48(self.pcrs.get(i, zero)) for i in (0, 1, 2, _SIGNER_PCR))
        return NitroMeasurement(pcr0=pcr0, pcr1=pcr1, pcr2=pcr2, pcr8=pcr8)

    @property
    def report_data(self) -> bytes:
        """The user data: 64 bytes as they are, fewer filled with zeros, more by their SHA-512."""
        data = self.user_data or b""
        return sha512(data).digest() if len(data) > REPORT_DATA_SIZE else data.ljust(REPORT_DATA_SIZE, b"\0")

    @property
    def instance(self) -> str | None:
        """The parent instance, as the module id names it: ``i-0123...`` of ``i-0123...-enc4567...``."""
        instance, separator, _ = self.module_id.partition("-enc")
        return instance if separator and instance.startswith("i-") else None

    @property
    def debug(self) -> bool:
        """AWS zeroes PCR0 to PCR2 of an enclave in debug mode."""
        return not any(any(self.pcrs[index]) for index in (0, 1, 2))

    def claims(self) -> Mapping[str, Any]:
        """The fields as JSON values."""
        return {
            "module_id": self.module_id,
            "timestamp": self.timestamp.isoformat(),
            "pcrs": {str(index): value.hex() for index, value in sorted(self.pcrs.items())},
            "public_key": _hex(self.public_key),
            "user_data": _hex(self.user_data),
            "nonce": _hex(self.nonce),
        }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def read_document(raw: bytes) -> NitroDocument:
    """Read a document.

    Raises:
        EvidenceRefused: not the layout, to the last byte.
    """
    if len(raw) > MAXIMUM_BYTES:
        refuse(Reason.MALFORMED, f"a document of at most {MAXIMUM_BYTES} bytes", len(raw))
    what = "the Nitro document"
    cose = read_sign1(read_cbor(raw, what, tags=(TAG_SIGN1,)), what)
    if cose.header != {ALGORITHM: ES384}:
        refuse(Reason.SIGNATURE_ALGORITHM, "ES384 alone in the protected header", dict(cose.header))
    if cose.unprotected:
        refuse(Reason.NON_CANONICAL, "an empty unprotected header", f"{len(cose.unprotected)} labels")
    payload = read_cbor(cose.payload, "the Nitro document's payload", endless_map=True)
    if not isinstance(payload, dict):
        refuse(Reason.MALFORMED, "a map in the Nitro document", type(payload).__name__)
    _check_fields(payload)
    return NitroDocument(
        module_id=_text(payload, "module_id"),
        timestamp=_timestamp(payload["timestamp"]),
        pcrs=_pcrs(payload["pcrs"]),
        certificate=_bytes(payload, "certificate", _MAXIMUM_CERTIFICATE),
        cabundle=_bundle(payload["cabundle"]),
        public_key=_optional(payload, "public_key", 1024),
        user_data=_optional(payload, "user_data", _MAXIMUM_DATA),
        nonce=_optional(payload, "nonce", _MAXIMUM_DATA),
        cose=cose,
    )


def _check_fields(payload: Mapping[Any, Any]) -> None:
    missing = _NEEDED - payload.keys()
    if missing:
        refuse(Reason.MALFORMED, f"{min(missing)} in the Nitro document", "none")
    unknown = payload.keys() - _FIELDS
    if unknown:
        refuse(Reason.UNSUPPORTED_FORMAT, "only fields of the specification", f"{next(iter(unknown))!r:.40}")
    if payload["digest"] != _DIGEST:
        refuse(Reason.UNSUPPORTED_FORMAT, f"the digest {_DIGEST}", f"{payload['digest']!r:.40}")


def _text(payload: Mapping[Any, Any], name: str) -> str:
    value = payload[name]
    if not isinstance(value, str) or not 1 <= len(value) <= 256:
        refuse(Reason.MALFORMED, f"{name} as text of 1 to 256 characters", f"{value!r:.40}")
    return value


def _timestamp(value: object) -> datetime:
    if type(value) is not int or not 0 < value <= _LATEST:
        refuse(Reason.MALFORMED, "timestamp in milliseconds since 1970", f"{value!r:.40}")
    return datetime.fromtimestamp(value // 1000, UTC).replace(microsecond=value % 1000 * 1000)


def _pcrs(value: object) -> dict[int, bytes]:
    if not isinstance(value, dict) or not value.keys() <= _INDICES:
        refuse(Reason.MALFORMED, f"pcrs as a map from 0..{_PCR_COUNT - 1}", f"{value!r:.40}")
    if missing := {0, 1, 2} - set(value):
        refuse(Reason.MALFORMED, "PCR0 to PCR2 in the document", f"no PCR{min(missing)}")
    values = value.values()
    if {*map(type, values)} != {bytes} or {*map(len, values)} != {PCR_SIZE}:
        wrong = [i for i, pcr in value.items() if not isinstance(pcr, bytes) or len(pcr) != PCR_SIZE]
        refuse(Reason.MALFORMED, f"PCRs of {PCR_SIZE} bytes", f"PCR{wrong[0]} {value[wrong[0]]!r:.40}")
    return value


def _bundle(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MAXIMUM_CERTIFICATES:
        refuse(Reason.MALFORMED, f"cabundle as a list of 1 to {_MAXIMUM_CERTIFICATES}", f"{value!r:.40}")
    for one in value:
        _check_bytes(one, "cabundle", _MAXIMUM_CERTIFICATE)
    return tuple(value)


def _bytes(payload: Mapping[Any, Any], name: str, maximum: int) -> bytes:
    return _check_bytes(payload[name], name, maximum)


def _check_bytes(value: object, name: str, maximum: int) -> bytes:
    if not isinstance(value, bytes) or not 1 <= len(value) <= maximum:
        found = len(value) if isinstance(value, bytes) else type(value).__name__
        refuse(Reason.MALFORMED, f"{name} of 1 to {maximum} bytes", found)
    return value


def _optional(payload: Mapping[Any, Any], name: str, maximum: int) -> bytes | None:
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, bytes) or len(value) > maximum:
        found = len(value) if isinstance(value, bytes) else type(value).__name__
        refuse(Reason.MALFORMED, f"{name} of at most {maximum} bytes", found)
    return value
