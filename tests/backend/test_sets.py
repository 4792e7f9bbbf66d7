"""Who is in a set is known from lists of anyone; how much of them is read for one request has a bound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket.protocol import merkle
from sealmarket.protocol.wire import LeafList
from sealmarket_backend import sets as sets_module
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.ledger import Ledger, StoreLimits
from sealmarket_backend.sets import Sets
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, canonical_json
from tests.backend.orders import CONSUMER, account

LEAF = merkle.account_leaf(account(CONSUMER))


class Store:
    """Lists in a store, the sets over it, and of which lists a tree was made."""

    def __init__(self, folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._blobs = Blobs(folder, Ledger(database, StoreLimits(), folder))
        self.sets = Sets(self._blobs)
        self.read = 0

        def counted(leaves: tuple[Bytes32, ...]) -> merkle.Tree:
            self.read += 1
            return merkle.Tree(leaves)

        monkeypatch.setattr(sets_module, "Tree", counted)

    def put(self, number: int) -> Bytes32:
        """A list of two members, of which the consumer is one; some 150 bytes."""
        leaves = tuple(sorted((LEAF, Bytes32(number.to_bytes(32)))))
        root = merkle.root(leaves)
        self._blobs.put(Kind.LISTS, root, canonical_json(LeafList(leaves=leaves)))
        return root


@pytest.fixture
def database() -> Iterator[Database]:
    """In memory alone: what is tested here are files and what is read of them."""
    with Database(None) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(tmp_path, database, monkeypatch)


def test_lists_of_many_sets_are_read_a_bounded_number_of_bytes_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets_module, "LIST_BYTES", 500)
    roots = [bytes(store.put(number)) for number in range(1, 21)]
    looks = 0
    while len(store.sets.admitting(roots, LEAF)) < len(roots):
        looks += 1
        assert store.read <= 3 * looks
    assert looks >= 6
    store.sets.admitting(roots, LEAF)
    assert store.read == len(roots)


def test_what_was_proven_of_a_list_is_not_read_again_when_its_tree_is_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets_module, "_TREE_BYTES", 500)
    roots = [store.put(number) for number in range(1, 11)]
    for root in (*roots, *roots):
        proof = store.sets.prove(root, LEAF)
        assert proof is not None
        assert merkle.verify(root, LEAF, proof)
    assert store.read == len(roots)


def test_orders_are_asked_for_as_far_as_their_lists_can_be_read_and_each_list_counts_once(store: Store) -> None:
    one, two, three, four = (store.put(number) for number in range(1, 5))
    orders = [(one, ZERO_HASH), (one, two), (ZERO_HASH, three), (four, one), (ZERO_HASH, ZERO_HASH), (LEAF, one)]
    kept = store.sets.affordable(orders, lambda order: order, 450)
    assert kept == [orders[0], orders[1], orders[2], orders[4], orders[5]]
    assert store.read == 0
