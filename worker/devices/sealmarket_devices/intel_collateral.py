"""Intel collateral under a development root: TCB info, quoting enclave identity, and revocation lists.

The documents have the vendor's shapes (Intel PCS API v4); the JSON text that is signed is the text that is
served.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from sealmarket_devices.intel_format import sign_raw
from sealmarket_devices.pki import Authority, Validity, revocation_list

COLLATERAL_LIFETIME = timedelta(days=30)
EVALUATION_NUMBER = 20
COMPONENT_SVNS = bytes([3, 3, 2, 2, 2, 1, 0, 3]) + bytes(8)
PCE_SVN = 13
PCE_ID = bytes(2)
TEE_TCB_SVN = bytes([5, 1, 3]) + bytes(13)
QE_ISV_SVN = 8
TCB_DATE = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class IntelHierarchy:
    """The four authorities of an Intel evidence chain."""

    root: Authority
    platform_ca: Authority
    tcb_signing: Authority
    pck: Authority


@dataclass(frozen=True, slots=True)
class SignedText:
    """A JSON text and the signature over exactly these bytes."""

    text: str
    signature: bytes


def stamp(moment: datetime) -> str:
    """A time as Intel writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tcb_info(tee: str, fmspc: bytes, validity: Validity) -> dict[str, Any]:
    """TCB info version 3 for ``SGX`` or ``TDX`` with one level, UpToDate, that the virtual platform meets."""
    components: dict[str, Any] = {
        "sgxtcbcomponents": [{"svn": svn} for svn in COMPONENT_SVNS],
        "pcesvn": PCE_SVN,
    }
    document: dict[str, Any] = {
        "id": tee,
        "version": 3,
        "issueDate": stamp(validity.start),
        "nextUpdate": stamp(validity.end),
        "fmspc": fmspc.hex().upper(),
        "pceId": PCE_ID.hex().upper(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": EVALUATION_NUMBER,
    }
    if tee == "TDX":
        components["tdxtcbcomponents"] = [{"svn": svn} for svn in TEE_TCB_SVN]
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        level = {"tcb": {"isvsvn": TEE_TCB_SVN[0]}, "tcbDate": TCB_DATE, "tcbStatus": "UpToDate"}
        document["tdxModule"] = module
        document["tdxModuleIdentities"] = [{"id": f"TDX_{TEE_TCB_SVN[1]:02X}", **module, "tcbLevels": [level]}]
    document["tcbLevels"] = [{"tcb": components, "tcbDate": TCB_DATE, "tcbStatus": "UpToDate"}]
    return document


def qe_identity(tee: str, mr_signer: bytes, prod_id: int, validity: Validity) -> dict[str, Any]:
    """Identity version 2 of the virtual quoting enclave: ``QE`` for SGX, ``TD_QE`` for TDX."""
    return {
        "id": "TD_QE" if tee == "TDX" else "QE",
        "version": 2,
        "issueDate": stamp(validity.start),
        "nextUpdate": stamp(validity.end),
        "tcbEvaluationDataNumber": EVALUATION_NUMBER,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": mr_signer.hex().upper(),
        "isvprodid": prod_id,
        "tcbLevels": [{"tcb": {"isvsvn": QE_ISV_SVN}, "tcbDate": TCB_DATE, "tcbStatus": "UpToDate"}],
    }


def sign_text(signer: Authority, document: dict[str, Any]) -> SignedText:
    """Sign the compact JSON text of a document."""
    if not isinstance(signer.key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"Intel collateral is signed with P-256, found {type(signer.key).__name__}")
    text = json.dumps(document, separators=(",", ":"))
    return SignedText(text, sign_raw(signer.key, text.encode()))


def assemble(hierarchy: IntelHierarchy, tcb: SignedText, identity: SignedText, validity: Validity) -> str:
    """The JSON of a ``QuoteCollateralV3``: nine parts, bytes in hex."""
    root = hierarchy.root.pem
    signing_chain = hierarchy.tcb_signing.pem + root
    return json.dumps(
        {
            "pck_crl_issuer_chain": hierarchy.platform_ca.pem + root,
            "root_ca_crl": revocation_list(hierarchy.root, validity).hex(),
            "pck_crl": revocation_list(hierarchy.platform_ca, validity).hex(),
            "tcb_info_issuer_chain": signing_chain,
            "tcb_info": tcb.text,
            "tcb_info_signature": tcb.signature.hex(),
            "qe_identity_issuer_chain": signing_chain,
            "qe_identity": identity.text,
            "qe_identity_signature": identity.signature.hex(),
        }
    )
