"""Which generations a salt names, and that no salt is made twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sealmarket.protocol.salts import Generations, generations_of, new_salt

U32 = st.integers(0, 2**32 - 1)


@given(U32, U32)
def test_a_salt_names_the_generations_that_it_was_made_with(signer: int, payer: int) -> None:
    assert generations_of(new_salt(Generations(signer, payer))) == (signer, payer)


def test_the_signer_is_in_bits_192_to_223_and_the_payer_above() -> None:
    assert new_salt(Generations(5, 7)) >> 192 == 7 << 32 | 5
    assert generations_of(9 << 224 | 3 << 192 | 1) == Generations(3, 9)


def test_two_salts_of_one_generation_differ() -> None:
    assert new_salt(Generations(1)) != new_salt(Generations(1))
