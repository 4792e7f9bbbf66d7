"""Orders that the backend accepts per second of one core, beside the bare checks that no acceptance can do without.

Offers of 100 providers go from their bytes in JSON into the book: parsing, the market's limits, typed-data hash,
recovery, the quota of the account, durable transactions of SQLite, and the matching core. Sixteen threads post, as the
API's do: orders that come while the disk is written go to it together. Each round is a fresh process in which all sides
take turns, each on sixteen threads; CPU time counts. Not in it: HTTP, and what is read of the chain for stake and
generation, which waits for a node.

`orders_accepted` stands beside typed-data hashing by `eth-account` and recovery by `coincurve`, on the same orders;
`orders_beside_own` beside hashing by this library, which is several times as fast, and the same recovery.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = 0.8
ORDERS, TURN, POSTERS, PROVIDERS = 1_600, 200, 16, 100


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table or JSON; 1 when the ratio is below its target."""
    parser = argparse.ArgumentParser(prog="scripts/bench orders", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(_round()))
        return 0
    command = [sys.executable, "-m", "scripts.benchmarks.orders", "--one"]
    found: list[tuple[float, float, float]] = []
    for _ in range(chosen.rounds):
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        found.append(tuple(json.loads(done.stdout)))
    results = [
        _result("orders_accepted", "eth-account hashing, coincurve recovery", TARGET, [(o, e) for o, e, _ in found]),
        _result("orders_beside_own", "our hashing, coincurve recovery", None, [(o, b) for o, _, b in found]),
    ]
    if chosen.json:
        print(json.dumps({"bench": "orders", "results": results}))
    else:
        for one in results:
            line = "{name:18} {value:.0f} {unit}  beside {beside} {beside_value:.0f}  ratio {ratio:.2f}"
            print(line.format(**one), f"(>= {one['target']})" if one["target"] else "")
    return 0 if float(str(results[0]["ratio"])) >= TARGET else 1


def _result(name: str, beside: str, target: float | None, pairs: list[tuple[float, float]]) -> dict[str, object]:
    return {
        "name": name,
        "value": statistics.median(ours for ours, _ in pairs),
        "unit": "1/s per core",
        "beside": beside,
        "beside_value": statistics.median(bare for _, bare in pairs),
        "ratio": statistics.median(ours / bare for ours, bare in pairs),
        "target": target,
    }


def _round() -> tuple[float, float, float]:
    """Orders per CPU second of ours, of eth-account's hashing with coincurve, and of our hashing with it, by turns."""
    import coincurve
    from eth_account.messages import encode_typed_data

    from sealmarket.protocol.typed_data import typed_data
    from sealmarket.protocol.wire import SignedComputeOrder
    from sealmarket_backend.book import OrderBook
    from sealmarket_backend.tables import Database
    from sealmarket_enclave.protocol.codec import Bytes32, Uint, canonical_json, decode
    from sealmarket_enclave.protocol.hashing import keccak
    from sealmarket_enclave.protocol.signing import address_of, recover
    from tests.backend.orders import BOOK, NOW, RULES, compute, keys_only

    bodies = []
    for number in range(ORDERS):
        key = coincurve.PrivateKey((number % PROVIDERS + 1).to_bytes(32))
        made = compute(key, provider=address_of(key.public_key), salt=Uint(number))
        bodies.append(canonical_json(made))
    orders = [decode(SignedComputeOrder, body) for body in bodies]
    typed = [typed_data(signed.order, BOOK.chain_id, BOOK.market) for signed in orders]

    def bare(digest: Bytes32, signed: SignedComputeOrder) -> None:
        if recover(digest, signed.signature) != signed.order.provider:
            raise RuntimeError("an order is signed by another key")

    def theirs(place: int) -> None:
        message = encode_typed_data(full_message=typed[place])
        bare(keccak(b"\x19" + message.version + message.header + message.body), orders[place])

    def own(place: int) -> None:
        bare(orders[place].order.digest(BOOK.chain_id, BOOK.market), orders[place])

    with (
        tempfile.TemporaryDirectory() as folder,
        Database(Path(folder) / "backend.sqlite") as database,
        ThreadPoolExecutor(POSTERS) as posters,
    ):
        book = OrderBook(database, keys_only(), RULES)

        def ours(place: int) -> None:
            book.add_compute_order(decode(SignedComputeOrder, bodies[place]), NOW)

        spent = [0.0, 0.0, 0.0]
        for first in range(0, ORDERS, TURN):
            for side, step in enumerate((ours, theirs, own)):
                start = time.process_time()
                list(posters.map(step, range(first, first + TURN)))
                spent[side] += time.process_time() - start
    return ORDERS / spent[0], ORDERS / spent[1], ORDERS / spent[2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
