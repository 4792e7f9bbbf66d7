"""Secret parameters: values that no host sees, each sealed as an asset of the consumer's own, for one use.

A parameter of a job is bound and not hidden (ADR 8). A value that must stay secret goes in as an input: the workload
names a slot for it, and the consumer publishes the value under a policy that admits one job only: one use, this
workload and purpose, itself as the only consumer, and the enclaves of its own rules that every owner admits. Its title
says nothing of the value; its size is public, as that of every container.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from msgspec import structs

from sealmarket.attestation.policy.rules import AppraisalPolicy, enclaves
from sealmarket.chain import AssetState
from sealmarket.client.approvals import policy_of
from sealmarket.client.assets import HistoryReader, asset_state
from sealmarket.client.draft import DraftTerms, PolicyDraft, PurposeName
from sealmarket.client.errors import RequestInvalid, UnknownAsset, WaitedTooLong
from sealmarket.client.owner import Owner
from sealmarket.client.requests import AssetWish, Wanted
from sealmarket.client.sealed_asset import SealedAsset
from sealmarket.client.stopping import pause
from sealmarket.protocol.orders import Purpose
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Address, Wei, canonical_json, from_builtins, to_builtins
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Timestamp
from sealmarket_enclave.protocol.policy import PolicyDocument

MAXIMUM_SECRET = 16 << 20
"""Bytes of one value."""
LIFE_SECONDS = 7 * 86_400
"""For how long after its request a value may still be used."""
FINALITY_SECONDS = 1800.0
_POLL_SECONDS = 0.5
_TITLE = "A consumer's own value, for one job"


def with_slots(wanted: Wanted, made: Mapping[str, AssetWish]) -> Wanted:
    """What is wanted, with assets in the workload's slots of these names, among the others in their order.

    Raises:
        RequestInvalid: the workload has no slot for one asset of such a name.
        ParametersRefused: too few or too many assets for the slots.
    """
    names = wanted.workload.manifest.input_names(len(wanted.assets) + len(made))
    if missing := sorted(set(made) - set(names)):
        raise RequestInvalid(
            f"the workload has no input for one asset of the name {missing[0]}", f"its inputs are {', '.join(names)}"
        )
    others = iter(wanted.assets)
    return replace(wanted, assets=[made[name] if name in made else next(others) for name in names])


def secret_draft(
    own: AppraisalPolicy, policies: Sequence[PolicyDocument], wanted: Wanted, consumer: Address, now: int
) -> PolicyDraft:
    """The policy of a value that is used beside the assets of these policies, and nowhere else.

    ``own`` are the consumer's rules: owners and provider together must not choose the image that reads its value. Of
    its images those remain that every owner admits.

    Raises:
        RequestInvalid: none remains.
    """
    shared = set(enclaves(own))
    for policy in policies:
        shared &= set(enclaves(from_builtins(AppraisalPolicy, policy.evidence)))
    if not shared:
        raise RequestInvalid(
            "no enclave that you trust is admitted by all owners of the assets", "ask owners which image they admit"
        )
    images = tuple(one for one in own.measurements if one in shared or one not in enclaves(own))
    limits = wanted.limits
    return PolicyDraft(
        title=_TITLE,
        evidence=to_builtins(structs.replace(own, measurements=images)),
        workloads=(wanted.workload.digest,),
        terms=DraftTerms(
            price=Wei(0),
            expiry=Timestamp(now + limits.valid_for + LIFE_SECONDS),
            max_uses=1,
            purposes=(_name(wanted.purpose),),
            min_grade=own.lowest_grade,
            token=limits.token,
            consumers=(consumer,),
        ),
        output=policies[0].output,
        data_card={"title": _TITLE},
    )


class SecretParameters:
    """Seals and publishes values by an owner's account, which is the consumer's, and waits until they are final."""

    def __init__(
        self, owner: Owner, chain: HistoryReader, store: Store, folder: Path, pause: Callable[[float], None] = pause
    ) -> None:
        self._owner, self._chain, self._store = owner, chain, store
        self._folder, self._pause = folder, pause

    def seal(self, wanted: Wanted, values: Mapping[str, bytes], rules: AppraisalPolicy) -> Wanted:
        """What is wanted with these values in the workload's slots, for enclaves that meet the consumer's own rules.

        A value that an earlier call published for the same and that no job has used goes on in place of a new one.

        Raises:
            RequestInvalid: a slot that the workload has not, a value that is too long, or owners who share no enclave.
            ClientError, ChainError: as publishing raises.
            WaitedTooLong: what was published is not final in time; do it again.
        """
        placeholder = AssetWish(asset_id=wanted.assets[0].asset_id)
        with_slots(wanted, dict.fromkeys(values, placeholder))
        head = self._chain.head()
        policies = [policy_of(self._chain, self._store, head, one.asset_id, one.version) for one in wanted.assets]
        draft = secret_draft(rules, policies, wanted, self._owner.address, head.timestamp)
        made = {name: self._asset(name, value, draft, wanted) for name, value in values.items()}
        self._until_final(self._chain.head().number)
        return with_slots(wanted, made)

    def _asset(self, name: str, value: bytes, draft: PolicyDraft, wanted: Wanted) -> AssetWish:
        if not 0 < len(value) <= MAXIMUM_SECRET:
            raise RequestInvalid(f"{name} has {len(value)} bytes", f"a secret value has 1 to {MAXIMUM_SECRET}")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        bought = [(str(one.asset_id), one.version) for one in wanted.assets]
        about: list[Any] = [
            name,
            value.hex(),
            str(wanted.workload.digest),
            int(wanted.purpose),
            str(self._owner.address),
            bought,
        ]
        about += [draft.evidence]
        stem = keccak(canonical_json(about)).hex()[:32]
        now = self._chain.head().timestamp
        for number in itertools.count():
            folder = self._folder / f"{stem}-{number}"
            sealed = _loaded(folder) if folder.exists() else self._sealed(value, draft, folder)
            if sealed is None:
                continue  # a call was interrupted while it sealed
            state = self._state(sealed)
            if state is None:
                self._owner.publish(sealed)
            if state is None or not _is_used(state, now):
                return AssetWish(asset_id=sealed.asset_id, version=sealed.version, max_price=Wei(0))
        raise AssertionError("numbers end nowhere")

    def _sealed(self, value: bytes, draft: PolicyDraft, folder: Path) -> SealedAsset:
        return self._owner.seal(value, draft, folder, confirm_unencrypted_key=True)

    def _state(self, sealed: SealedAsset) -> AssetState | None:
        try:
            return asset_state(self._chain, self._chain.head(), sealed.asset_id, sealed.version)
        except UnknownAsset:
            return None

    def _until_final(self, number: int) -> None:
        deadline = time.monotonic() + FINALITY_SECONDS
        while self._chain.final().number < number:
            if time.monotonic() > deadline:
                raise WaitedTooLong(
                    "the secret parameter to be final", FINALITY_SECONDS, "the chain finalises no block"
                )
            self._pause(_POLL_SECONDS)


def _loaded(folder: Path) -> SealedAsset | None:
    try:
        return SealedAsset.load(folder)
    except (OSError, SealmarketError):
        return None


def _is_used(state: AssetState, now: int) -> bool:
    """Whether no later job can use it. What runs holds its use, which returns where the job was not accepted."""
    terms = state.terms
    return state.revoked or state.suspended or now >= terms.expiry - LIFE_SECONDS or state.uses_taken >= terms.max_uses


def _name(purpose: Purpose) -> PurposeName:
    return cast("PurposeName", purpose.name.lower()) if purpose.name else "train"
