"""What NVIDIA signs about its devices, written from the side of the vendor: reference manifests and OCSP answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from sealmarket_devices.pki import Authority, Validity

_SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_SHA384 = "http://www.w3.org/2001/04/xmlenc#sha384"


def resource(index: int, alternatives: Sequence[bytes], *, active: bool = True) -> dict[str, str]:
    """The attributes of one measurement in a manifest; ``index`` counts from 0."""
    return {
        "type": "Measurement",
        "index": str(index),
        "active": str(active),
        "alternatives": str(len(alternatives)),
        "size": "48",
        **{f"{{{_SHA384}}}Hash{number}": value.hex() for number, value in enumerate(alternatives)},
    }


def swid(version: str, product: str, edition: str, resources: Iterable[Mapping[str, str]]) -> Any:
    """An unsigned SWID tag with these resources."""
    spaces = {None: _SWID, "ns2": _SHA384}
    root = etree.Element(f"{{{_SWID}}}SoftwareIdentity", nsmap=spaces, attrib={"name": product, "tagId": "development"})
    meta = {"colloquialVersion": version, "edition": edition, "product": product}
    etree.SubElement(root, f"{{{_SWID}}}Meta", attrib=meta)
    payload = etree.SubElement(root, f"{{{_SWID}}}Payload")
    for attributes in resources:
        etree.SubElement(payload, f"{{{_SWID}}}Resource", attrib=dict(attributes))
    return root


def sign_manifest(root: Any, chain: Sequence[Authority], reference: str | None = None, **changes: Any) -> bytes:
    """A manifest signed by the first of a chain, in the one form that NVIDIA uses unless a change says otherwise."""
    settings = {
        "signature_algorithm": SignatureMethod.ECDSA_SHA384,
        "digest_algorithm": DigestAlgorithm.SHA384,
        "c14n_algorithm": CanonicalizationMethod.CANONICAL_XML_1_1,
        **changes,
    }
    pem = "".join(one.pem for one in chain)
    key = chain[0].key
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"a signer of manifests has an EC key, found {type(key).__name__}")
    return bytes(etree.tostring(XMLSigner(**settings).sign(root, key=key, cert=pem, reference_uri=reference)))


def ocsp_answer(
    subject: Authority,
    issuer: Authority,
    responder: Authority,
    validity: Validity,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    reason: x509.ReasonFlags | None = None,
    algorithm: HashAlgorithm | None = None,
) -> bytes:
    """A responder's answer about one certificate, in DER."""
    revoked = validity.start if status is ocsp.OCSPCertStatus.REVOKED else None
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            subject.certificate,
            issuer.certificate,
            SHA384(),
            status,
            validity.start,
            validity.end,
            revoked,
            reason,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
        .certificates([responder.certificate])
    )
    if not isinstance(responder.key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"a responder has an EC key, found {type(responder.key).__name__}")
    return builder.sign(responder.key, algorithm or SHA384()).public_bytes(Encoding.DER)
