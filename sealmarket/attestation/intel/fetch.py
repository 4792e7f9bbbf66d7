"""Intel's collateral from the PCS or a PCCS (PCS API v4). It arrives unproven: a server can withhold, never forge."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from sealmarket.attestation.core.certificates import load_crl
from sealmarket.attestation.core.collateral import PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.tee import Fetched, Get
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket_enclave.protocol.codec import parse_json, prepared


class _TcbAnswer(msgspec.Struct, frozen=True):
    document: msgspec.Raw = msgspec.field(name="tcbInfo")
    signature: str


class _IdentityAnswer(msgspec.Struct, frozen=True):
    document: msgspec.Raw = msgspec.field(name="enclaveIdentity")
    signature: str


def fetch_collateral(kind: PlatformKind, get: Get, endpoints: Mapping[str, str]) -> IntelCollateral:
    """Intel's nine parts for a kind of platform.

    Raises:
        CollateralError: unreachable, refused, too large, or not of the shape.
    """
    server = endpoints["intel"]
    base = f"{server}/{kind.tee.slug}/certification/v4"
    tcb = get(f"{base}/tcb", {"fmspc": kind.fmspc})
    identity = get(f"{base}/qe/identity", {})
    crl = get(f"{server}/sgx/certification/v4/pckcrl", {"ca": kind.ca, "encoding": "der"})
    root_crl = get(endpoints["intel_root_crl"], {}).content
    info, quoting = _decode(tcb, _TcbAnswer), _decode(identity, _IdentityAnswer)
    parts = {
        "pck_crl_issuer_chain": _chain(crl, "SGX-PCK-CRL-Issuer-Chain"),
        "root_ca_crl": _der(root_crl).hex(),
        "pck_crl": _der(crl.content).hex(),
        "tcb_info_issuer_chain": _chain(tcb, "TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"),
        "tcb_info": bytes(info.document).decode(),
        "tcb_info_signature": info.signature,
        "qe_identity_issuer_chain": _chain(identity, "SGX-Enclave-Identity-Issuer-Chain"),
        "qe_identity": bytes(quoting.document).decode(),
        "qe_identity_signature": quoting.signature,
    }
    return IntelCollateral.from_json(msgspec.json.encode(parts))  # what a server sends keeps to the bounds of a file


def _chain(answer: Fetched, *names: str) -> str:
    for name in names:
        if value := answer.headers.get(name.lower()):
            return unquote(value)
    raise CollateralError(f"the answer has no header {names[0]}")


def _der(content: bytes) -> bytes:
    """A CRL as PCS (DER), or PCCS (DER or hex), sends it."""
    try:
        text = content.strip().decode("ascii")
        return bytes.fromhex(text)
    except ValueError:
        pass  # not hex: read as DER below
    try:
        load_crl(content)
    except CollateralError as error:
        raise CollateralError(f"the answer is no CRL: {error}") from error
    return content


def _decode(answer: Fetched, kind: type[_TcbAnswer] | type[_IdentityAnswer]) -> _TcbAnswer | _IdentityAnswer:
    try:
        found: _TcbAnswer | _IdentityAnswer = parse_json(answer.content, prepared(kind))
        return found
    except NOT_JSON as error:
        raise CollateralError(f"{answer.url} answered with another shape: {error}") from error
