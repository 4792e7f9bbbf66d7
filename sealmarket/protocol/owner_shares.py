"""What each owner gets of a sum for several: as `_payOwners` in `contracts/market/Endings.sol` divides it."""

from __future__ import annotations

from collections.abc import Collection

from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.protocol.job import JobSpec


def owner_shares(spec: JobSpec, places: Collection[int], total: int) -> dict[int, Wei]:
    """``total`` by the place of each paid asset, in proportion to the prices.

    The rounding of each is made up for by the next, so that all together get exactly ``total``.
    """
    owed = sum(int(use.price) for place, use in enumerate(spec.assets) if place in places)
    shares, passed, paid = {}, 0, 0
    for place, use in enumerate(spec.assets):
        if place not in places:
            continue
        passed += int(use.price)
        due = passed * total // owed if owed else 0
        shares[place], paid = Wei(due - paid), due
    return shares
