"""A tail of a journal grows out of its own beginning, and out of no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.log.entries import JournalTail, SignedTail, TailStep
from sealmarket_oracle.log.tree import Frontier, leaf_hash, root_of

JOB = JobId(keccak(b"job"))
LEAVES = [leaf_hash(bytes([n])) for n in range(20)]


def _tail(size: int, leaves: list[Bytes32]) -> JournalTail:
    return JournalTail(journal=JOB, epoch=1, size=size, root=root_of(leaves[:size]))


def _steps(old: int, new: int) -> TailStep:
    frontier = Frontier()
    for leaf in LEAVES[:old]:
        frontier = frontier.append(leaf)
    signed = SignedTail(tail=_tail(new, LEAVES), signature=HexBytes(bytes(65)))
    return TailStep(tail=signed, old=old, peaks=frontier.peaks, leaves=tuple(LEAVES[old:new]))


@given(st.integers(0, 20), st.integers(0, 20), st.data())
def test_a_tail_grows_out_of_its_own_beginning_and_out_of_no_other(one: int, two: int, data: st.DataObject) -> None:
    old, new = min(one, two), max(one, two)
    step, held = _steps(old, new), _tail(old, LEAVES)
    assert step.grows_from(held)
    assert not step.grows_from(structs.replace(held, journal=ZERO_HASH))
    assert not step.grows_from(structs.replace(held, root=ZERO_HASH))
    assert not structs.replace(step, leaves=(*step.leaves, ZERO_HASH)).grows_from(held)
    assert not structs.replace(step, peaks=(*step.peaks, ZERO_HASH)).grows_from(held)
    other = data.draw(st.integers(0, 20).filter(lambda size: size != old))
    assert not step.grows_from(_tail(other, LEAVES))
    if old:
        place = data.draw(st.integers(0, old - 1))
        forked = [*LEAVES[:place], ZERO_HASH, *LEAVES[place + 1 :]]
        assert not step.grows_from(_tail(old, forked))
