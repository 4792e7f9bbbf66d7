"""NVIDIA's reference manifests (RIM): the measurements of one driver or VBIOS, as a signed SWID tag in XML.

    SoftwareIdentity
        Meta        product ("GH100"), edition ("GPU", "SWITCH"), colloquialVersion (of the driver or VBIOS)
        Payload     Resource: index, active, alternatives, Hash0.. (SHA-384, hex), size
        Signature   enveloped XML-DSig, ECDSA P-384 with SHA-384, with the signer's chain

A manifest counts from 0, a report from 1: the values of ``index`` belong to the SPDM index ``index + 1``. Only what is
active counts. Any of the alternatives is right.

XML is hostile input: a document type, an entity, a processing instruction, a comment or CDATA is refused by its first
characters, before a parser sees it. What is read is what the signature covers, never the file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from lxml import etree

from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.pki import Window
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket.attestation.nvidia.certificates import RIM_LENGTH, Link, Path, find_path, load_der
from sealmarket.attestation.nvidia.pins import RIM_ROOT_SPKI
from sealmarket.attestation.nvidia.report import MEASUREMENT_SIZE
from sealmarket.attestation.nvidia.xmldsig import DSIG, signed_element
from sealmarket_enclave.protocol.numbers import Tee

MAXIMUM_BYTES = 128 << 10
"""One manifest. Genuine ones have 20 to 26 KiB."""
_MAXIMUM_ALTERNATIVES = 64
_SWID = "{http://standards.iso.org/iso/19770/-2/2015/schema.xsd}"
_SHA384 = "{http://www.w3.org/2001/04/xmlenc#sha384}"
_DECLARATION = b"<?xml "


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest says: ``values`` maps the SPDM index of each active measurement to its alternatives."""

    product: str
    edition: str
    version: str
    values: Mapping[int, tuple[bytes, ...]]

    @property
    def name(self) -> str:
        """What it is for, for people."""
        return f"{self.product} {self.version}"


@dataclass(frozen=True, slots=True)
class ProvenManifest:
    """A manifest whose signature is proven up to a pinned root. Its validity is for what time decides."""

    manifest: Manifest
    path: Path
    fingerprint: bytes

    @property
    def windows(self) -> tuple[Window, ...]:
        """The validity of its signers."""
        return self.path.windows

    @property
    def links(self) -> tuple[Link, ...]:
        """Its signers, leaf first."""
        return self.path.links


_proven: ProvenCache[ProvenManifest] = ProvenCache(256)


@lru_cache(maxsize=64)
def read_manifest(raw: bytes) -> Manifest:
    """What an unproven manifest says: to choose among those that were supplied.

    Raises:
        EvidenceRefused: not the layout above.
    """
    return _read(parse_xml(raw))


def prove_manifest(raw: bytes, anchors: Anchors) -> ProvenManifest:
    """Prove a manifest up to a pinned root; remembered by its fingerprint, for anchors that give its root this grade.

    Raises:
        EvidenceRefused: the layout, the signers' chain or the signature does not hold.
    """
    fingerprint = sha256(raw).digest()
    known = _proven.get(fingerprint)
    if known is not None and anchors.grade_of(Tee.NVIDIA, known.links[-1].spki) is known.path.grade:
        return known
    chain = load_der(certificates_of(raw))
    if not chain:
        refuse(Reason.NVIDIA_RIM_MALFORMED, "a manifest with its signers' certificates", "none")
    path = find_path(chain[0], chain, anchors, pin=RIM_ROOT_SPKI, length=RIM_LENGTH)
    _check_purpose(path.leaf)
    manifest = _read(signed_element(raw, path.leaf.certificate))
    return _proven.put(fingerprint, ProvenManifest(manifest, path, fingerprint))


def _check_purpose(leaf: Link) -> None:
    """The same authorities issue responders: their certificates name another purpose."""
    for extension in leaf.certificate.extensions:
        if extension.oid.dotted_string == "2.5.29.37":
            refuse(Reason.SIGNER_PURPOSE, "a signer of manifests", leaf.name)


def parse_xml(raw: bytes) -> Any:
    """The root element of a document without document type, entities, comments and instructions, in UTF-8.

    Raises:
        EvidenceRefused: anything else.
    """
    if len(raw) > MAXIMUM_BYTES:
        refuse(Reason.NVIDIA_RIM_MALFORMED, f"a manifest of at most {MAXIMUM_BYTES} bytes", len(raw))
    body = raw
    if raw.startswith(_DECLARATION):
        declaration, _, body = raw.partition(b"?>")
        if b"encoding" in declaration and b'"UTF-8"' not in declaration.upper():
            refuse(Reason.NVIDIA_RIM_MALFORMED, "a manifest in UTF-8", declaration[:80].decode("latin-1"))
    if b"\0" in body or b"<!" in body or b"<?" in body:
        refuse(Reason.NVIDIA_RIM_MALFORMED, "XML without document type, entities, comments or instructions", "one")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        return refuse(Reason.NVIDIA_RIM_MALFORMED, "a manifest in XML", str(error)[:200])


