"""Properties: what holds for every order of events, every set of findings, every reduction of a list."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.attestation.policy.owners import OwnersPolicy, reduced_list
from sealmarket.chain.model import Block
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.merkle import root as merkle_root
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.agreement import terms_differences
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import BlockNumber, JobId, Tee
from sealmarket_enclave.protocol.policy import CommitteeRef, OutputRules, PolicyDocument
from sealmarket_enclave.protocol.terms import Terms
from sealmarket_oracle.errors import PromiseConflict
from sealmarket_oracle.journal import Journal, JournalIdentity, NewPromise
from sealmarket_oracle.mark import TailMark
from tests.oracle.world import CHAIN_ID, LAUNCH, MARKET, OTHER_LAUNCH, rules, terms

JOBS = [JobId(Bytes32(bytes([n]) * 32)) for n in range(2)]
BLOCK = Block(BlockNumber(1), JOBS[0], 1, JOBS[1])
WORKLOADS = [Bytes32(bytes([n]) * 32) for n in range(1, 4)]


def _journal(path: Path) -> Journal:
    identity = JournalIdentity(
        chain_id=CHAIN_ID, market=MARKET, signer=Address(b"\x01" * 20), hpke_key=JOBS[0], epoch=1, name=JOBS[1]
    )
    return Journal(path, identity, TailMark(path.with_suffix(".mark")))


PROMISES = st.builds(
    NewPromise, st.sampled_from(JOBS), st.sampled_from(["release", "stop"]), st.binary(max_size=3), st.just(BLOCK)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.none() | st.lists(PROMISES, min_size=1, max_size=4), max_size=8))
def test_the_first_promise_for_a_job_stands_under_every_order_and_crash(
    steps: list[list[NewPromise] | None],
) -> None:
    """A step is a crash, or promises that are made together: all of them, or none."""
    first: dict[JobId, NewPromise] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        journal = opened.enter_context(_journal(Path(folder) / "journal"))
        for together in steps:
            if together is None:
                journal.close()
                journal = opened.enter_context(_journal(Path(folder) / "journal"))
                continue
            then = first.copy()
            if any(then.setdefault(one.job_id, one).kind != one.kind for one in together):
                with pytest.raises(PromiseConflict):
                    journal.promise(*together)
                continue
            first, again = then, [*together, together[0]]
            assert journal.promise(*again) == [first[one.job_id].body for one in again]
        for job in JOBS:
            held = first.get(job)
            assert journal.promised(job) == ((held.kind, held.body) if held else None)
        entries = journal.entries(0, len(JOBS) + 1)
        assert [entry.job_id for entry in entries] == list(first)
        assert [journal.promise_size(entry.job_id) for entry in entries] == list(range(1, len(first) + 1))


def _policy(workloads: list[Bytes32]) -> OwnersPolicy:
    document = PolicyDocument(
        asset_id=JOBS[0],  # type: ignore[arg-type] # any 32 bytes do
        asset_version=1,
        title="",
        evidence={},
        workloads=tuple(workloads),
        terms=terms(),
        output=OutputRules(media_types=("a/b",), max_outputs=1, max_bytes=1, bucket_bytes=1),
        dealing=CommitteeRef(epoch=1, threshold=2, members=3),
        data_card=Bytes32(bytes(32)),
    )
    return OwnersPolicy(document, rules(measurements=(tdx_measurement(LAUNCH), tdx_measurement(OTHER_LAUNCH))))


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.sampled_from(WORKLOADS), min_size=1),
    st.sets(st.sampled_from([LAUNCH, OTHER_LAUNCH]), min_size=1),
    st.sampled_from(WORKLOADS),
    st.sampled_from([LAUNCH, OTHER_LAUNCH]),
)
def test_a_reduced_list_holds_exactly_the_pairs_that_were_left_in(
    kept: set[Bytes32], launches: set[object], workload: Bytes32, launch: object
) -> None:
    digest = {found: tdx_measurement(found).digest() for found in (LAUNCH, OTHER_LAUNCH)}
    on_chain = merkle_root(allowed_leaf(Tee.TDX, digest[k], w) for k in digest if k in launches for w in kept)
    found = reduced_list(_policy(WORKLOADS), on_chain)
    assert found is not None
    leaf = allowed_leaf(Tee.TDX, tdx_measurement(LAUNCH if launch == LAUNCH else OTHER_LAUNCH).digest(), workload)
    assert (leaf in found) == (workload in kept and launch in launches)


@given(st.binary(min_size=32, max_size=32))
def test_no_other_root_is_taken_for_a_reduced_list(root: bytes) -> None:
    assert reduced_list(_policy(WORKLOADS[:1]), Bytes32(root)) is None


_FIELDS = st.fixed_dictionaries(
    {
        "expiry": st.integers(1, 5),
        "max_uses": st.integers(1, 5),
        "purposes": st.integers(1, 15),
        "max_hold": st.integers(1, 5),
        "timeout_share": st.integers(0, 5),
    }
)


@given(_FIELDS, _FIELDS)
def test_terms_pass_as_a_projection_only_where_none_of_them_is_looser(
    on_chain: dict[str, int], in_policy: dict[str, int]
) -> None:
    chain: Terms = replace(terms(), **on_chain)
    policy: Terms = replace(terms(), **in_policy)
    tighter = (
        chain.expiry <= policy.expiry
        and chain.max_uses <= policy.max_uses
        and chain.purposes & policy.purposes == chain.purposes
        and chain.max_hold <= policy.max_hold
        and chain.timeout_share >= policy.timeout_share
    )
    assert (not list(terms_differences(chain, policy))) == tighter
