"""Purposes of jobs, and the public terms by which data cards and people name them.

The terms on chain have one bit for each purpose (:class:`sealmarket.protocol.orders.Purpose`). Beside them a data card
may list codes of W3C's Data Privacy Vocabulary (DPV 2, https://w3id.org/dpv) and of GA4GH's Data Use Ontology (DUO,
http://purl.obolibrary.org/obo/duo.owl) under ``purposes``: they are labels, for people and for search, and enforced by
no contract.
"""

from __future__ import annotations

from sealmarket.protocol.orders import Purpose

LABELS: dict[str, str] = {
    "DUO:0000004": "no restriction",
    "DUO:0000006": "health, medical or biomedical research",
    "DUO:0000007": "research on a named disease",
    "DUO:0000011": "research on population origins or ancestry",
    "DUO:0000012": "only the research that is named",
    "DUO:0000015": "no development of methods",
    "DUO:0000016": "genetic studies only",
    "DUO:0000018": "by non-profit organisations, for non-commercial use only",
    "DUO:0000019": "the results have to be published",
    "DUO:0000020": "in collaboration with the owner only",
    "DUO:0000021": "after an ethics approval",
    "DUO:0000022": "within a named region only",
    "DUO:0000024": "no publication before a named date",
    "DUO:0000025": "until a named date",
    "DUO:0000026": "by named users only",
    "DUO:0000027": "within a named project only",
    "DUO:0000028": "within a named institution only",
    "DUO:0000029": "the results return to the owner",
    "DUO:0000042": "general research use",
    "DUO:0000043": "clinical care",
    "DUO:0000044": "no research on population origins or ancestry",
    "DUO:0000045": "by non-profit organisations only",
    "DUO:0000046": "non-commercial use only",
    "dpv:AcademicResearch": "academic research",
    "dpv:CommercialResearch": "commercial research",
    "dpv:NonCommercialResearch": "non-commercial research",
    "dpv:ResearchAndDevelopment": "research and development",
    "dpv:ServiceProvision": "to provide a service",
    "dpv:ServiceOptimisation": "to improve a service",
    "dpv:FraudPreventionAndDetection": "to prevent and detect fraud",
    "dpv:PublicBenefit": "for the public benefit",
}
"""The codes that are known here, in words."""


def purposes_in_words(bits: int) -> str:
    """The purposes of a set of bits: ``train, query``; bits without a name as a number."""
    names = [purpose.name.lower() for purpose in Purpose if bits & purpose]
    rest = bits & ~sum(Purpose)
    return ", ".join([*names, *([f"{rest:#x}"] if rest else [])]) or "none"


def label_in_words(code: str) -> str:
    """``DUO:0000042 (general research use)``; a code that is not known as it is."""
    return f"{code} ({LABELS[code]})" if code in LABELS else code