def certificates_of(raw: bytes) -> tuple[bytes, ...]:
    """The certificates that a manifest carries, in DER and unproven: its signer's first.

    Raises:
        EvidenceRefused: not XML as manifests are, or no base64.
    """
    return tuple(_certificates(parse_xml(raw)))


def _certificates(root: Any) -> Iterator[bytes]:
    for element in root.iterfind(f"{DSIG}Signature/{DSIG}KeyInfo/{DSIG}X509Data/{DSIG}X509Certificate"):
        text = "".join((element.text or "").split())
        try:
            yield base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            refuse(Reason.NVIDIA_RIM_MALFORMED, "certificates in base64", str(error)[:200])


def _read(root: Any) -> Manifest:
    if root.tag != f"{_SWID}SoftwareIdentity":
        refuse(Reason.NVIDIA_RIM_MALFORMED, "a SWID tag of 2015", str(root.tag)[:120])
    meta = _only(root, "Meta")
    names = ("product", "edition", "colloquialVersion")
    product, edition, version = (meta.get(name) or "" for name in names)
    if not (product and version) or edition not in ("GPU", "SWITCH"):
        found = f"{product!r:.40} {edition!r:.40} {version!r:.40}"
        refuse(Reason.NVIDIA_RIM_MALFORMED, f"{', '.join(names)} of a GPU or switch", found)
    return Manifest(product=product, edition=edition, version=version, values=read_payload(root))


def _only(root: Any, name: str) -> Any:
    found = root.findall(f"{_SWID}{name}")
    if len(found) != 1:
        refuse(Reason.NVIDIA_RIM_MALFORMED, f"one element {name}", len(found))
    return found[0]


def read_payload(root: Any) -> Mapping[int, tuple[bytes, ...]]:
    """The alternatives of each active measurement, by SPDM index.

    Raises:
        EvidenceRefused: none, one twice, or one that is not of the layout.
    """
    values: dict[int, tuple[bytes, ...]] = {}
    seen: set[int] = set()
    for resource in _only(root, "Payload").iterfind(f"{_SWID}Resource"):
        index = _number(resource, "index", 254)
        if index in seen:
            refuse(Reason.NVIDIA_RIM_MALFORMED, "each index once", f"index {index} twice")
        seen.add(index)
        alternatives = _alternatives(resource)
        if _is_active(resource):
            values[index + 1] = alternatives
    if not values:
        refuse(Reason.NVIDIA_RIM_MALFORMED, "a manifest with active measurements", f"{len(seen)} resources")
    return values


def _is_active(resource: Any) -> bool:
    active = resource.get("active")
    if active not in ("True", "False"):
        refuse(Reason.NVIDIA_RIM_MALFORMED, "active True or False", repr(active)[:40])
    return bool(active == "True")


def _number(resource: Any, name: str, most: int) -> int:
    text = resource.get(name) or ""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= most):
        refuse(Reason.NVIDIA_RIM_MALFORMED, f"{name}, a number up to {most}", repr(text)[:40])
    return int(text)


def _alternatives(resource: Any) -> tuple[bytes, ...]:
    count = _number(resource, "alternatives", _MAXIMUM_ALTERNATIVES)
    size = _number(resource, "size", 255)
    names = [name for name in resource.attrib if "Hash" in name]
    wanted = [f"{_SHA384}Hash{number}" for number in range(count)]
    if count == 0 or size != MEASUREMENT_SIZE or sorted(names) != sorted(wanted):
        found = f"{names!r:.80} for {count} alternatives of {size} bytes"
        refuse(Reason.NVIDIA_RIM_MALFORMED, "one SHA-384 hash for each alternative", found)
    return tuple(_hash(resource.get(name)) for name in wanted)


def _hash(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != MEASUREMENT_SIZE or len(text) != 2 * MEASUREMENT_SIZE:
        refuse(Reason.NVIDIA_RIM_MALFORMED, f"{2 * MEASUREMENT_SIZE} hex digits", repr(text)[:120])
    return value


def forget() -> None:
    """Drop every manifest that is remembered."""
    _proven.clear()
    read_manifest.cache_clear()
