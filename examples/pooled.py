"""One model over two owners' data: python examples/pooled.py WORKLOAD OUT KEY:DATA:POLICY KEY:DATA:POLICY CONSUMER_KEY

Each KEY:DATA:POLICY is an owner: its account, its rows, its policy draft. Each seals at home under its own key; neither
sees the other's rows, and the consumer sees none. Here all three sit in one process; outside of a trial each runs on a
machine of its own (`examples/owner.py`, `examples/consumer.py`), and only the ids of the assets are passed on.
"""

import sys
from pathlib import Path

from sealmarket.client import (
    AssetId,
    AssetWish,
    Consumer,
    Grade,
    JobLimits,
    Market,
    Owner,
    coin,
    create_result_key,
    load_account,
)


def publish(market: Market, named: str, folder: Path) -> AssetId:
    """What one owner does."""
    key, data, policy = map(Path, named.split(":"))
    owner = Owner.at(market, load_account(key))
    return owner.seal_and_publish(data, policy, folder, confirm_unencrypted_key=True).asset_id


def main(workload: Path, out: Path, owners: list[str], consumer_key: Path) -> None:
    """Publish twice, and train once over both."""
    with Market.open() as market:
        assets = [publish(market, named, out / f"sealed-{place}") for place, named in enumerate(owners)]
        consumer = Consumer.at(market, load_account(consumer_key))
        consumer.deposit(coin("5"))
        key = create_result_key(out / "result.key", confirm_unencrypted=True)
        wishes = [AssetWish(asset_id=asset) for asset in assets]
        limits = JobLimits(max_compute_price=coin("0.2"), min_grade=Grade.SIMULATED)
        result = consumer.request_and_fetch(workload, {}, wishes, limits, key)
    for path in result.save(out):
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:5], Path(sys.argv[5]))
