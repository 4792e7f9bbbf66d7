"""The worst documents that a node takes: each ends in its supplier's row of the fault table, at a bounded cost.

Run as a program (``python -m tests.oracle.test_suppliers``), it prints the table of docs/threat-model.md.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import Mock

import msgspec
import pytest
from msgspec.structs import replace

from sealmarket.attestation.core.certificates import MAXIMUM_CRL
from sealmarket.attestation.policy import owners
from sealmarket.attestation.policy.owners import parsed_policy
from sealmarket.attestation.policy.promises import promise_or_reason
from sealmarket.protocol import merkle
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.limits import (
    MAXIMUM_CAPABILITY,
    MAXIMUM_PACKAGE,
    MAXIMUM_PAIRS,
    MAXIMUM_POLICY,
    MAXIMUM_POLICY_VALUES,
    MAXIMUM_SHARE_SET,
)
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.service.errors import AnswerTooLong
from sealmarket.store.memory import MemoryStore
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, HexBytes, canonical_json, decode_canonical
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters, result_key_names, result_keys_hash
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_oracle.gate import document_rules
from tests.attestation.linear_inputs import BEGIN
from tests.attestation.support import NOW as FORGED_AT
from tests.forge.intel import IntelForge
from tests.oracle.world import LAUNCH, WORKLOAD, Dealt, World, clock, rules, terms

MOST_SECONDS = 5.0
"""Of processor time for one decision: ten times what the worst of these takes on two slow cores."""
LARGEST_DOCUMENT = 8 << 20


def _number(number: int) -> Bytes32:
    return Bytes32(number.to_bytes(32, "big"))


# --- evidence: the provider ---------------------------------------------------------------------------------------


def _shows(edit: Callable[[EvidencePackage], EvidencePackage]) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        package = edit(world.package(world.match(world.publish())))
        world.chain.quote(package.job_id, world.hash_of(package))
        world.post(package)
        world.chain.finalise()

    return arrange


def _quote(raw: bytes) -> Callable[[World], None]:
    return _shows(lambda package: replace(package, quote=HexBytes(raw)))


def _collateral(text: str) -> Callable[[World], None]:
    return _shows(lambda package: replace(package, collateral=text))


def _collateral_part(name: str, value: str) -> Callable[[World], None]:
    return _shows(
        lambda package: replace(
            package, collateral=msgspec.json.encode(msgspec.json.decode(package.collateral) | {name: value}).decode()
        )
    )


def _long_package(world: World) -> None:
    package = world.package(world.match(world.publish()))
    world.chain.quote(package.job_id, world.hash_of(package))
    world.post(package, raw=bytes(MAXIMUM_PACKAGE + 1))
    world.chain.finalise()


def _largest_package(world: World) -> None:
    package = replace(world.package(world.match(world.publish())), collateral=" " * (5 << 20))
    world.chain.quote(package.job_id, keccak(b"another package"))
    world.post(package, posted=keccak(b"another package"))
    world.chain.finalise()


# --- policy, share set, shares, lists: the owner ------------------------------------------------------------------


def _published(world: World, asset: Dealt, policy: bytes | None = None, share_set: bytes | None = None) -> Dealt:
    """Publish once more, with other bytes behind the names in the seal."""
    seal = asset.seal
    if policy is not None:
        seal = replace(seal, policy_hash=world.store.put_document(policy))
    if share_set is not None:
        seal = replace(seal, share_root=world.store.put_document(share_set))
    asset.asset_id, asset.seal = AssetId(keccak(b"another")), seal
    world.chain.publish(asset.asset_id, asset.owner, seal, asset.policy.terms)
    return asset


def _policy(raw: Callable[[Dealt], bytes]) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        asset = world.publish()
        world.match(_published(world, asset, policy=raw(asset)))
        world.quote()

    return arrange


def _share_set(raw: bytes) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.match(_published(world, world.publish(), share_set=raw))
        world.quote()

    return arrange


def _numbers(asset: Dealt) -> bytes:
    evidence = asset.policy.evidence | {"x": [1] * ((MAXIMUM_POLICY - 4096) // 2)}
    return replace(asset.policy, evidence=evidence).canonical()


def _values(asset: Dealt) -> bytes:
    evidence = asset.policy.evidence | {"x": [1] * (MAXIMUM_POLICY_VALUES - 1024)}
    return replace(asset.policy, evidence=evidence).canonical()


def _nested(_: Dealt) -> bytes:
    return (b'"' + b'\\"' * (MAXIMUM_POLICY // 2) + b"\\" + b"[" * 65)[-MAXIMUM_POLICY:]


def _pairs(measurements: int, workloads: int) -> Callable[[World], None]:
    """A policy of so many measurements and workloads, while another list is in force on chain."""

    def arrange(world: World) -> None:
        base = tdx_measurement(LAUNCH)
        listed = (base, *(replace(base, mr_td=Bytes48(n.to_bytes(48, "big"))) for n in range(1, measurements)))
        named = (WORKLOAD, *map(_number, range(1, workloads)))
        on_chain = terms(allow_root=keccak(b"another list"))
        asset = world.publish(evidence=rules(measurements=listed), workloads=named, chain_terms=on_chain)
        world.match(asset)
        world.quote()

    return arrange


def _large_share(world: World) -> None:
    world.match(world.publish(edit_sealed=lambda sealed: [bytes(LARGEST_DOCUMENT) for _ in sealed]))
    world.quote()


def _consumers(world: World) -> None:
    listed = frozenset(map(_number, range(60_000)))
    root = merkle.root(listed)
    world.store.lists[root] = listed
    world.match(world.publish(policy_terms=terms(consumer_root=root), chain_terms=terms()))
    world.quote()


class _TooLong(MemoryStore):
    """A store in which what was put under some names is longer than a node reads."""

    def __init__(self, names: set[Bytes32]) -> None:
        super().__init__()
        self.names = names

    def find_document(self, name: Bytes32) -> bytes | None:
        self._refuse(name)
        return super().find_document(name)

    def find_leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        self._refuse(root)
        return super().find_leaves(root)

    def find_parameters(self, request_hash: Bytes32, digest: Bytes32) -> Parameters | None:
        self._refuse(digest)
        return super().find_parameters(request_hash, digest)

    def _refuse(self, name: Bytes32) -> None:
        if name in self.names:
            raise AnswerTooLong("store", "document", LARGEST_DOCUMENT)


def _too_long(which: Callable[[World, Dealt], Bytes32]) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        store = _TooLong(set())
        vars(store).update(vars(world.store))
        world.store = store
        asset = world.publish()
        world.match(asset)
        world.quote()
        store.names.add(which(world, asset))

    return arrange


# --- parameters, result key: the consumer -------------------------------------------------------------------------


def _large_result_key(world: World) -> None:
    key = bytes(LARGEST_DOCUMENT)
    world.store.put_document(key)
    world.store.put_document(result_key_names([key]))
    world.match(world.publish(), result_keys_hash=result_keys_hash([key]))
    world.quote()


CASES: dict[str, tuple[str, Callable[[World], None], Outcome]] = {
    "a quote of 60,000 blanks": ("provider", _quote(b" " * 60_000 + b"!"), Outcome.PLATFORM_REFUSED),
    "a quote of 1 MiB": ("provider", _quote(b"\x04" * (1 << 20)), Outcome.PLATFORM_REFUSED),
    "a quote whose PCK chain never ends": (
        "provider",
        _quote(IntelForge(FORGED_AT).tdx_quote(chain_type=5, chain=BEGIN * 2000)),
        Outcome.PLATFORM_REFUSED,
    ),
    "collateral of chains that never end": (
        "provider",
        _collateral_part("tcb_info_issuer_chain", BEGIN.decode() * 2000),
        Outcome.PLATFORM_REFUSED,
    ),
    "collateral with two CRLs of 1 MiB": (
        "provider",
        _collateral_part("pck_crl", "30" * MAXIMUM_CRL),
        Outcome.PLATFORM_REFUSED,
    ),
    "collateral of 4 MiB of brackets": ("provider", _collateral("[" * (4 << 20)), Outcome.PLATFORM_REFUSED),
    "collateral of 5 MiB": ("provider", _collateral(" " * (5 << 20)), Outcome.PLATFORM_REFUSED),
    "a package of more than 6 MiB": ("provider", _long_package, Outcome.EVIDENCE_WITHHELD),
    "a package of 5 MiB, not the right one": ("provider", _largest_package, Outcome.EVIDENCE_WITHHELD),
    "a policy of 500,000 numbers": ("owner", _policy(_numbers), Outcome.INPUT_REFUSED),
    "a policy of 32,000 numbers": ("owner", _policy(_values), Outcome.INPUT_REFUSED),
    "a policy that is one string without an end": ("owner", _policy(_nested), Outcome.INPUT_REFUSED),
    "a policy of 8 MiB": ("owner", _policy(lambda _: b"[" * LARGEST_DOCUMENT), Outcome.INPUT_REFUSED),
    "a policy of 65 x 64 pairs": ("owner", _pairs(65, 64), Outcome.INPUT_REFUSED),
    "a policy of 64 x 64 pairs, another list on chain": ("owner", _pairs(64, 64), Outcome.REQUEST_REFUSED),
    "a policy of 900 measurements": ("owner", _pairs(900, 4), Outcome.REQUEST_REFUSED),
    "a share set of 8 MiB": ("owner", _share_set(b"{" * LARGEST_DOCUMENT), Outcome.INPUT_REFUSED),
    "a share set at its bound": (
        "owner",
        _share_set(canonical_json({"members": ["0x"] * (MAXIMUM_SHARE_SET // 5 - 9)})),
        Outcome.INPUT_REFUSED,
    ),
    "a sealed share of 8 MiB": ("owner", _large_share, Outcome.INPUT_REFUSED),
    "a list of 60,000 consumers": ("owner", _consumers, Outcome.INPUT_REFUSED),
    "a policy that no node reads": ("owner", _too_long(lambda _, asset: asset.seal.policy_hash), Outcome.INPUT_REFUSED),
    "a share set that no node reads": (
        "owner",
        _too_long(lambda _, asset: asset.seal.share_root),
        Outcome.INPUT_REFUSED,
    ),
    "parameters that no node reads": (
        "consumer",
        _too_long(lambda world, _: world.spec.parameters_digest),
        Outcome.REQUEST_REFUSED,
    ),
    "a result key that no node reads": (
        "consumer",
        _too_long(lambda world, _: world.spec.result_keys_hash),
        Outcome.REQUEST_REFUSED,
    ),
    "a result key of 8 MiB": ("consumer", _large_result_key, Outcome.REQUEST_REFUSED),
}


def decide(world: World) -> tuple[Outcome, float]:
    """What a node decides once half of the window has passed, and the processor time of its longest turn."""
    owners._policy_or_reason.cache_clear()
    document_rules._share_set_or_reason.cache_clear()
    node = world.node()
    longest = 0.0
    for _ in range(2):
        started = time.process_time()
        node.tick()
        longest = max(longest, time.process_time() - started)
        status = node.status(world.job_id)
        assert "unexpected" not in status.reason
        if status.decision is not None:
            return status.decision.decision.outcome, longest
        world.chain.mine(3, seconds=200)
    raise AssertionError(f"no decision: {status.reason}")


@pytest.mark.parametrize("what", CASES)
def test_the_worst_document_ends_in_its_suppliers_row_at_a_bounded_cost(what: str, world: World) -> None:
    _, arrange, expected = CASES[what]
    arrange(world)
    outcome, seconds = decide(world)
    assert outcome is expected
    assert seconds < MOST_SECONDS


def test_a_node_hashes_each_allowed_pair_once_for_all_reductions_and_jobs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Mock(side_effect=merkle.allowed_leaf)
    monkeypatch.setattr(owners, "allowed_leaf", counted)
    _pairs(4, 5)(world)
    (raw,) = (raw for raw in world.store.documents.values() if b"sealmarket/policy/1" in raw)
    policy = parsed_policy(raw)
    for _ in range(3):
        assert owners.reduced_list(policy, keccak(b"another list")) is None
    assert counted.call_count == 20


@pytest.mark.parametrize("what", ["a policy of 8 MiB", "a share set of 8 MiB", "a sealed share of 8 MiB"])
def test_a_document_that_is_too_long_does_not_stay_in_memory(what: str, world: World) -> None:
    CASES[what][1](world)
    (name,) = (name for name, raw in world.store.documents.items() if len(raw) == LARGEST_DOCUMENT)
    held = sys.getrefcount(world.store.documents[name])
    decide(world)  # whose node, with the documents that it holds, is gone
    gc.collect()
    still = sys.getrefcount(world.store.documents[name])  # here, since pytest holds what an assertion names
    assert still == held


def test_a_capability_document_that_is_too_long_does_not_stay_in_memory() -> None:
    raw = bytes(MAXIMUM_CAPABILITY + 1)
    held = sys.getrefcount(raw)
    assert "at most" in str(promise_or_reason(raw))
    still = sys.getrefcount(raw)
    assert still == held


def test_a_refusal_of_a_document_is_computed_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Mock(side_effect=decode_canonical)
    monkeypatch.setattr(owners, "decode_canonical", counted)
    CASES["a policy of 32,000 numbers"][1](world)
    decide(world)
    assert [call.args[0] for call in counted.call_args_list].count(PolicyDocument) == 1


def test_the_bound_of_pairs_is_the_largest_policy_that_is_read() -> None:
    assert MAXIMUM_PAIRS == 64 * 64


def _table() -> None:
    with TemporaryDirectory() as folder:
        device = VirtualTdx(Path(folder) / "device", clock)
        for number, (what, (supplier, arrange, outcome)) in enumerate(CASES.items()):
            (Path(folder) / str(number)).mkdir()
            with closing(World(device, Path(folder) / str(number))) as world:
                arrange(world)
                _, seconds = decide(world)
            print(f"| {what} | {supplier} | {outcome.name} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    _table()
