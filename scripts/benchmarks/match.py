"""How long the matching core takes to find a request's offer among a million that rest in the book.

10,000 makers of 5 TEEs (four fifths TDX) in 20 regions, each with four kinds of hardware, a capability document for
each region, hardware and TEE. Every offer is a near miss of one request: it keeps all of its clauses but one, drawn by
lot, which it misses by a margin drawn by lot. Requests are over 1 to 4 assets, with owners' offers to all and to some
providers. A third of them is that very request, a third asks for a little more or less, a third asks for the documents
of a region, with limits of its own. Between two turns an offer comes and another leaves, and at most 4,096 offers are
sorted, as the backend does it. CPU time counts, the garbage collector included; each size is a process of its own.

`match_p99_us_1m`: 99 of 100 requests are answered within so many microseconds, over all turns that they take, at
1,000,000 offers. `match_growth`: how much longer that is than at 1,000, where a logarithm doubles.
`match_steps_growth`: the same of the interpreter's instructions, over 900 requests more, which neither load nor the
processor's caches change. `match_turn_p99_us`: the same as `match_p99_us_1m` for one turn, the unit in which the book
is locked. `match_settled_s`: CPU time and sorting until the request with a million near misses is answered for the
first time. `match_bytes`: memory for each offer.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIZES = (1_000, 10_000, 100_000, 1_000_000)
MAKERS, REGIONS, HARDWARE = 10_000, 20, 4
SEARCHES, COUNTED = 6_000, 900
SORTED_BETWEEN = 4096
TARGET_US, TARGET_GROWTH = 1000.0, 2.0
NOW = 1_700_000_000
EXACT = 4
"""Clauses of a near miss besides the limits: price, price of a unit, TEE, consumers."""
PENALTY, OWNER, ASSETS = 10**16, 9 * 10**14, 2


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table or JSON; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench match", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="the largest book; names say 1m all the same")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(_measure(chosen.one)))
        return 0
    measured = [_in_a_process(size) for size in SIZES if size <= chosen.most]
    results = _results(measured)
    if chosen.json:
        print(json.dumps({"bench": "match", "results": results, "sizes": measured}))
    else:
        _print(measured, results)
    return 0 if all(one["target"] is None or float(one["value"]) <= one["target"] for one in results) else 1


def _in_a_process(size: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "scripts.benchmarks.match", "--one", str(size)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _results(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first, last = measured[0], measured[-1]
    scan = last["scan_us"]
    rows = (
        ("match_p99_us_1m", last["whole_p99_us"], "us", "a look at every offer", scan, TARGET_US),
        ("match_growth", last["whole_p99_us"] / first["whole_p99_us"], "x", None, None, TARGET_GROWTH),
        ("match_steps_growth", last["steps_p99"] / first["steps_p99"], "x", None, None, None),
        ("match_turn_p99_us", last["p99_us"], "us", None, None, None),
        ("match_settled_s", last["settled_s"], "s", "a look at every offer", scan / 1e6, None),
        ("match_bytes", last["bytes"], "B", None, None, None),
    )
    return [
        {
            "name": name,
            "value": value,
            "unit": unit,
            "beside": beside,
            "beside_value": beside_value,
            "ratio": value / beside_value if beside_value else None,
            "target": target,
        }
        for name, value, unit, beside, beside_value, target in rows
    ]


def _print(measured: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
    print(
        "offers     median      p99    longest   one turn's p99   first answer   load an offer   memory   look at all"
    )
    for one in measured:
        print(
            f"{one['size']:9,} {one['whole_p50_us']:5.0f} us {one['whole_p99_us']:5.0f} us"
            f" {one['whole_worst_us'] / 1000:7.1f} ms {one['p99_us']:13.0f} us"
            f" {one['settled_s']:7.2f} s ({one['settled_turns']} turns) {one['load_s'] / one['size'] * 1e6:7.0f} us"
            f" {one['bytes']:8.0f} B {one['scan_us'] / 1000:8.1f} ms"
        )
    for one in results:
        target = f" (<= {one['target']})" if one["target"] else ""
        print(f"{one['name']:18} {one['value']:8.2f} {one['unit']}{target}")


# --- the market -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Maker:
    leaf: bytes
    tee: int
    region: int
    generosity: float


def _makers(lot: random.Random) -> list[_Maker]:
    tees = (2, 2, 2, 2, 1, 3, 4, 6)  # sixteen of twenty TDX: see below
    return [
        _Maker(
            lot.randbytes(32),
            2 if lot.random() < 0.8 else lot.choice([tee for tee in tees if tee != 2]),
            lot.randrange(REGIONS),
            lot.uniform(1, 4),
        )
        for _ in range(MAKERS)
    ]


def _document(tee: int, region: int, hardware: int) -> bytes:
    return bytes([tee, region, hardware]) + bytes(29)


def _offers(lot: random.Random, makers: list[_Maker], needs: tuple[int, ...]) -> Iterator[tuple[Any, bytes, Any, int]]:
    """Key, set of consumers, row and volume of near misses without end."""
    from sealmarket_backend.offers.clauses import GUARDS, LIMITS, Key, packed

    token, everyone, sequence = bytes(20), bytes(32), 1
    while True:
        maker = makers[sequence % MAKERS]
        missed = lot.randrange(len(LIMITS) + EXACT)
        reach = [_reaching(at, need, maker.generosity) for at, need in enumerate(needs)]
        if missed < len(LIMITS):
            reach[missed] = _missing(missed, needs[missed], lot.uniform(0.02, 0.6))
        limits = GUARDS | packed(reach)
        at = missed - len(LIMITS)
        price = 10**15 + lot.randrange(10**6) * 10**9 + (10**16 if at == 0 else 0)
        unit = lot.choice((0, 10**12, 2 * 10**12)) + (10**14 if at == 1 else 0)
        tee = maker.tee if maker.tee != 2 or at != 2 else 3
        root = maker.leaf if at == 3 else everyone
        document = _document(tee, maker.region, lot.randrange(HARDWARE))
        row = (price, sequence, unit, NOW + 86_400 + lot.randrange(10**6), limits, maker.leaf, document)
        yield Key(1, token, tee), root, (*row, lot.randbytes(32)), lot.randrange(1, 100)
        sequence += 1


def _reaching(at: int, need: int, generosity: float) -> int:
    """More than is needed of a limit: of a lower bound, which is taken from the greatest number, a part."""
    from sealmarket_backend.offers.clauses import GREATEST

    greatest = GREATEST[at]
    if need > greatest // 2:
        return greatest - int((greatest - need) / generosity)
    return int(need * generosity)


def _missing(at: int, need: int, margin: float) -> int:
    """Less than is needed, by a margin; a grade by one."""
    from sealmarket_backend.offers.clauses import GREATEST

    greatest = GREATEST[at]
    if need > greatest // 2:
        return min(need - 1, greatest - int((greatest - need) * (1 + margin)))
    return min(need - 1, int(need * (1 - margin)))


class _Requests:
    """The requests' side: versions on sale, and what each request asks."""

    def __init__(self, lot: random.Random, makers: list[_Maker]) -> None:
        from sealmarket.protocol.matching import OnSale
        from sealmarket.protocol.merkle import account_leaf
        from sealmarket.protocol.wire import SignedAssetOrder
        from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Wei
        from tests import samples
        from tests.backend.orders import RULES, indexed

        self.lot, self.rules, self.makers = lot, RULES, makers
        self.assets = [Bytes32(bytes([number + 1]) * 32) for number in range(4)]
        version = indexed(price=Wei(10**15), expiry=NOW + 10**7, timeout_share=50)
        signed = [
            SignedAssetOrder(
                order=samples.asset_order(
                    asset_id=asset,
                    price=Wei(OWNER - (number % 2) * 10**9 * number),
                    expiry=NOW + 10**7,
                    providers=Bytes32(makers[number].leaf if number % 2 else bytes(32)),
                ),
                signature=HexBytes(b"\x00" * 65),
            )
            for asset in self.assets
            for number in range(4)
        ]
        self.on_sale = OnSale(
            {(asset, 1): version for asset in self.assets},
            {(asset, 1): [one for one in signed if one.order.asset_id == asset] for asset in self.assets},
        )
        self.leaf = account_leaf

    def request(self, **changes: Any) -> Any:
        """The request whose near misses all offers are."""
        from sealmarket_enclave.protocol.codec import Uint64, Wei
        from sealmarket_enclave.protocol.numbers import Grade, Tee
        from tests import samples

        count = changes.pop("count", ASSETS)
        limits = [samples.asset_limit(asset_id=asset, max_price=Wei(10**15)) for asset in self.assets[:count]]
        fields: dict[str, Any] = {
            "tee": Tee.TDX,
            "min_grade": Grade.HARDWARE,
            "max_compute_price": Wei(10**16),
            "max_unit_price": Wei(10**13),
            "max_units": 100,
            "min_penalty": Wei(PENALTY),
            "quote_window": 600,
            "settle_window": 3600,
            "decide_window": 2000,
            "challenge_window": 2200,
            "run_seconds": 3600,
            "read_seconds": 900,
            "validate_seconds": 900,
            "decoded_bytes": Uint64(1 << 33),
            "timeout_limit": Wei(2 * 10**15),
            "expiry": NOW + 10**6,
        }
        return samples.request(*limits, **(fields | changes))

    def like_it(self) -> Any:
        """One that asks for a little more or less."""
        from sealmarket_enclave.protocol.codec import Wei

        lot = self.lot
        return self.request(
            count=lot.randrange(1, 5),
            run_seconds=int(3600 * lot.uniform(0.8, 1.2)),
            read_seconds=int(900 * lot.uniform(0.8, 1.2)),
            min_penalty=Wei(int(PENALTY * lot.uniform(0.8, 1.2))),
            max_units=lot.randrange(1000),
        )

    def of_a_region(self) -> tuple[Any, frozenset[bytes]]:
        """One with limits of its own, for the documents of a region."""
        from sealmarket_enclave.protocol.codec import Bytes32
        from sealmarket_enclave.protocol.numbers import Tee

        lot = self.lot
        tee, region = lot.choice((1, 2, 2, 2, 3, 4, 6)), lot.randrange(REGIONS)
        made = self.request(
            count=lot.randrange(1, 5),
            tee=Tee(tee),
            run_seconds=lot.choice((60, 600, 3600, 7200)),
            quote_window=lot.choice((300, 600, 1200)),
            capabilities=Bytes32(bytes([region]) * 32),
        )
        return made, frozenset(_document(tee, region, hardware) for hardware in range(HARDWARE))

    def asked(self, request: Any, documents: frozenset[bytes] | None) -> list[Any]:
        """As the backend asks it."""
        from sealmarket.protocol.fitting import lone_member
        from sealmarket_backend.offers.asking import questions

        return questions(
            request,
            self.on_sale,
            self.rules,
            NOW,
            prove=lone_member,
            members=lambda root: documents if root == request.capabilities else None,
            consumer_roots=(self.leaf(request.consumer),),
        )


