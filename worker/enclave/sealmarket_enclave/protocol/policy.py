"""The owner's policy for one version of an asset: one document, one digest, bound into the key shares.

It holds the evidence rules, the workloads, the terms and the output rules. What the chain enforces is its projection
(:class:`.terms.Terms`). An enclave or workload must be allowed by the policy under which the
shares were made *and* by the terms in force on chain, so a change on chain can only tighten.

The ``evidence`` part is the document of ``sealmarket.attestation.policy.rules.AppraisalPolicy``. Its readers are
the verifiers of evidence: the oracle nodes, the owner who writes it, the auditor. An enclave does not read it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Shape, Uint64, Wei, canonical_json
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import MAX_RESULT_KEYS
from sealmarket_enclave.protocol.numbers import U32, AssetId, Positive8, Positive32
from sealmarket_enclave.protocol.session import Endpoint
from sealmarket_enclave.protocol.terms import Terms

MAX_VALIDATORS = 8
"""Most validators of one policy."""
MAX_JOB_VALIDATORS = 32
"""Most different validators of one job, over all its owners: each is a bundle that its enclave is given."""
MAX_WITHHELD = 500
"""Most rows of a thousand that are withheld from a workload: it learns from half of them at least."""
MAX_AUDITORS = 2
"""Most auditors of one policy: evidence of a job over 16 assets is sealed to all of theirs."""
MediaType = Annotated[str, Meta(pattern=r"\A[a-z]+/[a-z0-9.+-]{1,100}\Z")]


class PolicyRefused(SealmarketError):
    """A policy says something that could never hold, or says two things at once."""


class TooManyValidators(PolicyRefused):
    """The owners of a job name more different validators than a job has."""

    def __init__(self, found: int) -> None:
        super().__init__(
            f"the owners name {found} different validators, a job has at most {MAX_JOB_VALIDATORS}",
            remedy="use fewer assets in one job, or assets whose owners name the same validators",
        )


class Validator(Shape, frozen=True, kw_only=True):
    """A step that must pass before an output of ``media_type`` leaves (:mod:`sealmarket_enclave.protocol.steps`).

    ``digest`` is its workload digest, ``rules`` what it is given beside the output. ``data``: it is given the owner's
    own data too, as the workload had it.

    ``withheld``: so many rows of a thousand of the owner's table are withheld from the workload, and this validator is
    given them beside those that the workload had; absent for none. It then has the data whatever ``data`` says.
    """

    media_type: MediaType
    digest: Bytes32
    rules: dict[str, Any]
    data: bool = False
    withheld: Annotated[int, Meta(ge=1, le=MAX_WITHHELD)] | UnsetType = UNSET

    @property
    def withholds(self) -> int:
        """How many rows of a thousand it demands to be withheld from the workload; 0 for none."""
        return 0 if self.withheld is UNSET else self.withheld

    @property
    def takes_data(self) -> bool:
        """Whether it is given the owner's data."""
        return self.data or self.withholds > 0

    @property
    def rules_text(self) -> bytes:
        """The rules as the step reads them: canonical JSON."""
        return canonical_json(self.rules)


class OutputRules(Shape, frozen=True, kw_only=True):
    """What may leave the enclave. Over several assets the strictest of each holds (:func:`strictest`).

    ``bucket_bytes``: results are padded to a multiple of this, since a size tells too.
    ``minimum_owners``: the least number of different owners whose data a job must pool; 1 for no demand.
    ``validators``: absent for none; see :attr:`checks`.
    """

    media_types: Annotated[tuple[str, ...], Meta(min_length=1)]
    max_outputs: Positive8
    max_bytes: Annotated[int, Meta(ge=1, le=1 << 40)]
    bucket_bytes: Annotated[int, Meta(ge=1, le=1 << 24)]
    minimum_owners: Positive8 = 1
    privacy: Literal["exact", "dp"] = "exact"
    validators: Annotated[tuple[Validator, ...], Meta(min_length=1, max_length=MAX_VALIDATORS)] | UnsetType = UNSET

    @property
    def checks(self) -> tuple[Validator, ...]:
        """The validators, all of which must pass."""
        return () if self.validators is UNSET else self.validators

    @property
    def withholds(self) -> int:
        """How many rows of a thousand are withheld from the workload: the most that a validator demands, 0 for none."""
        return max((check.withholds for check in self.checks), default=0)


