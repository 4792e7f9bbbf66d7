"""The purposes of terms and requests, as people write and read them; and which labels a data card may name."""

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
