"""AMD SEV-SNP attestation reports: authentic? (SEV-SNP firmware ABI 1.58; AMD 57230 for the certificates)

The steps of :func:`authenticate`, which stops at the first that fails:

1. The report follows the ABI to the last byte, and a guest asked for it.
2. A leaf of the kind that the report names, under a pinned root of the CPU's product
   (:mod:`sealmarket.attestation.amd.certificates`).
3. Every certificate is valid at ``now``.
4. The root's revocation lists, where supplied, are its own and current, and do not revoke the intermediate.
   Whether one must be supplied is a rule.
5. The leaf is for the *reported* TCB, each part equal.
6. A VCEK is for this chip: hwID equals CHIP_ID, on Turin with nothing behind its eight bytes.
7. The leaf's key signed the report.

The grade is that of the root. A masked CHIP_ID (all zero) leaves the platform without identity, which rules
that name platforms refuse; a VCEK's hwID is not put in its place, since the operator asked for it not to be
shown.

Checks considered and rejected: ``s <= n/2`` (half of the genuine vectors fail it; the evidence's name is
the digest of what was signed, so a re-encoding gains nothing), REPORT_ID (random), family and image ids
(the launch digest binds what matters, the ID block's key can be named by rule).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from sealmarket.attestation.amd.certificates import Chain, check_revocation, find_chain, load_der
from sealmarket.attestation.amd.leaf import Leaf
from sealmarket.attestation.amd.report import SnpReport, SnpTcbVersion, read_report
from sealmarket.attestation.amd.rules import Mitigation
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import _MAKER, AuthenticReport, Platform, Tcb, TcbStatus
from sealmarket.attestation.core.pki import check_windows, seconds
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Tee

POLICY_SMT, POLICY_RESERVED_ONE, POLICY_MIGRATE_MA, POLICY_DEBUG = 16, 17, 18, 19
POLICY_KNOWN_BITS = 26
_PLATFORM_BITS = {Mitigation.CIPHERTEXT_HIDING: 4, Mitigation.ALIAS_CHECK: 5}
_ECDSA = ECDSA(SHA384())


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpBody:
    """What the appraisal of an SNP report needs beyond the common report; TCB versions by the product's
    layout."""

    report: SnpReport
    leaf: Leaf
    reported: SnpTcbVersion
    committed: SnpTcbVersion
    current: SnpTcbVersion
    launch: SnpTcbVersion
    revocation_checked: bool

    def claims(self) -> Mapping[str, Any]:
        """The report's fields with the TCB versions by name."""
        return {
            **self.report.claims(),
            "product": self.leaf.product,
            "csp_id": self.leaf.csp,
            "reported_tcb": self.reported.as_json(),
            "committed_tcb": self.committed.as_json(),
            "current_tcb": self.current.as_json(),
            "launch_tcb": self.launch.as_json(),
            "revocation_checked": self.revocation_checked,
        }


def authenticate(evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime) -> AuthenticReport:
    """Prove an SEV-SNP report. See the module's steps.

    Raises:
        EvidenceRefused: the first step that failed, as a finding.
    """
    # 1. Layout.
    report = read_report(evidence.raw)
    # 2. Chain under a pinned root of the product that the CPUID names.
    product = _product(report)
    certificates = (*endorsements.certificates, *load_der(evidence.certificates))
    chain = find_chain(report.key_name, product, certificates, anchors, _wanted(report, product))
    # 3. Validity at this moment.
    check_windows(chain.windows, seconds(now))
    # 4. Revocation.
    revocation_checked = check_revocation(chain, endorsements.crls, now)
    # 5. The leaf's levels.
    turin = chain.leaf.product == "Turin"
    reported = SnpTcbVersion.read(report.reported_tcb, turin=turin)
    if chain.leaf.tcb != reported:
        refuse(Reason.SNP_TCB_MISMATCH, f"a leaf for the reported TCB {reported}", str(chain.leaf.tcb))
    # 6. The leaf's chip.
    _check_chip(report, chain.leaf)
    # 7. The report itself.
    _check_signature(report, chain)
    body = SnpBody(
        report=report,
        leaf=chain.leaf,
        reported=reported,
        committed=SnpTcbVersion.read(report.committed_tcb, turin=turin),
        current=SnpTcbVersion.read(report.current_tcb, turin=turin),
        launch=SnpTcbVersion.read(report.launch_tcb, turin=turin),
        revocation_checked=revocation_checked,
    )
    return _authentic(body, chain, now)


