"""An appraisal policy out of conditions that were written for another verifier, and evidence of each image.

The other verifier's policies rarely name an image whole; ours always do. So the user passes evidence of each image that
is meant, and what the conditions say of it is looked up there:

- a claim about what the measurement names (``ForeignClaims.measured``) has to hold of it: the measurement then pins it;
- a claim about what an exact measurement always pins, or what is never allowed here, needs no rule (:data:`_IMPLIED`);
- a claim about the platform's level or a key becomes a rule, at least as strict (``ForeignClaims.levels``, ``keys``);
- a claim about the token itself (issuer, times, audience) says nothing of the machine, and is passed over.

Every other claim is refused by its name. The resulting policy never accepts evidence that the conditions refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from sealmarket.attestation.core.errors import InvalidRules
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.core.tee import ForeignClaims, TeeModule
from sealmarket.attestation.policy.foreign import AllOf, Claim, Condition, claims_of, without
from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules
from sealmarket.attestation.registry import module_of
from sealmarket_enclave.protocol.codec import Shape, from_builtins

_KINDS = ("x-ms-attestation-type", "x-ms-isolation-tee.x-ms-attestation-type", "hwmodel")
_DEBUG = {
    "x-ms-sevsnpvm-is-debuggable": False,
    "x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable": False,
    "x-ms-sgx-is-debuggable": False,
    "is-debuggable": False,
    "tdx_td_attributes_debug": False,
    "x-ms-isolation-tee.tdx_td_attributes_debug": False,
    "dbgstat": "disabled-since-boot",
}
_IMPLIED = {
    "x-ms-compliance-status": "the image is named exactly, not judged by Azure's list",
    "x-ms-isolation-tee.x-ms-compliance-status": "the image is named exactly, not judged by Azure's list",
    "secboot": "the measurement pins the boot",
    "swname": "the measurement pins the system",
    "swversion": "the measurement pins the system",
    "oemid": "the measurement pins the system",
    "attester_tcb": "the vendor's own root is pinned",
    "submods.confidential_space.support_attributes": "the measurement pins the system",
}
_MAXIMUM_LEVEL = 255
_OF_THE_TOKEN = {"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "eat_nonce", "eat_profile"}


@dataclass(frozen=True, slots=True)
class Imported:
    """The policy; ``notes`` say of each claim that needed no rule why it did not."""

    policy: AppraisalPolicy
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    """Rules that conditions ask for, and notes, as they are gathered."""

    levels: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def and_also(self, more: _Draft) -> None:
        for part, level in more.levels.items():
            self.levels[part] = max(level, self.levels.get(part, 0))
        self.keys |= more.keys
        self.notes |= more.notes


@dataclass(frozen=True, slots=True)
class _Image:
    """Evidence of one image: what it claims, and how other verifiers name that."""

    module: TeeModule
    claims: Mapping[str, Any]

    @property
    def foreign(self) -> ForeignClaims:
        return self.module.foreign

    def section(self, draft: _Draft) -> dict[str, Any]:
        """The vendor's rules that a draft asks for."""
        floor = self.module.floor(self.claims, draft.levels) if draft.levels else {}
        return {**floor, **{name: [value] for name, value in draft.keys.items()}}


def import_policy(
    conditions: Condition, evidence: Iterable[Evidence], leave_out: frozenset[str] = frozenset()
) -> Imported:
    """An appraisal policy that names the images of this evidence, and accepts nothing that the conditions refuse.

    Args:
        conditions: what another verifier demanded.
        evidence: of each image that is meant; it is not proven here.
        leave_out: names of claims that the user drops on purpose.

    Raises:
        InvalidRules: a claim that has no place in an appraisal policy, evidence of which the conditions do not hold, or
            images that need different rules.
        EvidenceRefused: the evidence cannot be read.
    """
    kept = without(conditions, leave_out)
    if kept is None:
        raise InvalidRules("nothing is left of the policy", remedy="leave fewer claims out")
    notes: dict[str, None] = {}
    measurements, sections = [], dict[str, dict[str, Any]]()
    for one in evidence:
        image = _Image(module_of(one.tee), module_of(one.tee).claims(one))
        _require_known(kept, image)
        draft = _holds(kept, image)
        if isinstance(draft, Claim):
            raise InvalidRules(f"the evidence does not meet the policy: {draft}, found {_actual(draft, image)!r}")
        notes |= draft.notes
        measurements.append({"tee": one.tee.slug, **_measurement(image)})
        if sections.setdefault(image.module.section, image.section(draft)) != image.section(draft):
            raise InvalidRules(
                "the images need different rules: together they would admit what the conditions refuse",
                remedy="import each image into a policy of its own",
            )
    if not measurements:
        raise InvalidRules("no image is named", remedy="pass evidence of the image that is meant")
    rules = {section: found for section, found in sections.items() if found}
    policy = from_builtins(AppraisalPolicy, {"measurements": measurements, "platforms": "any", **rules})
    check_rules(policy)
    return Imported(policy, tuple(notes))


