"""A statement about platforms in a file: its reader may hold jobs against it, or anchor its hash."""

from __future__ import annotations

from pathlib import Path

from sealmarket.files import read_file
from sealmarket.protocol.advisories import MAXIMUM_ADVISORY, Advisory, SignedAdvisory
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError


class AdvisoryRefused(SealmarketError):
    """A file is no statement about platforms, or one that means no machine or every machine by a slip."""

    def __init__(self, path: Path, why: str) -> None:
        remedy = "write it after docs/spec/schemas/advisory.json; docs/spec/oracle-operation.md says what targets mean"
        super().__init__(f"{path} is no statement about platforms: {why}", remedy=remedy)


def read_advisory(path: Path) -> Advisory:
    """A statement in a file, signed or not; who signed it is not looked at.

    Raises:
        AdvisoryRefused: it is none.
        OSError: the file cannot be read.
    """
    raw = read_file(path, MAXIMUM_ADVISORY)
    try:
        return decode(SignedAdvisory, raw).advisory
    except MalformedDocument as error:
        why = error.message
    try:
        return decode(Advisory, raw)
    except MalformedDocument as error:
        raise AdvisoryRefused(path, why if b'"signature"' in raw else error.message) from error