def unverified_claims(evidence: Evidence) -> dict[str, Any]:
    """What a report says of itself, without any proof; for looking at evidence only.

    Raises:
        EvidenceRefused: not the layout of a known version.
    """
    report = read_report(evidence.raw)
    turin = _product(report) == "Turin"
    names = ("reported_tcb", "committed_tcb", "current_tcb", "launch_tcb")
    levels = {name: SnpTcbVersion.read(getattr(report, name), turin=turin).as_json() for name in names}
    return {
        **report.claims(),
        **levels,
        "product": _product(report),
        "report_data": report.report_data.hex(),
        "debug": bool(report.policy >> POLICY_DEBUG & 1),
    }


def generation(report: SnpReport, product: str) -> str:
    """The CPU generation by name. Bergamo and Siena share a model number; reports of version 2 name none."""
    if report.cpuid is not None and report.cpuid[0] == 0x19 and report.cpuid[1] >= 0xA0:
        return "Bergamo/Siena"
    return product


def _authentic(body: SnpBody, chain: Chain, now: datetime) -> AuthenticReport:
    report = body.report
    info = report.platform_info
    return AuthenticReport(
        maker=_MAKER,
        tee=Tee.SNP,
        grade=chain.grade,
        measurement=report.tuple,
        report_data=report.report_data,
        evidence_digest=Bytes32(sha256(report.signed).digest()),
        tcb=Tcb(
            status=TcbStatus.NOT_RATED,
            expires=chain.expires,
        ),
        platform=Platform(
            identity=report.chip_id if any(report.chip_id) else None,
            generation=generation(report, chain.leaf.product),
        ),
        debug=bool(report.policy >> POLICY_DEBUG & 1),
        mitigations=frozenset(name.value for name, bit in _PLATFORM_BITS.items() if info >> bit & 1),
        body=body,
        authenticated_at=now,
    )


def _product(report: SnpReport) -> str | None:
    """The product whose certificates sign for this CPU (family and model, AMD 57230); None in version 2."""
    if report.cpuid is None:
        return None
    family, model, _ = report.cpuid
    if family == 0x19 and model < 0x10:
        return "Milan"
    if family == 0x19 and (0x10 <= model < 0x20 or 0xA0 <= model < 0xB0):
        return "Genoa"
    if family == 0x1A and model < 0x20:
        return "Turin"
    return refuse(
        Reason.SNP_PRODUCT_MISMATCH, "the CPUID of Milan, Genoa, Bergamo, Siena or Turin", f"{family:#x}/{model:#x}"
    )


def _wanted(report: SnpReport, product: str | None) -> Leaf:
    turin = product == "Turin"
    chip = report.chip_id if report.key_name == "vcek" and any(report.chip_id) else None
    return Leaf(report.key_name, product or "", SnpTcbVersion.read(report.reported_tcb, turin=turin), chip, None)


def _check_chip(report: SnpReport, leaf: Leaf) -> None:
    if leaf.hwid is None or not any(report.chip_id):
        return
    wanted = leaf.hwid.ljust(len(report.chip_id), b"\0")
    if report.chip_id != wanted:
        refuse(Reason.SNP_CHIP_MISMATCH, f"CHIP_ID {wanted.hex()}, as the VCEK says", report.chip_id.hex())


def _check_signature(report: SnpReport, chain: Chain) -> None:
    try:
        chain.key.verify(encode_dss_signature(report.r, report.s), report.signed, _ECDSA)
    except InvalidSignature:
        refuse(
            Reason.SIGNATURE_INVALID,
            f"a report signed by the {chain.leaf.kind.upper()}",
            "a signature that does not verify",
        )
