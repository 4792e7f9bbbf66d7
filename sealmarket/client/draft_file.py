"""Policy drafts from files, with amounts, dates and accounts as people write them.

Beside what :class:`PolicyDraft` spells, a file may say ``"price": "0.5coin"``, ``"expiry": "2027-01-31"`` and accounts
in EIP-55's spelling. A moment that counts from now has no place in a file: it would end later each time it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sealmarket.client.draft import PolicyDraft
from sealmarket.client.errors import DraftRefused
from sealmarket.client.written import account_of, amount_of, moment_of
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import decode, from_builtins, parse_json
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.policy import PolicyDocument

_NOT_JSON = (ValueError, RecursionError)


def read_draft(raw: bytes) -> PolicyDraft:
    """A policy draft from its JSON.

    Raises:
        MalformedDocument: not JSON, an unknown or absent field, or a value of none of the forms.
    """
    try:
        document = parse_json(raw)
    except _NOT_JSON as error:
        raise MalformedDocument(f"not of the form PolicyDraft: {ascii(str(error))[:300]}") from error
    if isinstance(document, dict) and isinstance(document.get("terms"), dict):
        document["terms"] = _spelled(document["terms"])
    return from_builtins(PolicyDraft, document)


def whole_policy(raw: bytes) -> PolicyDraft | PolicyDocument | None:
    """A policy draft or policy document; None for a document without terms, which is evidence rules alone.

    Raises:
        MalformedDocument: terms in a document that is neither.
    """
    try:
        document = parse_json(raw)
    except _NOT_JSON:
        return None
    if not isinstance(document, dict) or "terms" not in document:
        return None
    return decode(PolicyDocument, raw) if "assetId" in document else read_draft(raw)


def _spelled(terms: dict[str, Any]) -> dict[str, Any]:
    """The terms as documents spell them."""
    found = dict(terms)
    _replace(found, "price", lambda text: str(int(amount_of(text))))
    _replace(found, "expiry", _expiry)
    _replace(found, "token", lambda text: str(account_of(text)))
    if isinstance(consumers := found.get("consumers"), list):
        found["consumers"] = [str(account_of(one)) if isinstance(one, str) else one for one in consumers]
    return found


def _replace(terms: dict[str, Any], name: str, spell: Callable[[str], object]) -> None:
    if isinstance(value := terms.get(name), str):
        terms[name] = spell(value)


def _expiry(text: str) -> int:
    if text.startswith("in "):
        raise MalformedDocument(f"{text[:80]!a} counts from no moment in a file", remedy="name the day: 2027-01-31")
    return moment_of(text, 0)


def load_draft(path: Path) -> PolicyDraft:
    """Read a policy draft.

    Raises:
        DraftRefused: not there, or not of this shape.
    """
    try:
        return read_draft(read_file(path))
    except OSError as error:
        raise DraftRefused(path, error.strerror or "it cannot be read") from error
    except MalformedDocument as error:
        raise DraftRefused(path, error.message) from error
