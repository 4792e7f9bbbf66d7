"""Azure's paravisor and vTPM: authentic? (Azure, "Guest attestation design"; TPM 2.0 part 1, 18)

The steps of :func:`behind_paravisor`, which follow those of the hardware's report:

1. The hardware's report data is the SHA-256 of the runtime data, then zeros.
2. The runtime data names one RSA key as the vTPM's attestation key (HCLAkPub).
3. That key signed the vTPM's quote (RSASSA, SHA-256).
4. The registers are those that the quote's digest covers.

Report data is then the quote's extra data, filled with zeros to 64 bytes: the hardware's own commits to the key alone
and is the same for every quote. The evidence's name covers the quote. Without a quote nothing of the guest is known,
and report data stays the hardware's.

Checks considered and rejected: the certificate of the attestation key (the hardware names the key), the TPM's clock and
reset counters (not comparable from outside), HCLEkPub (nothing is encrypted to it).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from sealmarket.attestation.azure.tpm import TpmQuote, check_pcrs, read_quote
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.evidence import Evidence, VtpmQuote
from sealmarket.attestation.core.model import _MAKER, AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import Bytes32, parse_json

_KEY_NAME = "HCLAkPub"
_BITS, _EXPONENT = range(2048, 4097), 65537


@dataclass(frozen=True, slots=True, kw_only=True)
class Paravisor:
    """What was proven about the guest behind a paravisor. ``pcrs`` is None without a vTPM quote."""

    configuration: Mapping[str, Any]
    pcrs: Mapping[int, bytes] | None

    @property
    def secure_boot(self) -> bool:
        """Whether the paravisor says that the guest booted with secure boot on."""
        return self.configuration.get("secure-boot") is True

    def claims(self) -> dict[str, Any]:
        """As JSON values."""
        pcrs = None if self.pcrs is None else {str(index): value.hex() for index, value in self.pcrs.items()}
        return {"azure_vm_configuration": dict(self.configuration), "vtpm_pcrs": pcrs}


def behind_paravisor(report: AuthenticReport, evidence: Evidence) -> AuthenticReport:
    """The report of the guest behind the paravisor, out of the hardware's. See the module's steps.

    Raises:
        EvidenceRefused: the first step that failed, as a finding.
    """
    runtime = evidence.runtime_data or b""
    # 1. The runtime data.
    wanted = sha256(runtime).digest() + bytes(32)
    if report.report_data != wanted:
        refuse(Reason.HCL_MISMATCH, f"report data {wanted.hex()}", report.report_data.hex())
    document = _runtime(runtime)
    if evidence.vtpm is None:
        return replace(report, maker=_MAKER, paravisor=Paravisor(configuration=_configuration(document), pcrs=None))
    # 2. The key, 3. its signature.
    quote = _signed(evidence.vtpm, _attestation_key(document))
    # 4. The registers.
    pcrs = check_pcrs(quote, evidence.vtpm.pcrs)
    return replace(
        report,
        maker=_MAKER,
        report_data=quote.extra_data.ljust(64, b"\0"),
        evidence_digest=Bytes32(sha256(report.evidence_digest + evidence.vtpm.message).digest()),
        paravisor=Paravisor(configuration=_configuration(document), pcrs=pcrs),
    )


def unverified_claims(vtpm: VtpmQuote) -> dict[str, Any]:
    """What a vTPM quote says of itself, without any proof. Raises :class:`EvidenceRefused`."""
    quote = read_quote(vtpm.message)
    return {
        "extra_data": quote.extra_data.hex(),
        "selected": list(quote.selected),
        "pcrs": {str(index): value.hex() for index, value in enumerate(vtpm.pcrs)},
    }


def _signed(vtpm: VtpmQuote, key: RSAPublicKey) -> TpmQuote:
    quote = read_quote(vtpm.message)
    try:
        key.verify(vtpm.signature, vtpm.message, PKCS1v15(), SHA256())
    except InvalidSignature:
        refuse(Reason.VTPM_SIGNATURE, f"a quote signed by {_KEY_NAME}", "a signature that does not verify")
    return quote


def _runtime(raw: bytes) -> Mapping[str, Any]:
    try:
        document = parse_json(raw)
    except NOT_JSON as error:
        return refuse(Reason.HCL_RUNTIME, "runtime data in JSON", error)
    if not isinstance(document, dict):
        refuse(Reason.HCL_RUNTIME, "runtime data as an object", type(document).__name__)
    return document


def _configuration(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found = document.get("vm-configuration")
    return found if isinstance(found, dict) else {}


def _attestation_key(document: Mapping[str, Any]) -> RSAPublicKey:
    keys = document.get("keys")
    listed = keys if isinstance(keys, list) else []
    named = [key for key in listed if isinstance(key, dict) and key.get("kid") == _KEY_NAME]
    if len(named) != 1 or named[0].get("kty") != "RSA":
        refuse(Reason.HCL_RUNTIME, f"one RSA key {_KEY_NAME} in the runtime data", f"{len(named)}")
    modulus, exponent = (_number(named[0].get(name), name) for name in ("n", "e"))
    if modulus.bit_length() not in _BITS or exponent != _EXPONENT:
        refuse(
            Reason.HCL_RUNTIME,
            f"{_KEY_NAME} of 2048 to 4096 bits, e {_EXPONENT}",
            f"{modulus.bit_length()}, {exponent}",
        )
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        return refuse(Reason.HCL_RUNTIME, f"a usable {_KEY_NAME}", error)


def _number(value: object, name: str) -> int:
    try:
        if isinstance(value, str) and len(value) <= 1024:
            return int.from_bytes(base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        pass
    return refuse(Reason.HCL_RUNTIME, f"{name} of {_KEY_NAME} in base64url", f"{value!r:.40}")
