"""Mints CCA tokens, trust anchors and CoRIMs with any claim wrong. For refusal tests; never shipped.

Everything defaults to what a verifier accepts under :meth:`CcaForge.anchors`, so that a test names only what is wrong::

    forge = CcaForge()
    forge.token(platform={2395: 0x4000})          # debug
    forge.token(realm={10: bytes(32)})            # a short challenge
    forge.token(rak=forge.rak_point())            # the old encoding of the realm's key
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.forge.nitro import cose_sign, p384_key

IMPLEMENTATION, INSTANCE = bytes(range(32)), b"\x01" + bytes(range(32))
SIGNER = b"\x51" * 32
COMPONENTS = (("BL", b"\xa1" * 32), ("RMM", b"\xa2" * 32))
PLATFORM_PROFILE, REALM_PROFILE = "tag:arm.com,2023:cca_platform#1.0.0", "tag:arm.com,2023:realm#1.0.0"
OLD_PROFILE = "http://arm.com/CCA-SSD/1.0.0"
CORIM_PLATFORM, CORIM_REALM = "tag:arm.com,2025:cca_platform#1.0.0", "tag:arm.com,2025:cca_realm#1.0.0"
Changes = Mapping[Any, Any]


def coordinates(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
    """Both coordinates, as long as the curve has them."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    numbers, half = public.public_numbers(), (public.key_size + 7) // 8
    return numbers.x.to_bytes(half), numbers.y.to_bytes(half)


def cose_key(key: ec.EllipticCurvePrivateKey, curve: int = 2, **more: Any) -> bytes:
    """A COSE_Key."""
    x, y = coordinates(key)
    return cbor2.dumps({1: 2, -1: curve, -2: x, -3: y, **{int(label): value for label, value in more.items()}})


def changed(claims: Changes, changes: Changes | None) -> bytes:
    """Claims with changes; a change to ``...`` leaves a claim out."""
    both = {**claims, **(changes or {})}
    return cbor2.dumps({label: value for label, value in both.items() if value is not ...})


