"""A consumer buys a result: python examples/consumer.py WORKLOAD RESULT_KEY OUT ASSET [ASSET ...]

WORKLOAD is the folder of a workload that the owners allow. RESULT_KEY is made if it is not there: results are sealed to
it, and only this file opens them. OUT gets the outputs and the proof of the job. Interrupted and called again, it goes
on with the same request. Prints the job's id.
"""

import sys
from pathlib import Path

from sealmarket.client import (
    AssetWish,
    Auditor,
    Consumer,
    Grade,
    JobLimits,
    Progress,
    coin,
    create_result_key,
    load_result_key,
)


def show(progress: Progress) -> None:
    """Tell people what happens."""
    facts = " ".join(f"{name}={value}" for name, value in progress.facts)
    print(f"{progress.state:8} {progress.about} {facts}", file=sys.stderr)


def main(workload: Path, key_file: Path, out: Path, assets: list[str]) -> None:
    """Deposit, request and fetch, and keep the proof. `Grade.SIMULATED` admits virtual devices: for trials only."""
    key = load_result_key(key_file) if key_file.exists() else create_result_key(key_file, confirm_unencrypted=True)
    limits = JobLimits(max_compute_price=coin("0.2"), min_grade=Grade.SIMULATED)
    wishes = [AssetWish.parse(asset) for asset in assets]
    with Consumer.connect() as consumer:
        consumer.deposit(coin("5"))
        note = key_file.with_suffix(".request.json")
        result = consumer.request_and_fetch(workload, {}, wishes, limits, key, note=note, on_progress=show)
        evidence = consumer.evidence(result.job_id, key)
    result.save(out)
    with Auditor.connect() as auditor:
        auditor.save(auditor.collect(result.job_id, evidence=evidence), out)
    print(result.job_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
