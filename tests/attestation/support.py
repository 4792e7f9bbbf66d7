"""What several attestation tests need: one call from files or forged bytes to a result."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.model import AppraisalResult, AuthenticReport
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, authenticate, verify
from tests.forge.intel import IntelForge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANYTHING = Expected(report_data=UNCHECKED)


def forge_roots(forge: IntelForge) -> TrustAnchors:
    """The vendors' roots, and the forge's as a development root."""
    return TrustAnchors.production().with_development(forge.root.certificate.public_bytes(Encoding.DER))


def endorse(collateral: str | bytes) -> Endorsements:
    """Endorsements that are one collateral."""
    return Endorsements(collateral=IntelCollateral.from_json(collateral))


def forged(
    forge: IntelForge,
    quote: bytes,
    collateral: str | None = None,
    *,
    expected: Expected = ANYTHING,
    rules: AppraisalPolicy | None = None,
    now: datetime = NOW,
) -> AppraisalResult:
    """The result on a forged quote under the forge's root; collateral defaults to what fits the quote."""
    evidence = parse(quote)
    chosen = collateral or forge.collateral(evidence.tee.name)
    return verify(evidence, endorse(chosen), forge_roots(forge), now, expected, rules)


def report_of(forge: IntelForge, quote: bytes, collateral: str | None = None) -> AuthenticReport:
    """The authentic report of a forged quote."""
    evidence = parse(quote)
    chosen = collateral or forge.collateral(evidence.tee.name)
    return authenticate(evidence, endorse(chosen), forge_roots(forge), NOW)
