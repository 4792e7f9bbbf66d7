"""An appraisal policy out of conditions that were written for another verifier, and evidence of each image.

The other verifier's policies rarely name an image whole; ours always do. So the user passes evidence of each image that
is meant, and what the conditions say of it is looked up there:

- a claim about what the measurement names (:data:`_FIELDS`) has to hold of it: the measurement then pins it;
- a claim about what an exact measurement always pins, or what is never allowed here, needs no rule (:data:`_IMPLIED`);
- a claim about the platform's level becomes a rule, at least as strict (:func:`_rule`);
- a claim about the token itself (issuer, times, audience) says nothing of the machine, and is passed over.

Every other claim is refused by its name. The resulting policy never accepts evidence that the conditions refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from sealmarket.attestation.core.errors import InvalidRules
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.policy.foreign import AllOf, Claim, Condition, claims_of, without
from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules
from sealmarket.attestation.registry import module_of
from sealmarket_enclave.protocol.codec import Shape, from_builtins
from sealmarket_enclave.protocol.numbers import Tee

_TEES = {
    "sevsnpvm": Tee.SNP,
    "tdxvm": Tee.TDX,
    "sgx": Tee.SGX,
    "GCP_INTEL_TDX": Tee.TDX,
}
_KINDS = ("x-ms-attestation-type", "x-ms-isolation-tee.x-ms-attestation-type", "hwmodel")
_FIELDS: Mapping[Tee, Mapping[str, str]] = {
    Tee.SNP: {
        "launchmeasurement": "launch_digest",
        "hostdata": "host_data",
        "vmpl": "vmpl",
        "idkeydigest": "id_key_digest",
    },
    Tee.SGX: {"mrenclave": "mr_enclave", "mrsigner": "mr_signer", "product-id": "isv_prod_id", "svn": "isv_svn"},
    Tee.TDX: {
        "mrtd": "mr_td",
        "rtmr0": "rtmr0",
        "rtmr1": "rtmr1",
        "rtmr2": "rtmr2",
        "rtmr3": "rtmr3",
        "mrconfigid": "mr_config_id",
        "mrowner": "mr_owner",
        "mrownerconfig": "mr_owner_config",
        "td_attributes": "td_attributes",
        "xfam": "xfam",
    },
}
"""By TEE, claims without their prefix, and the claim of evidence that says the same: measured, but for the id key."""
_PREFIXES = {
    Tee.SNP: ("x-ms-isolation-tee.x-ms-sevsnpvm-", "x-ms-sevsnpvm-"),
    Tee.SGX: ("x-ms-sgx-", "sgx-", ""),
    Tee.TDX: ("x-ms-isolation-tee.tdx_", "tdx_", "tdx."),
}
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
_OF_THE_TOKEN = {"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "eat_nonce", "eat_profile"}
_LEVELS = {"bootloader-svn": "bootloader", "tee-svn": "tee", "snpfw-svn": "snp", "microcode-svn": "microcode"}
_RULES = {Tee.SNP: set(_LEVELS), Tee.TDX: {"attester_tcb_status", "gcp_attester_tcb_status"}}
_ID_KEY = "idkeydigest"


@dataclass(frozen=True, slots=True)
class Imported:
    """The policy; ``notes`` say of each claim that needed no rule why it did not."""

    policy: AppraisalPolicy
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    """Rules that conditions ask for, and notes, as they are gathered."""

    minimum: dict[str, int] = field(default_factory=dict)
    id_keys: set[str] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)

    def and_also(self, more: _Draft) -> None:
        for part, level in more.minimum.items():
            self.minimum[part] = max(level, self.minimum.get(part, 0))
        self.id_keys |= more.id_keys
        self.notes |= more.notes


def import_policy(
    conditions: Condition, evidence: Iterable[Evidence], leave_out: frozenset[str] = frozenset()
) -> Imported:
    """An appraisal policy that names the images of this evidence, and accepts nothing that the conditions refuse.

    Args:
        conditions: what another verifier demanded.
        evidence: of each image that is meant; it is not proven here.
        leave_out: names of claims that the user drops on purpose.

    Raises:
        InvalidRules: a claim that has no place in an appraisal policy, or evidence of which the conditions do not hold.
        EvidenceRefused: the evidence cannot be read.
    """
    kept = without(conditions, leave_out)
    if kept is None:
        raise InvalidRules("nothing is left of the policy", remedy="leave fewer claims out")
    drafts, documents, products = [], [], set()
    for one in evidence:
        claims = module_of(one.tee).claims(one)
        _require_known(kept, one.tee)
        found = _holds(kept, one.tee, claims)
        if isinstance(found, Claim):
            actual = _actual(found, one.tee, claims)
            raise InvalidRules(f"the evidence does not meet the policy: {found}, found {actual!r}")
        drafts.append(found)
        documents.append({"tee": one.tee.slug, **_measurement(one.tee, claims)})
        products.add(str(claims.get("product", "")))
    draft = _together(drafts)
    document = {"measurements": documents, "platforms": "any", "snp": _snp_rules(draft, products - {""})}
    policy = from_builtins(AppraisalPolicy, document)
    check_rules(policy)
    return Imported(policy, tuple(draft.notes))


def _together(drafts: Sequence[_Draft]) -> _Draft:
    """The rules for all images; a rule that fits one alone would admit pairs that the conditions refuse."""
    if not drafts:
        raise InvalidRules("no image is named", remedy="pass evidence of the image that is meant")
    whole = _Draft()
    for one in drafts:
        if one.id_keys != drafts[0].id_keys:
            raise InvalidRules("the images need different id keys", remedy="import each image into a policy of its own")
        whole.and_also(one)
    return whole


def _require_known(conditions: Condition, tee: Tee) -> None:
    unknown = sorted({claim.name for claim in claims_of(conditions) if not _is_known(claim, tee)})
    if unknown:
        options = " ".join(f"--without {name}" for name in unknown)
        raise InvalidRules(
            f"no rule for {tee.slug} evidence says what these claims say: {', '.join(unknown)}",
            remedy=f"leave them out on purpose: {options}",
        )


def _is_known(claim: Claim, tee: Tee) -> bool:
    name = claim.name
    if name in _KINDS or name in _DEBUG or name in _IMPLIED or name in _OF_THE_TOKEN:
        return True
    return _short(name, tee) in {*_FIELDS.get(tee, ()), *_RULES.get(tee, ())}


def _short(name: str, tee: Tee) -> str:
    """A claim's name without the prefix that its TEE gives it."""
    for prefix in _PREFIXES.get(tee, ()):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _holds(condition: Condition, tee: Tee, claims: Mapping[str, Any]) -> _Draft | Claim:
    """The rules under which a condition holds of this evidence; or a claim that does not."""
    if isinstance(condition, Claim):
        return _claim(condition, tee, claims)
    results = [_holds(part, tee, claims) for part in condition.parts]
    failed = next((found for found in results if isinstance(found, Claim)), None)
    if isinstance(condition, AllOf):
        if failed is not None:
            return failed
        whole = _Draft()
        for found in results:
            if isinstance(found, _Draft):
                whole.and_also(found)
        return whole
    first = next((found for found in results if isinstance(found, _Draft)), failed)
    assert first is not None
    return first


