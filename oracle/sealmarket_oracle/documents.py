"""Fetches what the gate looks at: documents by their names, and the evidence that was sealed to this node."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from sealmarket.attestation.policy.owners import parsed_policy
from sealmarket.protocol.book import Committee
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.sealing.evidence import About, SealedEvidence, read_evidence
from sealmarket.service.errors import AnswerTooLong
from sealmarket.store.interface import NodeStore
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, Parameters, evidence_hash, key_names
from sealmarket_enclave.protocol.numbers import JobId, Kind
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_oracle.errors import ShareMisdealt
from sealmarket_oracle.gate.document_rules import load_share_set
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    AssetFacts,
    EvidenceOpened,
    EvidenceUnavailable,
    JobDocuments,
    MarketRef,
)
from sealmarket_oracle.gate.step_rules import readable_steps

_log = logging.getLogger("sealmarket.oracle")
_CACHED_BYTES = 64 << 20
_CACHED_LEAVES = 250_000
_CACHED_NAMES = 10_000
_CACHED_PARAMETERS = 256
T = TypeVar("T")
V = TypeVar("V", bytes, frozenset[Bytes32])


class _Held(Generic[V]):
    """Content by its name; the least recently used goes once there is more than ``limit`` (bytes, or leaves)."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._items: OrderedDict[Bytes32, V] = OrderedDict()

    def get(self, name: Bytes32, find: Callable[[Bytes32], V | None]) -> V | None:
        """What is held, or else found now and held from now on."""
        if (held := self._items.get(name)) is not None:
            self._items.move_to_end(name)
            return held
        found = find(name)
        if found is not None:
            self._items[name] = found
            self._size += len(found)
            while self._size > self._limit:
                _, dropped = self._items.popitem(last=False)
                self._size -= len(dropped)
        return found