class CcaForge:
    """A platform with its key, a realm with its own, and documents about them."""

    def __init__(self) -> None:
        self.cpak, self.rak = p384_key("cpak"), p384_key("rak")
        self.challenge = bytes(range(64))

    def rak_point(self) -> bytes:
        """The realm's key as older platforms write it."""
        return b"\x04" + b"".join(coordinates(self.rak))

    def platform_claims(self, rak: bytes) -> dict[int, Any]:
        """A platform's claims, which commit to a realm's key."""
        components = [{1: name, 2: value, 4: "1.0", 5: SIGNER, 6: "sha-256"} for name, value in COMPONENTS]
        return {
            265: PLATFORM_PROFILE,
            10: sha256(rak).digest(),
            2396: IMPLEMENTATION,
            256: INSTANCE,
            2401: b"\xcf" * 4,
            2395: 0x3000,
            2399: components,
            2400: "https://verifier.example",
            2402: "sha-256",
        }

    def realm_claims(self, rak: bytes) -> dict[int, Any]:
        """A realm's claims."""
        return {
            265: REALM_PROFILE,
            10: self.challenge,
            44235: b"\x07" * 64,
            44236: "sha-256",
            44237: rak,
            44238: b"\x31" * 32,
            44239: [bytes([index]) * 32 for index in range(4)],
            44240: "sha-256",
        }

    def token(
        self, *, platform: Changes | None = None, realm: Changes | None = None, rak: bytes | None = None, **parts: Any
    ) -> bytes:
        """Both tokens in a collection. ``parts``: those of :meth:`collect`."""
        key = cose_key(self.rak) if rak is None else rak
        payloads = (changed(self.platform_claims(key), platform), changed(self.realm_claims(key), realm))
        return self.collect(*payloads, **parts)

    def collect(self, platform: bytes, realm: bytes, *, tag: int = 399, **parts: Any) -> bytes:
        """Payloads under their keys. ``parts``: ``platform_key``, ``realm_key``, ``platform_header``, ``realm_header``,
        ``envelope`` (for the platform's :func:`cose_sign`), ``cose_tag``."""
        cose_tag, envelope = parts.get("cose_tag", 18), parts.get("envelope", {})
        platform_key, realm_key = parts.get("platform_key", self.cpak), parts.get("realm_key", self.rak)
        signed = (
            cose_sign(platform_key, platform, parts.get("platform_header", {1: -35}), cose_tag, **envelope),
            cose_sign(realm_key, realm, parts.get("realm_header", {1: -35}), cose_tag),
        )
        return self.collection(*signed, tag=tag)

    def collection(self, platform: bytes, realm: bytes, *, tag: int = 399) -> bytes:
        """Two envelopes in a collection."""
        pair = (platform, realm) if tag == 399 else ([263, platform], [263, realm])
        return cbor2.dumps(cbor2.CBORTag(tag, {44234: pair[0], 44241: pair[1]}))

    def anchors(self, *records: Changes) -> bytes:
        """Trust anchors as Veraison's tools write them: one of this platform, with changes, for each of the records."""
        return json.dumps([{**self.anchor(), **record} for record in records or ({},)]).encode()

    def anchor(self) -> dict[str, Any]:
        """This platform's trust anchor."""
        return {
            "implementation-id": IMPLEMENTATION.hex(),
            "instance-id": INSTANCE.hex(),
            "pkey": self.jwk(self.cpak.public_key()),
        }

    @staticmethod
    def jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
        """A public key as a JWK."""
        names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
        x, y = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in coordinates(key))
        return {"kty": "EC", "crv": names[key.curve.name], "x": x, "y": y}

    # CoRIM.

    def component(self, name: str, digest: bytes, changes: Changes | None = None) -> dict[int, Any]:
        """The reference value of one software component."""
        values = {2: [[1, digest]], 11: name, 13: [cbor2.CBORTag(560, SIGNER)], **(changes or {})}
        return {0: "cca.software-component", 1: {k: v for k, v in values.items() if v is not ...}}

    def platform_triple(self, *more: Any, environment: Any = None) -> list[Any]:
        """Reference values of this platform's firmware."""
        named = environment or {0: {0: cbor2.CBORTag(560, IMPLEMENTATION)}}
        config = {0: "cca.platform-config", 1: {4: cbor2.CBORTag(560, b"\xcf" * 4)}}
        return [named, [*(self.component(*one) for one in COMPONENTS), config, *more]]

    def key_triple(self, pem: str | None = None, environment: Any = None) -> list[Any]:
        """This platform's key."""
        named = environment or {0: {0: cbor2.CBORTag(560, IMPLEMENTATION)}, 1: cbor2.CBORTag(550, INSTANCE)}
        own = self.cpak.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return [named, [cbor2.CBORTag(554, own if pem is None else pem)]]

    def realm_triple(self, **changes: Any) -> list[Any]:
        """Reference values of this realm; ``changes`` replace measurements by name, ``...`` leaves one out."""
        rim = b"\x31" * 32
        found = {"rim": {2: [[1, rim]]}, "rpv": {4: cbor2.CBORTag(560, b"\x07" * 64)}}
        found |= {f"rem{index}": {2: [[1, bytes([index]) * 32]]} for index in range(4)}
        found |= changes
        named = [{0: f"cca.{name}", 1: values} for name, values in found.items() if values is not ...]
        return [{0: {0: cbor2.CBORTag(560, rim)}}, named]

    def comid(self, triples: Changes) -> Any:
        """A CoMID of triples: 0 reference values, 3 keys."""
        return cbor2.CBORTag(506, cbor2.dumps({1: {0: bytes(16)}, 4: dict(triples)}))

    def corim_map(self, *comids: Any, changes: Changes | None = None) -> Any:
        """The CoRIM of a platform; by default with its reference values and key."""
        default = (self.comid({0: [self.platform_triple()]}), self.comid({3: [self.key_triple()]}))
        fields = {0: "a corim", 1: list(comids or default), 3: cbor2.CBORTag(32, CORIM_PLATFORM), **(changes or {})}
        return cbor2.CBORTag(501, {label: value for label, value in fields.items() if value is not ...})

    def corim(self, *comids: Any, changes: Changes | None = None) -> bytes:
        """An unsigned CoRIM."""
        return cbor2.dumps(self.corim_map(*comids, changes=changes))

    def signed_corim(
        self, key: ec.EllipticCurvePrivateKey, *comids: Any, meta: Any = None, header: Changes | None = None
    ) -> bytes:
        """A CoRIM under a P-384 key."""
        named = cbor2.dumps({0: {0: "a signer"}} if meta is None else meta)
        protected = {1: -35, 3: "application/rim+cbor", 8: named, **(header or {})}
        kept = {label: value for label, value in protected.items() if value is not ...}
        return cose_sign(key, self.corim(*comids), kept, 18)
