"""The enveloped XML signature of a reference manifest (XML-DSig 1.1), verified by ``signxml``.

The library takes many forms of signature. A manifest has one: a child of the root, one reference to the whole document
(``URI=""``), the transforms enveloped-signature and canonical XML 1.1, SHA-384, ECDSA with SHA-384. Every other form is
refused before the library is asked, and what it returns is what the signature covers.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature as InvalidCryptographicSignature
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason

DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
_CANONICAL = "http://www.w3.org/2006/12/xml-c14n11"
_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_INFO = f"{DSIG}Signature/{DSIG}SignedInfo"
_FORM = {
    f"{_INFO}/{DSIG}CanonicalizationMethod": [_CANONICAL],
    f"{_INFO}/{DSIG}SignatureMethod": ["http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"],
    f"{_INFO}/{DSIG}Reference/{DSIG}Transforms/{DSIG}Transform": [_ENVELOPED, _CANONICAL],
    f"{_INFO}/{DSIG}Reference/{DSIG}DigestMethod": ["http://www.w3.org/2001/04/xmldsig-more#sha384"],
}


def signed_element(raw: bytes, signer: x509.Certificate) -> Any:
    """The element that this certificate's key signed, as the signature covers it.

    The certificate's chain and validity are the caller's to prove.

    Raises:
        EvidenceRefused: another form of signature, or one that does not verify.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    _check_form(etree.fromstring(raw, parser))
    config = SignatureConfiguration(
        require_x509=True,
        location="./",
        expect_references=1,
        signature_methods=frozenset({SignatureMethod.ECDSA_SHA384}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA384}),
        verification_time=signer.not_valid_before_utc,
    )
    try:
        result = XMLVerifier().verify(raw, x509_cert=signer, expect_config=config)
    except (SignXMLException, InvalidCryptographicSignature, etree.LxmlError, ValueError, TypeError) as error:
        refuse(
            Reason.NVIDIA_RIM_SIGNATURE, "a manifest that its signer signed", f"{type(error).__name__}: {error}"[:200]
        )
    if isinstance(result, list) or result.signed_xml is None:
        refuse(Reason.NVIDIA_RIM_SIGNATURE, "one signed element", "none")
    return result.signed_xml


def _check_form(root: Any) -> None:
    references = [reference.get("URI") for reference in root.iterfind(f"{_INFO}/{DSIG}Reference")]
    if references != [""]:
        refuse(Reason.NVIDIA_RIM_SIGNATURE, "one reference, to the whole manifest", repr(references)[:200])
    for path, wanted in _FORM.items():
        found = [element.get("Algorithm") for element in root.iterfind(path)]
        if found != wanted:
            refuse(Reason.NVIDIA_RIM_SIGNATURE, f"the algorithms {wanted}", repr(found)[:200])
