"""The rules of one market, as its address book and its chain tell them."""

from __future__ import annotations

from functools import lru_cache

from sealmarket.chain import ChainReader
from sealmarket.protocol.fitting import Rules
from sealmarket_enclave.protocol.codec import Address

_TOKENS_REMEMBERED = 256


def rules_of(chain: ChainReader) -> Rules:
    """What the market demands of every match. Fees are read when they are asked for, once: they are fixed for good.

    ``fee_of`` of the result may raise :class:`ChainError`.
    """

    @lru_cache(maxsize=_TOKENS_REMEMBERED)
    def fee_of(token: Address) -> int | None:
        fee = chain.at(chain.head()).signature_fee(token)
        return None if fee is None else int(fee)

    committees = {committee.epoch: committee for committee in chain.book.committees}
    return Rules(timing=chain.book.timing, committees=committees, fee_of=fee_of)