class DocumentCache:
    """Fetches documents and keeps those that were present, since content under a hash does not change."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._held: _Held[bytes] = _Held(_CACHED_BYTES)
        self._leaves: _Held[frozenset[Bytes32]] = _Held(_CACHED_LEAVES)
        self._present: OrderedDict[Bytes32, None] = OrderedDict()
        self._parameters_held: OrderedDict[Bytes32, Parameters] = OrderedDict()

    def fetch(self, market: MarketRef, committee: Committee, index: int, assets: Sequence[AssetFacts]) -> JobDocuments:
        """All documents of one job that the store has. What is absent is left out.

        Raises:
            ServiceError: the store gave no usable answer, which is not the same as "it is not there".
        """
        policies: dict[Bytes32, bytes] = {}
        lists: dict[Bytes32, frozenset[Bytes32]] = {}
        cards: dict[Bytes32, bytes] = {}
        for asset in assets:
            if (raw := self._document(asset.seal.policy_hash)) is not None:
                policies[asset.seal.policy_hash] = raw
                lists |= self._lists(asset, raw)
                cards |= self._card(raw)
        shares = self.fetch_shares(market, committee, index, assets)
        return replace(shares, policies=policies, lists=lists, cards=cards)

    def fetch_shares(
        self, market: MarketRef, committee: Committee, index: int, assets: Sequence[AssetFacts]
    ) -> JobDocuments:
        """Of the same documents, the share sets and this node's sealed shares: all that a release takes.

        Raises:
            ServiceError: as :meth:`fetch`.
        """
        share_sets: dict[Bytes32, bytes] = {}
        sealed: dict[Bytes32, bytes] = {}
        for asset in assets:
            if (raw := self._document(asset.seal.share_root)) is None:
                continue
            share_sets[asset.seal.share_root] = raw
            try:
                name = load_share_set(market, asset, committee, raw).members[index].sealed
            except ShareMisdealt:
                continue  # the gate refuses the share set and names the difference
            if (found := self._document(name)) is not None:
                sealed[name] = found
        return JobDocuments(share_sets=share_sets, sealed_shares=sealed)

    def with_materials(self, documents: JobDocuments, spec: JobSpec, assets: Sequence[AssetFacts]) -> JobDocuments:
        """The same documents, with what else the job names and the store has. What was present once is assumed to stay.

        Raises:
            ServiceError: as :meth:`fetch`.
        """
        has, parameters = self._store.has, self._parameters(spec)
        result_keys = self._result_keys(spec)
        present = {spec.result_keys_hash} if result_keys else set()
        roots = {asset.seal.content_root for asset in assets}
        present |= {root for root in roots if self._seen(root, lambda root: has("containers", root))}
        bundles = {spec.workload_digest, *_steps(documents, assets, spec.kind)}
        present |= {digest for digest in bundles if self._seen(digest, lambda digest: has("workloads", digest))}
        if parameters is not None:
            present.add(spec.parameters_digest)
        named = spec.capability_hash
        capability = self._document(named) if named != ZERO_HASH else None
        return replace(
            documents,
            present=frozenset(present),
            result_keys=result_keys,
            capability=capability,
            parameters=parameters.values if parameters is not None else None,
        )

    def _result_keys(self, spec: JobSpec) -> tuple[bytes, ...]:
        """The job's result keys, in order; none unless the store has the list and all of them."""
        names = self._document(spec.result_keys_hash)
        found = [self._document(name) for name in key_names(names)] if names is not None else []
        return tuple(key for key in found if key is not None) if None not in found else ()

    def _parameters(self, spec: JobSpec) -> Parameters | None:
        """What the request's parameters are; of one digest they are the same for good."""
        if (held := self._parameters_held.get(spec.request_hash)) is not None:
            return held
        digest = spec.parameters_digest
        found = _unless_too_long(spec.request_hash, lambda name: self._store.find_parameters(name, digest))
        if found is not None:
            self._parameters_held[spec.request_hash] = found
            while len(self._parameters_held) > _CACHED_PARAMETERS:
                self._parameters_held.popitem(last=False)
        return found

    def _seen(self, name: Bytes32, has: Callable[[Bytes32], bool]) -> bool:
        if name in self._present:
            return True
        if not has(name):
            return False
        self._present[name] = None
        while len(self._present) > _CACHED_NAMES:
            self._present.popitem(last=False)
        return True

    def _lists(self, asset: AssetFacts, raw: bytes) -> dict[Bytes32, frozenset[Bytes32]]:
        try:
            terms = parsed_policy(raw).document.terms
        except MalformedDocument:
            return {}  # the gate refuses the policy with the reason
        wanted = set()
        if asset.state.terms.allow_root != terms.allow_root:  # the gate may not need it (reduced_list)
            wanted.add(asset.state.terms.allow_root)
        if terms.consumer_root not in (ZERO_HASH, asset.state.terms.consumer_root):
            wanted.add(terms.consumer_root)
        found = {root: self._list(root) for root in wanted}
        return {root: leaves for root, leaves in found.items() if leaves is not None}

    def _card(self, raw: bytes) -> dict[Bytes32, bytes]:
        """The data card that a policy names, if there is one."""
        try:
            name = parsed_policy(raw).document.data_card
        except MalformedDocument:
            return {}  # the gate refuses the policy with the reason
        found = self._document(name) if name != ZERO_HASH else None
        return {name: found} if found is not None else {}

    def _list(self, root: Bytes32) -> frozenset[Bytes32] | None:
        return self._leaves.get(root, lambda root: _unless_too_long(root, self._store.find_leaves))

    def _document(self, name: Bytes32) -> bytes | None:
        return self._held.get(name, lambda name: _unless_too_long(name, self._store.find_document))


