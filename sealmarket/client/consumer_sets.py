"""Paths into the consumer sets of a service's assets: for a tab, and for nodes before they name an account."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from sealmarket.chain import ChainError, ChainReader
from sealmarket.protocol.merkle import Tree, account_leaf
from sealmarket.service.errors import ServiceError
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.job import JobSpec

log = logging.getLogger(__name__)
Paths = tuple[tuple[tuple[Bytes32, ...], ...], ...]
"""For each account a path into each asset's consumer set; nothing where every set is open."""


class LeavesStore(Protocol):
    """Where the lists behind Merkle roots are."""

    def find_leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        """The leaves behind a root, held against it. Raises :class:`ServiceError`."""


class ConsumerSets:
    """The consumer sets of the terms in force. A list is fetched once for each root."""

    def __init__(self, chain: ChainReader, store: LeavesStore | None, spec: JobSpec) -> None:
        self._chain, self._store, self._spec = chain, store, spec
        self._trees: dict[Bytes32, Tree] = {}

    def paths(self, accounts: Sequence[Address]) -> Paths:
        """For each account its path into each set, empty where it is in none; nothing where every set is open."""
        try:
            roots = self._roots()
        except ChainError as error:
            log.warning("the consumer sets cannot be read now: %s", error)
            return ()
        if all(root == ZERO_HASH for root in roots):
            return ()
        self._trees = {root: tree for root, tree in self._trees.items() if root in roots}
        trees = [self._tree(root) for root in roots]
        return tuple(tuple(_path(tree, account_leaf(account)) for tree in trees) for account in accounts)

    def _roots(self) -> list[Bytes32]:
        view = self._chain.at(self._chain.final())
        return [view.asset(use.asset_id, use.version).terms.consumer_root for use in self._spec.assets]

    def _tree(self, root: Bytes32) -> Tree | None:
        if root == ZERO_HASH or self._store is None:
            return None
        if root not in self._trees:
            try:
                leaves = self._store.find_leaves(root)
            except ServiceError as error:
                log.warning("the consumer set %s cannot be fetched now: %s", root, error)
                return None
            if leaves is None:
                return None
            self._trees[root] = Tree(leaves)
        return self._trees[root]


def _path(tree: Tree | None, leaf: Bytes32) -> tuple[Bytes32, ...]:
    return tree.proof(leaf) if tree is not None and leaf in tree else ()
