"""Fetches what the gate looks at: documents by their names, and the evidence that was sealed to this node."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from sealmarket.attestation.policy.owners import parsed_policy
from sealmarket.protocol.book import Committee
from sealmarket.protocol.limits import MAXIMUM_PACKAGE
from sealmarket.protocol.orders import Quote
from sealmarket.protocol.wire import EvidenceEnvelope, EvidencePackage
from sealmarket.sealing.contexts import EvidenceInfo
from sealmarket.service.errors import AnswerTooLong
from sealmarket.store.interface import NodeStore
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, Parameters, evidence_hash, key_names
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_oracle.errors import ShareMisdealt
from sealmarket_oracle.gate.document_rules import load_share_set
from sealmarket_oracle.gate.inputs import AppraisalInput, AssetFacts, EvidenceUnavailable, JobDocuments, MarketRef
from sealmarket_oracle.gate.step_rules import readable_steps

_log = logging.getLogger("sealmarket.oracle")
MAXIMUM_ENVELOPES = 16
"""Envelopes that are tried for one job. Those that the provider signed come first (:func:`open_evidence`)."""
MAXIMUM_LISTED = 256
"""Envelopes whose signature is looked at. A store keeps what the provider signed, so it has few."""
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
        share_sets: dict[Bytes32, bytes] = {}
        sealed: dict[Bytes32, bytes] = {}
        lists: dict[Bytes32, frozenset[Bytes32]] = {}
        cards: dict[Bytes32, bytes] = {}
        for asset in assets:
            if (raw := self._document(asset.seal.policy_hash)) is not None:
                policies[asset.seal.policy_hash] = raw
                lists |= self._lists(asset, raw)
                cards |= self._card(raw)
            if (raw := self._document(asset.seal.share_root)) is not None:
                share_sets[asset.seal.share_root] = raw
                sealed |= self._own_share(market, committee, index, asset, raw)
        return JobDocuments(policies=policies, share_sets=share_sets, sealed_shares=sealed, lists=lists, cards=cards)

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
        bundles = {spec.workload_digest, *_steps(documents, assets)}
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

    def _own_share(
        self, market: MarketRef, committee: Committee, index: int, asset: AssetFacts, raw: bytes
    ) -> dict[Bytes32, bytes]:
        try:
            name = load_share_set(market, asset, committee, raw).members[index].sealed
        except ShareMisdealt:
            return {}  # the gate refuses the share set and names the difference
        found = self._document(name)
        return {name: found} if found is not None else {}

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


def _steps(documents: JobDocuments, assets: Sequence[AssetFacts]) -> Iterator[Bytes32]:
    """The steps that owners name, as far as their documents read."""
    for asset in assets:
        raw = documents.policies.get(asset.seal.policy_hash)
        try:
            policy = parsed_policy(raw).document if raw is not None else None
        except MalformedDocument:
            policy = None  # the gate refuses it with the reason
        if policy is not None:
            yield from readable_steps(policy, documents.cards.get(policy.data_card))


def _unless_too_long(name: Bytes32, find: Callable[[Bytes32], T | None]) -> T | None:
    """What a store has under a name. Content that is too long to read counts as absent: its author made it so."""
    try:
        return find(name)
    except AnswerTooLong as error:
        _log.warning("%s counts as absent: %s", name, error.message)
        return None


def posted_evidence(store: NodeStore, job_id: JobId) -> tuple[EvidenceEnvelope, ...]:
    """The envelopes that were posted for a job. A list that is too long counts as empty: only the provider extends it.

    Raises:
        ServiceError: as :meth:`DocumentCache.fetch`.
    """
    try:
        return store.evidence(job_id)
    except AnswerTooLong as error:
        _log.warning("job %s: its evidence counts as withheld: %s", job_id, error.message)
        return ()


def open_evidence(
    case: AppraisalInput, envelopes: Sequence[EvidenceEnvelope], private: PrivateKey
) -> EvidencePackage | EvidenceUnavailable:
    """The evidence whose hash is on chain, from the envelopes that were posted for the job. Pure.

    An envelope that does not open with this node's key, or hashes to another value, does not hold that evidence.
    """
    if not envelopes:
        return EvidenceUnavailable("nothing was posted for this job")
    why = "nothing for this evidence hash and epoch"
    listed = envelopes[:MAXIMUM_LISTED]
    for envelope in sorted(listed, key=lambda e: not _by_provider(case.market, case.spec, e))[:MAXIMUM_ENVELOPES]:
        about = (envelope.job_id, envelope.evidence_hash, envelope.epoch)
        if about != (case.job_id, case.evidence_hash, case.spec.epoch):
            continue
        if len(envelope.sealed) != len(case.committee.members):
            why = f"{len(envelope.sealed)} sealed packages for {len(case.committee.members)} nodes"
            continue
        found = open_package(case, bytes(envelope.sealed[case.index]), private)
        if isinstance(found, EvidencePackage):
            return found
        why = found.why
    return EvidenceUnavailable(why)


def open_package(case: AppraisalInput, sealed: bytes, private: PrivateKey) -> EvidencePackage | EvidenceUnavailable:
    """The evidence in one sealed package, if its hash is the one on chain. Pure."""
    if len(sealed) > MAXIMUM_PACKAGE:
        return EvidenceUnavailable(f"a sealed package has at most {MAXIMUM_PACKAGE} bytes, found {len(sealed)}")
    try:
        raw = private.open(sealed, evidence_context(case.market, case.job_id, case.spec.epoch, private.public.digest))
        package = decode_canonical(EvidencePackage, raw)
    except NotOpened:
        return EvidenceUnavailable("the package was not sealed to this node's key for this job")
    except MalformedDocument as error:
        return EvidenceUnavailable(f"what was sealed is not an evidence package: {error.message[:200]}")
    found = evidence_hash(package.quote, package.enclave_signer, keccak(package.enclave_key), package.block_hash)
    if package.job_id != case.job_id or found != case.evidence_hash:
        return EvidenceUnavailable(f"a package for job {package.job_id} that hashes to {found}")
    return package


def with_promise(documents: JobDocuments, spec: JobSpec, shown: EvidencePackage | EvidenceUnavailable) -> JobDocuments:
    """The same documents, with the capability document that the provider shows where the store has none. Pure."""
    if documents.capability is not None or isinstance(shown, EvidenceUnavailable):
        return documents
    brought = bytes(shown.capability)
    return replace(documents, capability=brought) if keccak(brought) == spec.capability_hash else documents


def evidence_context(market: MarketRef, job_id: JobId, epoch: int, key: Bytes32) -> EvidenceInfo:
    """The context under which a provider seals evidence to the node with an HPKE key of this digest."""
    return EvidenceInfo(chain_id=market.chain_id, market=market.address, job_id=job_id, epoch=epoch, hpke_key=key)


def _by_provider(market: MarketRef, spec: JobSpec, envelope: EvidenceEnvelope) -> bool:
    digest = Quote(job_id=envelope.job_id, evidence_hash=envelope.evidence_hash).digest(market.chain_id, market.address)
    try:
        return recover(digest, envelope.signature) == spec.provider
    except SignatureRefused:
        return False
