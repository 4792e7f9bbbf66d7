"""Several jobs side by side with asyncio: python examples/asynchronous.py WORKLOAD RESULT_KEY ASSET [ASSET ...]

One job over each ASSET, all at once, and one that is cancelled while it waits: its request is voided, and charges
nothing. Prints the id of each job that brought a result.
"""

import asyncio
import sys
from pathlib import Path

from sealmarket.client import (
    AssetWish,
    AsyncConsumer,
    Bytes32,
    Grade,
    JobLimits,
    JobResult,
    PrivateKey,
    coin,
    create_result_key,
)

NO_SUCH_MACHINE = Bytes32(b"none" * 8)
LIMITS = JobLimits(max_compute_price=coin("0.2"), min_grade=Grade.SIMULATED)
UNMET = JobLimits(max_compute_price=coin("0.2"), min_grade=Grade.SIMULATED, capabilities=(NO_SUCH_MACHINE,))


async def one_job(consumer: AsyncConsumer, workload: Path, asset: AssetWish, key: PrivateKey) -> JobResult:
    """One job, from the request to the result."""
    return await consumer.request_and_fetch(workload, {}, [asset], LIMITS, key)


async def give_up(consumer: AsyncConsumer, workload: Path, asset: AssetWish, key: PrivateKey) -> None:
    """Wait for a match that no offer makes, for five seconds; then void the request."""
    handle = await consumer.request(workload, {}, [asset], UNMET, key)
    try:
        async with asyncio.timeout(5):
            await consumer.wait_match(handle)
    except TimeoutError:
        voided = await consumer.cancel_unless_matched(handle)
        print(f"request {handle.request_hash} {'voided' if voided else 'matched after all'}", file=sys.stderr)


async def main(workload: Path, key_file: Path, assets: list[str]) -> None:
    """All of them at once."""
    key = create_result_key(key_file, confirm_unencrypted=True)
    wishes = [AssetWish.parse(asset) for asset in assets]
    async with AsyncConsumer.connect() as consumer:
        await consumer.deposit(coin("5"))
        async with asyncio.TaskGroup() as together:
            jobs = [together.create_task(one_job(consumer, workload, wish, key)) for wish in wishes]
            together.create_task(give_up(consumer, workload, wishes[0], key))
    for job in jobs:
        print(job.result().job_id)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
