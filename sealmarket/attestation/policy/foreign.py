"""Conditions on claims as users of other verifiers write them: Azure's release policies, Confidential Space's tokens.

A release policy (Azure Key Vault, "Secure key release policy grammar") is a tree of conditions. A token says what one
machine was; as a policy it demands each of its claims again. Neither proves anything here: both are their user's own.
:mod:`sealmarket.attestation.policy.imported` turns conditions into an appraisal policy.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sealmarket.attestation.core.errors import InvalidRules
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import parse_json

MAXIMUM_BYTES = 256 << 10
OPERATORS = ("equals", "notEquals", "less", "lessOrEquals", "greater", "greaterOrEquals", "exists")
Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Claim:
    """One condition: the claim's name with dots between its parts, an operator of ``OPERATORS``, and a value."""

    name: str
    operator: str
    value: Value

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.value!r}"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Each part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Claim | AllOf | AnyOf


def read_conditions(raw: bytes) -> Condition:
    """The conditions of a release policy or of a token, by its form.

    Raises:
        InvalidRules: neither, too long, or with a part that the grammar does not have.
    """
    if len(raw) > MAXIMUM_BYTES:
        raise InvalidRules(f"a policy to import has at most {MAXIMUM_BYTES} bytes, found {len(raw)}")
    document = _document(raw.strip())
    if "anyOf" in document:
        return _release_policy(document)
    if "hwmodel" in document or "swname" in document:
        return AllOf(tuple(_flattened(document, "")))
    raise InvalidRules(
        f"neither a release policy nor a Confidential Space token: fields {sorted(document)[:8]}",
        remedy="pass Azure's JSON with version and anyOf, or the token, or its claims as JSON",
    )


def claims_of(condition: Condition) -> Iterator[Claim]:
    """Every claim in a tree."""
    if isinstance(condition, Claim):
        yield condition
    else:
        for part in condition.parts:
            yield from claims_of(part)


def without(condition: Condition, names: frozenset[str]) -> Condition | None:
    """A tree without the claims of these names; None where nothing is left."""
    if isinstance(condition, Claim):
        return None if condition.name in names else condition
    kept = tuple(found for part in condition.parts if (found := without(part, names)) is not None)
    return type(condition)(kept) if kept else None


def _document(text: bytes) -> Mapping[str, Any]:
    try:
        if text.count(b".") == 2 and not text.startswith(b"{"):
            payload = text.split(b".")[1]
            text = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))
        found = parse_json(text, dict[str, Any])
    except (*NOT_JSON, binascii.Error, ValueError) as error:
        raise InvalidRules(f"neither JSON nor a token: {error}") from error
    return dict(found)


def _release_policy(document: Mapping[str, Any]) -> Condition:
    if document.get("version") != "1.0.0" or set(document) != {"version", "anyOf"}:
        raise InvalidRules("a release policy has version 1.0.0 and anyOf, and nothing else")
    authorities = []
    for entry in _list(document["anyOf"], "anyOf"):
        if not isinstance(entry, dict) or not isinstance(entry.get("authority"), str):
            raise InvalidRules("each entry of a release policy's anyOf has an authority")
        authorities.append(_condition({name: entry[name] for name in entry if name != "authority"}))
    return AnyOf(tuple(authorities))


def _condition(entry: object) -> Condition:
    if not isinstance(entry, dict):
        raise InvalidRules(f"a condition is an object, found {entry!r:.80}")
    if set(entry) == {"allOf"}:
        return AllOf(tuple(map(_condition, _list(entry["allOf"], "allOf"))))
    if set(entry) == {"anyOf"}:
        return AnyOf(tuple(map(_condition, _list(entry["anyOf"], "anyOf"))))
    operators = [name for name in entry if name != "claim"]
    if not isinstance(entry.get("claim"), str) or len(operators) != 1 or operators[0] not in OPERATORS:
        raise InvalidRules(f"a condition is allOf, anyOf, or a claim with one operator, found {sorted(entry)!r:.120}")
    return Claim(entry["claim"], operators[0], _value(entry[operators[0]], entry["claim"]))


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InvalidRules(f"{name} is a list of at least one condition")
    return value


def _value(value: object, name: str) -> Value:
    """A scalar; the grammar also writes true and false as text."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value, value)
    if isinstance(value, bool | int):
        return value
    raise InvalidRules(f"the value of {name} is text, a number, true or false, found {value!r:.80}")


def _flattened(document: Mapping[str, Any], prefix: str) -> Iterator[Claim]:
    """Each leaf of a token as a claim; of a list each entry, with the list's name."""
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flattened(value, f"{name}.")
        elif isinstance(value, list):
            for entry in value:
                yield from _flattened({key: entry}, prefix)
        elif value is not None:
            yield Claim(name, "equals", _value(value, name))
