"""The rules of one market, as its address book and its chain tell them."""

from __future__ import annotations

import time
from functools import lru_cache

from sealmarket.chain import ChainReader
from sealmarket.protocol.fitting import Rules
from sealmarket_enclave.protocol.codec import Address

_TOKENS_REMEMBERED = 256
_ENDS_REMEMBERED_SECONDS = 10
"""An end is announced at least a notice ahead (seconds on a laptop's market), and the market refuses for itself."""


def rules_of(chain: ChainReader) -> Rules:
    """What the market demands of every match.

    Fees are read when they are asked for, once: they are fixed for good. Ends of epochs are read again after seconds;
    of an epoch that the address book lacks none is known, since an owner may name any number of those in its seals.
    ``fee_of`` and ``ends_of`` of the result may raise :class:`ChainError`.
    """

    @lru_cache(maxsize=_TOKENS_REMEMBERED)
    def fee_of(token: Address) -> int | None:
        fee = chain.at(chain.head()).signature_fee(token)
        return None if fee is None else int(fee)

    committees = {committee.epoch: committee for committee in chain.book.committees}
    ends: dict[int, tuple[float, int]] = {}

    def ends_of(epoch: int) -> int:
        if epoch not in committees:
            return 0
        read_at, found = ends.get(epoch, (0.0, 0))
        now = time.monotonic()
        if epoch not in ends or now - read_at > _ENDS_REMEMBERED_SECONDS:
            found = chain.at(chain.head()).epoch_end(epoch)
            ends[epoch] = (now, found)
        return found

    return Rules(timing=chain.book.timing, committees=committees, fee_of=fee_of, ends_of=ends_of)