def _require_known(conditions: Condition, image: _Image) -> None:
    unknown = sorted({claim.name for claim in claims_of(conditions) if not _is_known(claim.name, image.foreign)})
    if unknown:
        options = " ".join(f"--without {name}" for name in unknown)
        raise InvalidRules(
            f"no rule for {image.module.tee.slug} evidence says what these claims say: {', '.join(unknown)}",
            remedy=f"leave them out on purpose: {options}",
        )


def _is_known(name: str, foreign: ForeignClaims) -> bool:
    if name in _KINDS or name in _DEBUG or name in _IMPLIED or name in _OF_THE_TOKEN:
        return True
    return foreign.short(name) in {*foreign.measured, *foreign.keys, *foreign.levels, *foreign.statuses}


def _holds(condition: Condition, image: _Image) -> _Draft | Claim:
    """The rules under which a condition holds of this image; or a claim that does not."""
    if isinstance(condition, Claim):
        return _claim(condition, image)
    results = [_holds(part, image) for part in condition.parts]
    failed = next((found for found in results if isinstance(found, Claim)), None)
    drafts = [found for found in results if isinstance(found, _Draft)]
    if failed is not None and (isinstance(condition, AllOf) or not drafts):
        return failed
    whole = _Draft()
    for found in drafts if isinstance(condition, AllOf) else drafts[:1]:
        whole.and_also(found)
    return whole


def _claim(claim: Claim, image: _Image) -> _Draft | Claim:
    draft, foreign, short = _Draft(), image.foreign, image.foreign.short(claim.name)
    if claim.name in _OF_THE_TOKEN:
        draft.notes[f"{claim.name}: says nothing of the machine"] = None
    elif claim.name in _IMPLIED:
        draft.notes[f"{claim.name}: {_IMPLIED[claim.name]}"] = None
    elif short in foreign.levels:
        draft.levels[foreign.levels[short]] = _least(claim)
    elif short in foreign.statuses:
        if (claim.operator, claim.value) != ("equals", "UpToDate"):
            raise InvalidRules(f"{claim}: only UpToDate can be demanded", remedy="edit the result's lowestTcbStatus")
        draft.notes[f"{claim.name}: UpToDate is the default"] = None
    elif not _compare(claim, _actual(claim, image)):
        return claim
    elif short in foreign.keys:
        source, name = foreign.keys[short]
        draft.keys[name] = f"0x{image.claims[source]}"
    return draft


def _least(claim: Claim) -> int:
    """The lowest level that a claim lets pass."""
    if claim.operator not in ("greater", "greaterOrEquals") or isinstance(claim.value, str | bool):
        raise InvalidRules(f"{claim}: a level can only be bounded from below", remedy="say greaterOrEquals")
    least = claim.value + (claim.operator == "greater")
    if not 0 <= least <= _MAXIMUM_LEVEL:
        raise InvalidRules(f"{claim}: a level of the firmware is 0 to {_MAXIMUM_LEVEL}")
    return least


def _actual(claim: Claim, image: _Image) -> object:
    """What this evidence has in the place of a claim."""
    if claim.name in _DEBUG:
        return _DEBUG[claim.name]
    if claim.name in _KINDS:
        return claim.value if claim.value in image.foreign.kinds else image.module.tee.slug
    short = image.foreign.short(claim.name)
    sources = {**image.foreign.measured, **{key: source for key, (source, _) in image.foreign.keys.items()}}
    return image.claims.get(sources.get(short, ""))


def _compare(claim: Claim, actual: object) -> bool:
    wanted = claim.value
    if claim.operator == "exists":
        return (actual is not None) is (wanted is not False)
    if isinstance(actual, int) and not isinstance(actual, bool):
        return _compare_numbers(claim, actual)
    same = _plain(actual) == _plain(wanted)
    if claim.operator in ("equals", "notEquals"):
        return same is (claim.operator == "equals")
    raise InvalidRules(f"{claim} compares by size what is no number")


def _compare_numbers(claim: Claim, actual: int) -> bool:
    try:
        wanted = int(claim.value)
    except ValueError as error:
        raise InvalidRules(f"{claim} compares a number with {claim.value!r}") from error
    return {
        "equals": actual == wanted,
        "notEquals": actual != wanted,
        "less": actual < wanted,
        "lessOrEquals": actual <= wanted,
        "greater": actual > wanted,
        "greaterOrEquals": actual >= wanted,
    }[claim.operator]


def _plain(value: object) -> object:
    return value.lower().removeprefix("0x") if isinstance(value, str) else value


def _measurement(image: _Image) -> dict[str, Any]:
    """The measurement's fields in a document's spelling."""
    kind: type[Shape] = image.module.measurement
    return {found.encode_name: _spelled(found, image.claims[found.name]) for found in structs.fields(kind)}


def _spelled(found: structs.FieldInfo, value: object) -> object:
    """Bytes as ``0x`` and hex; a number that the measurement holds as bytes is little-endian."""
    if not isinstance(value, str):
        return value
    if value.startswith("0x"):
        value = int(value, 16).to_bytes(found.type.length, "little").hex()
    return f"0x{value}"