class Serving(Shape, frozen=True, kw_only=True):
    """Under which terms a service may answer from the asset. Over several assets the strictest of each holds.

    ``per_unit`` is the least royalty for a unit, ``max_lease`` the most units that may be served and not yet redeemed.
    A request may cost up to ``max_prompt_units`` and ``max_answer_units`` together. ``meter`` is the digest of the step
    that counts prompts and answers. Without one the workload counts, and each started ``unit_bytes`` bytes of an answer
    cost at least one unit.
    """

    per_unit: Wei
    max_lease: Uint64
    max_prompt_units: Uint64
    max_answer_units: Uint64
    unit_bytes: Positive32
    endpoints: Annotated[tuple[Endpoint, ...], Meta(min_length=1, max_length=16)]
    meter: Bytes32 | UnsetType = UNSET

    @property
    def max_units(self) -> int:
        """The most that one request may cost."""
        return self.max_prompt_units + self.max_answer_units


class CommitteeRef(Shape, frozen=True, kw_only=True):
    """A committee by its epoch and size: ``threshold`` of ``members`` nodes."""

    epoch: U32
    threshold: Positive8
    members: Positive8


class PolicyDocument(Shape, frozen=True, kw_only=True):
    """Everything that an owner demands for one version of an asset.

    ``result_keys`` are the Keccak-256 hashes of HPKE keys of the owner that must be among a job's result keys.
    ``notice_key`` is the HPKE public key to which notices for the owner are sealed. Without ``serving`` the asset takes
    part in no service. ``auditors`` are HPKE public keys: the evidence of each job is sealed to them as well.
    """

    version: Literal["sealmarket/policy/1"] = "sealmarket/policy/1"
    asset_id: AssetId
    asset_version: U32
    title: str
    evidence: dict[str, Any]
    workloads: Annotated[tuple[Bytes32, ...], Meta(min_length=1)]
    terms: Terms
    output: OutputRules
    dealing: CommitteeRef
    data_card: Bytes32
    result_keys: Annotated[tuple[Bytes32, ...], Meta(max_length=MAX_RESULT_KEYS)] = ()
    notice_key: HexBytes | None = None
    serving: Serving | UnsetType = UNSET
    auditors: Annotated[tuple[HexBytes, ...], Meta(min_length=1, max_length=MAX_AUDITORS)] | UnsetType = UNSET

    @property
    def evidence_readers(self) -> tuple[bytes, ...]:
        """The keys of its auditors."""
        return () if self.auditors is UNSET else self.auditors

    def digest(self) -> Bytes32:
        """``policyHash``: Keccak-256 over the canonical document."""
        return keccak(self.canonical())


def strictest(rules: tuple[OutputRules, ...]) -> OutputRules:
    """The output rules of a job over several assets: of each rule, the strictest.

    Raises:
        PolicyRefused: no rules, owners whose rules leave no output that all of them allow, or too many validators.
    """
    if not rules:
        raise PolicyRefused("a job without assets has no output rules", remedy="name at least one asset")
    common = set(rules[0].media_types).intersection(*(rule.media_types for rule in rules))
    if not common:
        raise PolicyRefused("the owners allow no output format in common", remedy="ask them to allow one format")
    checks = _conjunction(rules)
    if len(checks) > MAX_JOB_VALIDATORS:
        raise TooManyValidators(len(checks))
    return OutputRules(
        media_types=tuple(sorted(common)),
        max_outputs=min(rule.max_outputs for rule in rules),
        max_bytes=min(rule.max_bytes for rule in rules),
        bucket_bytes=max(rule.bucket_bytes for rule in rules),
        minimum_owners=max(rule.minimum_owners for rule in rules),
        privacy="dp" if any(rule.privacy == "dp" for rule in rules) else "exact",
        validators=checks or UNSET,
    )


def strictest_serving(rules: tuple[Serving, ...]) -> Serving:
    """The serving rules of a service over several assets: of each rule the strictest, and one meter for all or none.

    Raises:
        PolicyRefused: no rules, no endpoint that all owners allow, or owners that do not name the same meter.
    """
    if not rules:
        raise PolicyRefused("a service without assets has no serving rules", remedy="name at least one asset")
    common = set(rules[0].endpoints).intersection(*(rule.endpoints for rule in rules))
    if not common:
        raise PolicyRefused("the owners allow no endpoint in common", remedy="ask them to allow one endpoint")
    if len({rule.meter for rule in rules}) > 1:
        raise PolicyRefused("the owners name different meters", remedy="ask them to name the same meter")
    return Serving(
        per_unit=max(rule.per_unit for rule in rules),
        max_lease=min(rule.max_lease for rule in rules),
        max_prompt_units=min(rule.max_prompt_units for rule in rules),
        max_answer_units=min(rule.max_answer_units for rule in rules),
        unit_bytes=min(rule.unit_bytes for rule in rules),
        endpoints=tuple(sorted(common)),
        meter=rules[0].meter,
    )


def _conjunction(rules: tuple[OutputRules, ...]) -> tuple[Validator, ...]:
    """All validators of all owners, each once, in the order of the assets."""
    return tuple({check.canonical(): check for rule in rules for check in rule.checks}.values())
