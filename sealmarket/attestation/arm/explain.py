"""The ``cca`` section of an appraisal policy as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.arm.rules import CcaRules


def explain(rules: CcaRules) -> Iterator[str]:
    """What is required of CCA platforms."""
    yield "A CCA platform is in its secured lifecycle."
    if rules.reference_values == "required":
        yield "Its firmware is what reference values say that a trusted key signed or that are listed here."
    else:
        yield "Its firmware may be ANYTHING where no reference values count: that is a warning."
    for digest in rules.documents:
        yield f"The document {digest.hex()} counts as reference values."
    for implementation in rules.implementations:
        yield f"Implementation {implementation.hex()} is allowed."
    if not rules.implementations:
        yield "ANY implementation is allowed."