def _steps(documents: JobDocuments, assets: Sequence[AssetFacts], kind: Kind) -> Iterator[Bytes32]:
    """The steps that owners name, as far as their documents read."""
    for asset in assets:
        raw = documents.policies.get(asset.seal.policy_hash)
        try:
            policy = parsed_policy(raw).document if raw is not None else None
        except MalformedDocument:
            policy = None  # the gate refuses it with the reason
        if policy is not None:
            yield from readable_steps(policy, documents.cards.get(policy.data_card), kind)


def _unless_too_long(name: Bytes32, find: Callable[[Bytes32], T | None]) -> T | None:
    """What a store has under a name. Content that is too long to read counts as absent: its author made it so."""
    try:
        return find(name)
    except AnswerTooLong as error:
        _log.warning("%s counts as absent: %s", name, error.message)
        return None


def stored_evidence(store: NodeStore, job_id: JobId, evidence_hash: Bytes32) -> bytes | None:
    """The sealed package that the store has for a job's evidence hash. One that is too long counts as absent.

    Raises:
        ServiceError: as :meth:`DocumentCache.fetch`.
    """
    return _unless_too_long(evidence_hash, lambda name: store.find_evidence(job_id, name))


def open_evidence(case: AppraisalInput, raw: bytes | None, private: PrivateKey) -> EvidenceOpened | EvidenceUnavailable:
    """The evidence in a sealed package, if its provider signed that and its hash is the one on chain. Pure."""
    if raw is None:
        return EvidenceUnavailable("nothing was posted for this job and evidence hash")
    try:
        sealed = read_evidence(raw)
        if not signed_by(sealed, case.spec.provider, case.market):
            return EvidenceUnavailable("a package that the job's provider did not sign")
        if (left_out := _left_out(sealed, case.committee)) is not None:
            return EvidenceUnavailable(f"a package that is not sealed to node {left_out} of the committee")
        package = decode_canonical(EvidencePackage, sealed.opened(private, _about(case)))
    except NotOpened as error:
        return EvidenceUnavailable(f"the package does not open with this node's key: {error.message}")
    except MalformedDocument as error:
        return EvidenceUnavailable(f"what was posted is not an evidence package: {error.message[:200]}")
    found = evidence_hash(package.quote, package.enclave_signer, keccak(package.enclave_key), package.block_hash)
    if package.job_id != case.job_id or found != case.evidence_hash:
        return EvidenceUnavailable(f"a package for job {package.job_id} that hashes to {found}")
    readers = frozenset(reader for reader, _ in sealed.wraps)
    return EvidenceOpened(package=package, content=sealed.content_hash, readers=readers)


def signed_by(sealed: SealedEvidence, provider: Address, market: MarketRef) -> bool:
    """Whether an account signed every byte of a package. A contract's account cannot."""
    seal = EvidenceSeal(job_id=sealed.job_id, evidence_hash=sealed.evidence_hash, sealed_hash=sealed.sealed_hash)
    try:
        return recover(seal.digest(market.chain_id, market.address), HexBytes(sealed.signature)) == provider
    except SignatureRefused:
        return False


def with_promise(documents: JobDocuments, spec: JobSpec, shown: EvidenceOpened | EvidenceUnavailable) -> JobDocuments:
    """The same documents, with the capability document that the provider shows where the store has none. Pure."""
    if documents.capability is not None or isinstance(shown, EvidenceUnavailable):
        return documents
    brought = bytes(shown.package.capability)
    return replace(documents, capability=brought) if keccak(brought) == spec.capability_hash else documents


def _left_out(sealed: SealedEvidence, committee: Committee) -> int | None:
    """The first place of a committee whose member is not among a package's readers."""
    readers = {reader for reader, _ in sealed.wraps}
    members = enumerate(committee.members)
    return next((place for place, member in members if keccak(member.hpke_public_key) not in readers), None)


def _about(case: AppraisalInput) -> About:
    return About(
        chain_id=case.market.chain_id,
        market=case.market.address,
        job_id=case.job_id,
        evidence_hash=case.evidence_hash,
        epoch=case.spec.epoch,
    )
