"""Mints Nitro documents with any claim wrong. For refusal tests; never shipped.

Everything defaults to what a verifier accepts under :attr:`NitroForge.root`, so that a test names only what is wrong::

    forge = NitroForge(now)
    forge.document(user_data=b"short")
    forge.document(pcrs={})
    forge.sign(payload, header={1: -7})
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from sealmarket_devices.pki import Authority, PrivateKey, Validity, certify, distinguished_name

P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
IMAGE = {0: b"\x10" * 48, 1: b"\x11" * 48, 2: b"\x12" * 48}
MODULE_ID = "i-0123456789abcdef0-enc0123456789abcdef"
_LIVES = {"root": 3650, "region": 20, "zone": 6, "instance": 1}


@cache
def p384_key(role: str) -> ec.EllipticCurvePrivateKey:
    """A key by name, the same in one session."""
    del role
    return ec.generate_private_key(ec.SECP384R1())


def cose_sign(
    key: ec.EllipticCurvePrivateKey, payload: bytes, header: Mapping[Any, Any] | bytes, tag: int | None, **parts: Any
) -> bytes:
    """A COSE_Sign1 under a P-384 key. ``parts`` replace ``unprotected`` and ``signature``."""
    protected = header if isinstance(header, bytes) else cbor2.dumps(dict(header))
    der = key.sign(cbor2.dumps(["Signature1", protected, b"", payload]), ec.ECDSA(SHA384()))
    r, s = decode_dss_signature(der)
    signature = parts.get("signature", r.to_bytes(48) + s.to_bytes(48))
    item = [protected, parts.get("unprotected", {}), payload, signature]
    return cbor2.dumps(item if tag is None else cbor2.CBORTag(tag, item))


def other_form(document: bytes) -> bytes:
    """The same document with ``n - s``: the signature is its last part."""
    return document[:-48] + (P384_ORDER - int.from_bytes(document[-48:])).to_bytes(48)


def endless(payload: Mapping[Any, Any]) -> bytes:
    """A map of indefinite length, as AWS writes it."""
    pairs = b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in payload.items())
    return b"\xbf" + pairs + b"\xff"


class NitroForge:
    """AWS's chain at a moment, from the root to an enclave's leaf.

    Args:
        now: the time of documents.
        validity: periods to replace: ``root``, ``region``, ``zone``, ``instance``, ``leaf``.
        certificates: settings of :func:`certify` to replace, by the same names.
        keys: keys to replace, by the same names.
    """

    def __init__(
        self,
        now: datetime,
        *,
        validity: Mapping[str, Validity] | None = None,
        certificates: Mapping[str, Mapping[str, Any]] | None = None,
        keys: Mapping[str, PrivateKey] | None = None,
    ) -> None:
        self.now = now
        self._periods, self._settings, self._keys = dict(validity or {}), dict(certificates or {}), dict(keys or {})
        self.root = self._certify("root", None, path_length=3)
        self.region = self._certify("region", self.root, path_length=2)
        self.zone = self._certify("zone", self.region, path_length=1)
        self.instance = self._certify("instance", self.zone, path_length=0)
        self.leaf = self._certify("leaf", self.instance)
        self.cabundle = [one.der for one in (self.root, self.region, self.zone, self.instance)]

    def _certify(self, role: str, issuer: Authority | None, **settings: Any) -> Authority:
        key = self._keys.get(role) or p384_key(role)
        days = timedelta(hours=3) if role == "leaf" else timedelta(days=_LIVES[role])
        start = self.now - timedelta(seconds=3)
        period = self._periods.get(role) or Validity(start=start, end=start + days)
        chosen = {**settings, **self._settings.get(role, {})}
        signer = chosen.pop("signer", None) or (issuer.key if issuer else key)
        subject = distinguished_name(f"{role}.nitro.test")
        certificate: x509.Certificate = certify(subject, key.public_key(), issuer, signer, period, **chosen)
        return Authority(certificate, key)

    def payload(self, **changes: Any) -> dict[Any, Any]:
        """The fields of a document; a change to ``...`` leaves a field out."""
        pcrs = {index: bytes(48) for index in range(16)} | IMAGE | {4: b"\x44" * 48}
        fields: dict[Any, Any] = {
            "module_id": MODULE_ID,
            "digest": "SHA384",
            "timestamp": int(self.now.timestamp() * 1000),
            "pcrs": pcrs,
            "certificate": self.leaf.der,
            "cabundle": self.cabundle,
            "public_key": None,
            "user_data": bytes(range(64)),
            "nonce": None,
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not ...}

    def document(self, pcrs: Mapping[int, bytes] | None = None, **changes: Any) -> bytes:
        """A document; ``pcrs`` are laid over the defaults."""
        if pcrs is not None:
            changes["pcrs"] = self.payload()["pcrs"] | dict(pcrs)
        return self.sign(endless(self.payload(**changes)))

    def sign(
        self,
        payload: bytes,
        *,
        header: Mapping[Any, Any] | bytes = {1: -35},
        tag: int | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
        **parts: Any,
    ) -> bytes:
        """The envelope around a payload."""
        leaf = self.leaf.key
        assert isinstance(leaf, ec.EllipticCurvePrivateKey)
        return cose_sign(key or leaf, payload, header, tag, **parts)
