"""A provider stakes, offers compute and serves: python examples/provider.py WORKER_TOML PRICE

WORKER_TOML is the worker's configuration, which names this provider's account and its TEE. PRICE is for one job, in
whole coins. Ends on SIGTERM or Ctrl-C: the offer is voided, and the worker stops.
"""

import signal
import sys
from pathlib import Path

from sealmarket.client import Grade, Offer, Progress, Provider, Tee, coin


def show(progress: Progress) -> None:
    """Tell people what happens."""
    print(f"{progress.state:8} {progress.about}", file=sys.stderr)


def main(worker: Path, price: str) -> None:
    """Offer and serve until stopped. The device is virtual here; real hardware says `Grade.HARDWARE`."""
    offer = Offer(tee=Tee.TDX, grade=Grade.SIMULATED, price=coin(price), penalty=coin("0.1"), volume=100)
    with Provider.connect() as provider:
        serving = provider.offer_and_serve(offer, worker, stake=coin("5"), on_progress=show)
        with serving:
            print(serving.order.struct_hash(), flush=True)
            serving.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main(Path(sys.argv[1]), sys.argv[2])
