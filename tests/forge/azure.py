"""Mints what Azure's guests send: a paravisor's report over SNP or TDX, and its vTPM's quote. Never shipped.

Everything defaults to what a verifier accepts, so that a test names only what is wrong::

    forge = AzureForge(amd=AmdForge(now))
    forge.document(quote=forge.quote(extra=b"other"))
    forge.document(runtime={"keys": []})
"""

from __future__ import annotations

import base64
import json
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.forge.amd import AmdForge
from tests.forge.intel import IntelForge

PCRS = tuple(bytes([index]) * 32 for index in range(24))
EXTRA = bytes(range(48))


@cache
def rsa_2048(name: str) -> rsa.RSAPrivateKey:
    """A key by name, the same in one session."""
    del name
    return rsa.generate_private_key(65537, 2048)


def sized(value: bytes) -> bytes:
    """A TPM2B."""
    return len(value).to_bytes(2) + value


class AzureForge:
    """A guest behind a paravisor on SNP (``amd``) or TDX (``intel``)."""

    def __init__(self, amd: AmdForge | None = None, intel: IntelForge | None = None) -> None:
        self.amd, self.intel = amd, intel
        self.key = rsa_2048("HCLAkPub")

    def jwk(self, key: rsa.RSAPrivateKey | None = None, **changes: Any) -> dict[str, Any]:
        """The attestation key in the runtime data."""
        numbers = (key or self.key).public_key().public_numbers()
        n = base64.urlsafe_b64encode(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)).rstrip(b"=").decode()
        return {"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": n, **changes}

    def runtime(self, **changes: Any) -> bytes:
        """The runtime data."""
        fields = {"keys": [self.jwk()], "vm-configuration": {"secure-boot": True}, "user-data": "00" * 64, **changes}
        return json.dumps(fields).encode()

    def message(self, *, extra: bytes = EXTRA, pcrs: tuple[bytes, ...] = PCRS, **parts: bytes) -> bytes:
        """What the vTPM signs. ``parts`` replace ``head``, ``selection``, ``digest``, and add a ``tail``."""
        digest = parts.get("digest", sha256(b"".join(pcrs)).digest())
        return b"".join(
            (
                parts.get("head", b"\xff\x54\x43\x47\x80\x18"),
                sized(b"\x00\x0b" + bytes(32)),
                sized(extra),
                bytes(17 + 8),
                parts.get("selection", b"\0\0\0\x01\x00\x0b\x03\xff\xff\xff"),
                sized(digest),
                parts.get("tail", b""),
            )
        )

    def quote(
        self, message: bytes | None = None, *, key: rsa.RSAPrivateKey | None = None, **settings: Any
    ) -> dict[str, Any]:
        """The vTPM's quote as the agent writes it."""
        shown = settings.pop("shown", PCRS)
        signed = self.message(**settings) if message is None else message
        signature = (key or self.key).sign(signed, padding.PKCS1v15(), SHA256())
        return {"message": signed.hex(), "signature": signature.hex(), "pcrs": [pcr.hex() for pcr in shown]}

    def hcl(self, runtime: bytes, hardware: bytes, held: int, **changes: int) -> bytes:
        """The paravisor's report; ``changes``: ``version``, ``size``, ``status``, ``kind``, ``hash``, lengths."""
        end = 1236 + len(runtime)
        header = (changes.get("version", 2), changes.get("size", end), 2, changes.get("status", 0))
        runtime_header = (changes.get("total", 20 + len(runtime)), 1, changes.get("kind", held), changes.get("hash", 1))
        raw = b"HCLA" + b"".join(value.to_bytes(4, "little") for value in header) + bytes(12)
        raw += hardware.ljust(1184, b"\0")
        lengths = (*runtime_header, changes.get("length", len(runtime)))
        raw += b"".join(value.to_bytes(4, "little") for value in lengths)
        return (raw + runtime).ljust(2600, b"\0")

    def document(self, *, quote: Any = None, runtime: Any = None, bound: bytes | None = None, **changes: Any) -> bytes:
        """The agent's JSON. ``bound``: the report data of the hardware; a change to ``...`` leaves a field out."""
        data = runtime if isinstance(runtime, bytes) else self.runtime(**(runtime or {}))
        report_data = sha256(data).digest() + bytes(32) if bound is None else bound
        fields: dict[str, Any] = {"version": 1, "tpm_quote": self.quote() if quote is None else quote}
        if self.amd is not None:
            hardware = self.amd.evidence(report_data=report_data)
            fields["hcl_report"] = self.hcl(data, hardware, 2, **changes.pop("hcl", {})).hex()
        else:
            assert self.intel is not None
            report = bytes(128) + report_data
            fields["hcl_report"] = self.hcl(data, report, 4, **changes.pop("hcl", {})).hex()
            body = self.intel.td_report(report_data=report_data, **changes.pop("td", {}))
            fields["td_quote"] = self.intel.tdx_quote(body).hex()
        fields |= changes
        return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()
