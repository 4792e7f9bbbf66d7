"""Purposes: the four that terms enforce on chain, and the labels by which owners and catalogues describe a use.

Labels are terms of the W3C Data Privacy Vocabulary (``dpv:``) and of GA4GH's Data Use Ontology (``DUO:``). They stand
in an asset's public data card as its owner's declaration: people and searches read them, no node enforces them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sealmarket.protocol.orders import Purpose
from sealmarket_enclave.protocol.errors import MalformedDocument

MEANINGS: Mapping[Purpose, str] = {
    Purpose.TRAIN: "train a model on the data; the model leaves the enclave",
    Purpose.FINE_TUNE: "train a given model further on the data",
    Purpose.INFER: "apply a model to the data, or the model that is sold to other data",
    Purpose.QUERY: "answer a question about the data: counts, statistics",
}
LABELS: Mapping[str, str] = {
    "dpv:AcademicResearch": "research by universities and schools",
    "dpv:CommercialResearch": "research for commercial gain",
    "dpv:FraudPreventionAndDetection": "prevent and detect fraud",
    "dpv:NonCommercialResearch": "research without commercial gain",
    "dpv:PublicBenefit": "benefit of the public",
    "dpv:ResearchAndDevelopment": "research and development",
    "dpv:ServiceOptimisation": "improve a service",
    "dpv:ServiceProvision": "provide a service",
    "DUO:0000004": "no restriction",
    "DUO:0000006": "health, medical or biomedical research",
    "DUO:0000007": "research on one disease",
    "DUO:0000011": "research on population origins or ancestry only",
    "DUO:0000012": "research of certain kinds only",
    "DUO:0000015": "no research on general methods",
    "DUO:0000016": "genetic studies only",
    "DUO:0000018": "not for profit organisations, non-commercial use only",
    "DUO:0000019": "results must be published",
    "DUO:0000020": "collaboration with the primary investigators",
    "DUO:0000021": "ethics approval",
    "DUO:0000022": "within a region only",
    "DUO:0000024": "no publication before a date",
    "DUO:0000025": "for a limited time",
    "DUO:0000026": "named users only",
    "DUO:0000027": "a named project only",
    "DUO:0000028": "named institutions only",
    "DUO:0000029": "results return to the resource",
    "DUO:0000042": "general research",
    "DUO:0000043": "clinical care",
    "DUO:0000044": "no research on population origins or ancestry",
    "DUO:0000045": "not for profit organisations only",
    "DUO:0000046": "non-commercial use only",
}
MOST_LABELS = 32
_LABEL = re.compile(r"dpv:[A-Za-z]{1,64}|DUO:[0-9]{7}")


def label_of(text: str) -> str:
    """A label in its own spelling. Terms that the table does not name are taken: vocabularies grow.

    Raises:
        MalformedDocument: of neither vocabulary.
    """
    if not _LABEL.fullmatch(text):
        raise MalformedDocument(
            f"{text[:80]!a} is no label of a purpose",
            remedy="write a DPV term (dpv:AcademicResearch) or a DUO code (DUO:0000042)",
        )
    return text


def in_words(label: str) -> str:
    """A label with its meaning, where the table knows it."""
    return f"{label} ({LABELS[label]})" if label in LABELS else label


def purposes_of(bits: int) -> tuple[Purpose, ...]:
    """The purposes in a set of bits, as terms and requests carry it."""
    return tuple(purpose for purpose in Purpose if bits & purpose)


def purpose_bits(text: str) -> int:
    """Purposes by name with commas between them, or their bits as the chain has them.

    Raises:
        MalformedDocument: a name of none.
    """
    if text.isascii() and text.isdigit() and len(text) < 4:
        return int(text)
    known, bits = {purpose.name.lower(): purpose for purpose in Purpose}, 0
    for name in (part.strip().replace("-", "_") for part in text[:200].split(",")):
        if name not in known:
            raise MalformedDocument(f"{name!a} is none of {', '.join(known)}", remedy="name some, with commas")
        bits |= known[name]
    return bits


def purposes_in_words(bits: int) -> str:
    """The purposes of a set of bits: ``train, query``; bits without a name as a number."""
    names = [purpose.name.lower() for purpose in Purpose if bits & purpose]
    rest = bits & ~sum(Purpose)
    return ", ".join([*names, *([f"{rest:#x}"] if rest else [])]) or "none"
