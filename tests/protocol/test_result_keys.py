"""How a job names its result keys, and how a policy demands some."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sealmarket_enclave.protocol.codec import HexBytes, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import MAX_RESULT_KEYS, key_names, result_key_names, result_keys_hash
from sealmarket_enclave.protocol.policy import PolicyDocument
from tests.client.bundles import Case

KEYS = [b"key %d" % number for number in range(MAX_RESULT_KEYS + 1)]


def test_the_hash_is_over_the_hashes_of_the_keys_in_their_order() -> None:
    assert result_keys_hash(KEYS[:2]) == keccak(keccak(KEYS[0]) + keccak(KEYS[1]))
    assert result_keys_hash(KEYS[1::-1]) != result_keys_hash(KEYS[:2])


@pytest.mark.parametrize("keys", [[], KEYS])
def test_no_key_and_more_than_eight_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(MalformedDocument, match="1 to 8 result keys"):
        result_keys_hash(keys)


def test_the_one_key_is_read_from_its_list_and_several_are_none() -> None:
    assert key_names(result_key_names(KEYS[:2])) == (keccak(KEYS[0]), keccak(KEYS[1]))


def test_a_policy_may_demand_result_keys_and_name_a_notice_key() -> None:
    demanding = replace(Case().policy, result_keys=(keccak(KEYS[0]),), notice_key=HexBytes(KEYS[1]))
    assert decode_canonical(PolicyDocument, demanding.canonical()).result_keys == demanding.result_keys
    assert demanding.digest() != Case().policy.digest()
    with pytest.raises(MalformedDocument):
        decode_canonical(PolicyDocument, replace(Case().policy, result_keys=(keccak(b""),) * 9).canonical())