def _claim(claim: Claim, tee: Tee, claims: Mapping[str, Any]) -> _Draft | Claim:
    draft = _Draft()
    if claim.name in _OF_THE_TOKEN:
        draft.notes[f"{claim.name}: says nothing of the machine"] = None
    elif claim.name in _IMPLIED:
        draft.notes[f"{claim.name}: {_IMPLIED[claim.name]}"] = None
    elif claim.name in _KINDS or claim.name in _DEBUG or _short(claim.name, tee) in _FIELDS.get(tee, {}):
        if not _compare(claim, _actual(claim, tee, claims)):
            return claim
        if _short(claim.name, tee) == _ID_KEY and claim.operator != "exists":
            draft.id_keys.add(f"0x{claims['id_key_digest']}")
    else:
        _rule(claim, tee, draft)
    return draft


def _actual(claim: Claim, tee: Tee, claims: Mapping[str, Any]) -> object:
    """What this evidence has in the place of a claim."""
    if claim.name in _DEBUG:
        return _DEBUG[claim.name]
    if claim.name in _KINDS:
        return next((name for name, kind in _TEES.items() if kind is tee and name == claim.value), tee.slug)
    return claims.get(_FIELDS.get(tee, {}).get(_short(claim.name, tee), ""))


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


def _rule(claim: Claim, tee: Tee, draft: _Draft) -> None:
    """What a claim about the platform asks of the rules."""
    short = _short(claim.name, tee)
    if short in _LEVELS:
        if claim.operator not in ("greater", "greaterOrEquals") or isinstance(claim.value, str | bool):
            raise InvalidRules(f"{claim}: a level can only be bounded from below", remedy="say greaterOrEquals")
        draft.minimum[_LEVELS[short]] = claim.value + (claim.operator == "greater")
    elif (claim.operator, claim.value) != ("equals", "UpToDate"):
        raise InvalidRules(f"{claim}: only UpToDate can be demanded", remedy="set intel.lowestTcbStatus in the result")
    else:
        draft.notes[f"{claim.name}: UpToDate is the default"] = None


def _measurement(tee: Tee, claims: Mapping[str, Any]) -> dict[str, Any]:
    """The measurement's fields in a document's spelling."""
    kind: type[Shape] = module_of(tee).measurement
    fields = {found.name: found.encode_name for found in structs.fields(kind)}
    return {encoded: _spelled(tee, name, claims[name]) for name, encoded in fields.items()}


def _spelled(tee: Tee, name: str, value: object) -> object:
    if tee is Tee.SNP and name == "policy":
        return "0x" + int(str(value), 16).to_bytes(8, "little").hex()
    return f"0x{value}" if isinstance(value, str) else value


def _snp_rules(draft: _Draft, products: Iterable[str]) -> dict[str, Any]:
    """The section ``snp``. A level is demanded of the products that the evidence shows; others are refused."""
    if any(level > 255 for level in draft.minimum.values()):
        raise InvalidRules("a level of the firmware is at most 255")
    levels = dict.fromkeys(_LEVELS.values(), 0) | draft.minimum
    floors = [{"generation": name, **levels} for name in sorted(products)] if draft.minimum else []
    return {"minimumTcb": floors, "idKeyDigests": sorted(draft.id_keys)}
