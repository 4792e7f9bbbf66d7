"""What several attestation tests need: one call from files or forged bytes to a verdict."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.documents import IntelCollateral
from sealmarket.attestation.collateral.roots import Roots
from sealmarket.attestation.core.evidence import Endorsements, parse
from sealmarket.attestation.core.model import AuthenticReport, Verdict
from sealmarket.attestation.core.verify import UNCHECKED, Expected, authenticate, verify
from sealmarket.attestation.policy.rules import EvidenceRules
from tests.forge.intel import IntelForge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANYTHING = Expected(report_data=UNCHECKED)


def forge_roots(forge: IntelForge) -> Roots:
    """The vendors' roots, and the forge's as a development root."""
    return Roots.production().with_development(forge.root.certificate.public_bytes(Encoding.DER))


def endorse(collateral: str | bytes) -> Endorsements:
    """Endorsements that are one collateral."""
    return Endorsements(collateral=IntelCollateral.from_json(collateral))


def forged(
    forge: IntelForge,
    quote: bytes,
    collateral: str | None = None,
    *,
    expected: Expected = ANYTHING,
    rules: EvidenceRules | None = None,
    now: datetime = NOW,
) -> Verdict:
    """The verdict on a forged quote under the forge's root; collateral defaults to what fits the quote."""
    evidence = parse(quote)
    chosen = collateral or forge.collateral(evidence.tee.value.upper())
    return verify(evidence, endorse(chosen), forge_roots(forge), now, expected, rules)


def report_of(forge: IntelForge, quote: bytes, collateral: str | None = None) -> AuthenticReport:
    """The authentic report of a forged quote."""
    evidence = parse(quote)
    chosen = collateral or forge.collateral(evidence.tee.value.upper())
    return authenticate(evidence, endorse(chosen), forge_roots(forge), NOW)
