"""An owner's policy as its readers use it: the document with its evidence rules, and the pairs that its owner listed.

Pure. Oracle nodes decide by it, and a consumer's quote asks it before anything is signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from typing import TypeVar

from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules, enclaves
from sealmarket.protocol.limits import MAXIMUM_PAIRS, MAXIMUM_POLICY, MAXIMUM_POLICY_VALUES
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.merkle import root as merkle_root
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical, from_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.policy import PolicyDocument

MAXIMUM_REDUCTIONS = 512
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class OwnersPolicy:
    """The policy of one asset: the document, and its evidence rules as a typed shape. One object for each document."""

    document: PolicyDocument
    rules: AppraisalPolicy


def parsed_policy(raw: bytes) -> OwnersPolicy:
    """Parse a policy document.

    Raises:
        MalformedDocument: 3b.
    """
    if len(raw) > MAXIMUM_POLICY:  # what is longer is not remembered either
        raise MalformedDocument(f"a policy has at most {MAXIMUM_POLICY} bytes, found {len(raw)}")
    found = _policy_or_reason(raw)
    if isinstance(found, str):
        raise MalformedDocument(found)
    return found


@lru_cache(maxsize=128)
def _policy_or_reason(raw: bytes) -> OwnersPolicy | str:
    """Cached, refusals too: many jobs use the same document, and each job reads it several times."""
    if (values := raw.count(b",") + 1) > MAXIMUM_POLICY_VALUES:
        return f"a policy has at most {MAXIMUM_POLICY_VALUES} values and commas, found {values}"
    try:
        document = decode_canonical(PolicyDocument, raw)
        rules = from_builtins(AppraisalPolicy, document.evidence)
        check_rules(rules)
    except (MalformedDocument, AttestationError) as error:
        return error.message
    if (pairs := len(enclaves(rules)) * len(document.workloads)) > MAXIMUM_PAIRS:
        return f"a policy allows at most {MAXIMUM_PAIRS} pairs of measurement and workload, found {pairs}"
    return OwnersPolicy(document, rules)


@lru_cache(maxsize=128)
def digest_of(policy: OwnersPolicy) -> Bytes32:
    """The document's digest: each job over its asset asks again."""
    return policy.document.digest()


@lru_cache(maxsize=256)
def reduced_list(policy: OwnersPolicy, allow_root: Bytes32) -> frozenset[Bytes32] | None:
    """The pairs behind a root on chain, if they are the policy's own with some enclaves or workloads left out.

    So an owner who takes an entry off the list has to publish nothing but the new root. Tried while there are at most
    ``MAXIMUM_REDUCTIONS`` ways; otherwise, and for other lists, the store must have the leaves.
    """
    rows = _leaf_rows(policy)
    columns = range(len(policy.document.workloads))
    tries: Iterable[tuple[Sequence[Sequence[Bytes32]], Sequence[int]]] = [(rows, columns)]
    if (1 << len(rows)) * (1 << len(columns)) <= MAXIMUM_REDUCTIONS:
        tries = product(_subsets(rows), _subsets(columns))
    for some_rows, some_columns in tries:
        leaves = frozenset(row[column] for row in some_rows for column in some_columns)
        if merkle_root(leaves) == allow_root:
            return leaves
    return None


def _leaf_rows(policy: OwnersPolicy) -> list[list[Bytes32]]:
    """The leaf of each pair, hashed once: a row for each measurement, a column for each workload."""
    workloads = policy.document.workloads
    digests = [(found.tee, found.digest()) for found in enclaves(policy.rules)]
    return [[allowed_leaf(tee, digest, workload) for workload in workloads] for tee, digest in digests]


def _subsets(entries: Sequence[T]) -> list[tuple[T, ...]]:
    return [some for size in range(len(entries), 0, -1) for some in combinations(entries, size)]