# --- one size ---------------------------------------------------------------------------------------------------


def _measure(size: int) -> dict[str, Any]:
    from sealmarket_backend.offers.clauses import unpacked
    from sealmarket_backend.offers.resting import RestingOffers
    from tests.steps import counted

    lot = random.Random(size)
    makers = _makers(lot)
    requests = _Requests(lot, makers)
    [first, *_] = requests.asked(requests.request(), None)
    made = _offers(lot, makers, unpacked(first.wanted.limits))
    gc.collect()
    before, start, book = _resident(), time.process_time(), RestingOffers()
    for _ in range(size):
        book.put(*next(made))
    load_s = time.process_time() - start
    gc.collect()
    gc.freeze()  # as the backend does after it has loaded
    used = (_resident() - before) / size
    settled = _settle(book, requests)
    there = [row[-1] for row, _ in book.rows()[: SEARCHES + COUNTED]]
    searches = list(_searches(SEARCHES, _microseconds, book, requests, made, there))
    steps = sorted(map(sum, _searches(COUNTED, counted, book, requests, made, there)))
    taken = sorted(turn for turns in searches for turn in turns)
    whole = sorted(sum(turns) for turns in searches)
    return {
        "size": size,
        "p50_us": taken[len(taken) // 2],
        "p99_us": taken[len(taken) * 99 // 100],
        "whole_p50_us": whole[len(whole) // 2],
        "whole_p99_us": whole[len(whole) * 99 // 100],
        "whole_worst_us": whole[-1],
        "turns": max(map(len, searches)),
        "steps_p50": steps[len(steps) // 2],
        "steps_p99": steps[len(steps) * 99 // 100],
        "worst_us": max(taken[-1], settled["worst_us"]),
        "settled_s": settled["seconds"],
        "settled_turns": settled["turns"],
        "load_s": load_s,
        "bytes": used,
        "scan_us": _scan(book, requests),
    }


def _settle(book: Any, requests: _Requests) -> dict[str, Any]:
    """Ask for the request with the near misses until it has an answer."""
    from sealmarket_backend.offers.asking import answer

    turns, worst, start = 0, 0.0, time.process_time()
    so_far: Any = ()
    while True:
        turns += 1
        began = time.process_time()
        got = answer(book, requests.asked(requests.request(), None), so_far)
        worst = max(worst, (time.process_time() - began) * 1e6)
        if not got.unfinished:
            if got.row is not None:
                raise RuntimeError("a near miss was found to fit")
            return {"turns": turns, "seconds": time.process_time() - start, "worst_us": worst}
        so_far = got.unfinished
        book.sort(SORTED_BETWEEN)


def _searches(
    count: int,
    costs: Callable[..., tuple[float, Any]],
    book: Any,
    requests: _Requests,
    made: Iterator[Any],
    there: list[bytes],
) -> Iterator[list[float]]:
    """What each turn of each search costs, while the book changes: offers come, and those that are there leave."""
    from sealmarket_backend.offers.asking import answer

    def turn(asks: Any, documents: frozenset[bytes] | None, so_far: Any) -> Any:
        return answer(book, requests.asked(asks, documents), so_far)

    for number in range(count):
        documents: frozenset[bytes] | None = None
        if number % 3 == 0:
            asks = requests.request()
        elif number % 3 == 1:
            asks = requests.like_it()
        else:
            asks, documents = requests.of_a_region()
        turns: list[float] = []
        so_far: Any = ()
        while not turns or so_far:
            spent, got = costs(turn, asks, documents, so_far)
            so_far = got.unfinished
            turns.append(spent)
            book.put(*next(made))
            if there:
                book.take(there.pop())
            book.sort(SORTED_BETWEEN)
        yield turns


def _microseconds(turn: Callable[..., Any], *asked: Any) -> tuple[float, Any]:
    start = time.process_time_ns()
    got = turn(*asked)
    return (time.process_time_ns() - start) / 1000, got


def _scan(book: Any, requests: _Requests) -> float:
    """Microseconds to hold every offer against the request, one after the other."""
    [first, *_] = requests.asked(requests.request(), None)
    rows = [row for row, _ in book.rows()]
    start = time.process_time()
    for row in rows:
        first.wanted.fits(row)
    return (time.process_time() - start) * 1e6


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
