"""Private inference beside plain inference: the sandbox, the seal, the first token, a single row.

`infer_sandbox`: tokens per CPU second of the real model in the enclave's sandbox, beside the same code without one.
`infer_sealed`: CPU per token from the client's request to the answer's receipt, through the user's proxy, a sealed
host and the meter, beside two plain proxies before the same sandboxed workload. `infer_ttft_ms`: what seal and meter
add to an answer that the workload has at once, in CPU time of all processes. `score_p99`: the 99th percentile of a
row's time, sealed and metered, beside the same, likewise. `--clock wall` counts what a client waits instead, and says
something on a quiet machine alone. Both sides of a measurement run at once and take turns. The enclave of the sealed
side is the tests': seal, frames, signatures, meter and checks are the product's, its ledger is not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from scripts.toolchain import ROOT

TARGETS = {"infer_sandbox": 0.95, "infer_sealed": 1.05, "infer_ttft_ms": 10.0, "score_p99": 1.5}
_AT_LEAST = frozenset({"infer_sandbox"})
TOKENS = 48
PROMPT = {"prompt": "Once upon a time, in a country far away,", "temperature": 0, "max_tokens": TOKENS, "stream": True}


def main(arguments: Sequence[str]) -> int:
    """Run all, print a table or JSON; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench infer", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--turns", type=int, default=8, help="answers of each side for what counts CPU")
    parser.add_argument("--rows", type=int, default=1000, help="rows and first tokens of each side")
    parser.add_argument("--only", choices=TARGETS, help="one measurement")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu", help="what counts for one answer")
    chosen = parser.parse_args(arguments)
    wall = chosen.clock == "wall"
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "infer_sandbox": lambda: sandbox(chosen.turns),
        "infer_sealed": lambda: sealed(chosen.turns),
        "infer_ttft_ms": lambda: first_token(chosen.rows, wall=wall),
        "score_p99": lambda: score(chosen.rows, wall=wall),
    }
    names = [chosen.only] if chosen.only else list(TARGETS)
    results = [{"name": name, **made[name](), "target": TARGETS[name]} for name in names]
    if chosen.json:
        print(json.dumps({"bench": "infer", "results": results}))
    else:
        for r in results:
            sign = ">=" if r["name"] in _AT_LEAST else "<="
            print(
                f"{r['name']:14} {r['value']:9.3f} {r['unit']}  beside {r['beside']} {r['beside_value']:9.3f}"
                f"  {r['ratio']:.3f} ({sign} {r['target']})"
            )
    return 0 if all(_met(r) for r in results) else 1


def _met(result: dict[str, Any]) -> bool:
    ratio, target = float(result["ratio"]), float(result["target"])
    return ratio >= target if result["name"] in _AT_LEAST else ratio <= target


@dataclass(frozen=True, slots=True)
class Side:
    """One chain of processes, and where its client asks."""

    url: str
    processes: tuple[int, ...]

    def cpu(self) -> float:
        """Seconds that its processes have used."""
        return sum(_cpu(one) for one in self.processes)

    def clock(self, *, wall: bool) -> float:
        """Milliseconds of the clock that counts."""
        return 1000 * (time.perf_counter() if wall else self.cpu())


def _cpu(process: int) -> float:
    """Seconds that a process has used, to the nanosecond, by the kernel's clock of it (clock_getcpuclockid)."""
    return time.clock_gettime((~process << 3) | 2)


@contextmanager
def side(kinds: tuple[str, str], workload: str) -> Iterator[Side]:
    """The inner process, then the one before it."""
    with ExitStack() as stack:
        inner, inner_url, workers = stack.enter_context(_started(kinds[0], workload))
        outer, url, _ = stack.enter_context(_started(kinds[1], inner_url))
        yield Side(url, (inner, outer, *workers))


@contextmanager
def _started(kind: str, argument: str) -> Iterator[tuple[int, str, list[int]]]:
    command = [sys.executable, "-m", "scripts.benchmarks._infer_sides", kind, argument]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if line.startswith("{"):
                found = json.loads(line)
                yield process.pid, found["url"], found["workload"]
            else:
                yield process.pid, line.split()[-1].removesuffix("/v1"), []
        finally:
            process.terminate()


SEALED, PLAIN = ("enclave", "proxy"), ("server", "forward")


def sealed(turns: int) -> dict[str, Any]:
    """CPU per token of both chains, in turns."""
    spent, tokens = [0.0, 0.0], [0, 0]
    with side(SEALED, "gguf-chat") as ours, side(PLAIN, "gguf-chat") as theirs, httpx.Client(timeout=600) as client:
        for turn in range(turns + 1):
            for at, one in enumerate((ours, theirs)):
                begun, made = one.cpu(), _tokens(client, one.url)
                if turn:  # the first answer of each loads what the others find
                    spent[at] += one.cpu() - begun
                    tokens[at] += made
    mine, beside = (1000 * s / t for s, t in zip(spent, tokens, strict=True))
    return {"value": mine, "unit": "ms/token", "beside": "2 proxies", "beside_value": beside, "ratio": mine / beside}


def _tokens(client: httpx.Client, url: str) -> int:
    asked = PROMPT | {"stream_options": {"include_usage": True}}
    with client.stream("POST", f"{url}/v1/completions", json=asked) as answer:
        body = b"".join(answer.iter_raw())
    usage = json.loads(body.removesuffix(b"\n\n").split(b"\n\n")[-2].removeprefix(b"data: "))["usage"]
    return int(usage["completion_tokens"])


def first_token(count: int, *, wall: bool) -> dict[str, Any]:
    """A stream that a workload has at once; the median of what the seal adds to a turn.

    By the wall it ends with the first bytes. CPU is that of the whole answer, which is more.
    """
    found: list[list[float]] = [[], []]
    with side(SEALED, "echo") as ours, side(PLAIN, "echo") as theirs, httpx.Client(timeout=60) as client:
        for turn in range(count + 20):
            for at, one in enumerate((ours, theirs)):
                begun = one.clock(wall=wall)
                with client.stream("POST", f"{one.url}/v1/completions", json=PROMPT) as answer:
                    pieces = answer.iter_raw()
                    next(pieces)
                    first = one.clock(wall=wall)
                    for _ in pieces:
                        pass
                if turn >= 20:
                    found[at].append((first if wall else one.clock(wall=False)) - begun)
    added = statistics.median(a - b for a, b in zip(*found, strict=True))
    mine, beside = map(statistics.median, found)
    return {"value": mine, "unit": "ms", "beside": "2 proxies", "beside_value": beside, "ratio": added}


def score(count: int, *, wall: bool) -> dict[str, Any]:
    """A row's time through both chains; the ratio of their 99th percentiles."""
    found: list[list[float]] = [[], []]
    with side(SEALED, "onnx-score") as ours, side(PLAIN, "onnx-score") as theirs, httpx.Client(timeout=60) as client:
        asked = {"rows": [[50.0] * _width(client, theirs.url)]}
        for turn in range(count + 20):
            for at, one in enumerate((ours, theirs)):
                begun = one.clock(wall=wall)
                answer = client.post(f"{one.url}/v1/score", json=asked)
                if turn >= 20:
                    found[at].append(one.clock(wall=wall) - begun)
                if "scores" not in answer.json():
                    raise RuntimeError(answer.text)
    mine, beside = (statistics.quantiles(times, n=100)[98] for times in found)
    return {"value": mine, "unit": "ms", "beside": "2 proxies", "beside_value": beside, "ratio": mine / beside}


def _width(client: httpx.Client, url: str) -> int:
    return len(client.post(f"{url}/v1/models", json={}).json()["data"][0]["features"])


def sandbox(turns: int) -> dict[str, Any]:
    """The same workload in the sandbox and without it, in turns; tokens per CPU second."""
    from scripts.benchmarks._infer_sides import bundle_of, children, model_of, session_of
    from sealmarket_enclave.workload.bundle import CODE

    body = json.dumps(PROMPT | {"stream": False}).encode()
    spent, tokens = [0.0, 0.0], [0, 0]
    with ExitStack() as stack:
        before = children()
        confined = stack.enter_context(session_of(stack, "gguf-chat"))
        sandboxed = next(iter(children() - before))
        bundle, folder, environment = bundle_of(stack, "gguf-chat")
        bare = stack.enter_context(Bare(folder / CODE, environment, bundle.manifest, model_of("gguf-chat")))
        sides: list[tuple[Any, int]] = [(confined, sandboxed), (bare, bare.process_id)]
        for turn in range(turns + 1):
            for at, (one, process) in enumerate(sides):
                begun = _cpu(process)
                for _ in one.ask("completions", body, 1024):
                    pass
                if turn:
                    spent[at] += _cpu(process) - begun
                    tokens[at] += one.used.output_units if one.used else 0
    mine, beside = (t / s for t, s in zip(tokens, spent, strict=True))
    return {
        "value": mine,
        "unit": "tokens/CPU s",
        "beside": "no sandbox",
        "beside_value": beside,
        "ratio": mine / beside,
    }


class Bare:
    """The workload's own code in a process without any sandbox, asked as a session is."""

    def __init__(self, code: Path, environment: Path, manifest: Any, model: bytes) -> None:
        from sealmarket_enclave.sandbox.session import Done

        self._done = Done
        self.used: Done | None = None
        self._stack = ExitStack()
        file = os.memfd_create("model")
        self._stack.callback(os.close, file)
        os.truncate(file, len(model))
        os.pwrite(file, model, 0)
        (taken, self._output), (self._input, given) = os.pipe(), os.pipe()
        settings = {
            "code": str(code),
            "environment": str(environment),
            "entry_point": manifest.entry_point,
            "inputs": [["model", file]],
            "parameters": manifest.check_parameters({"context": 1024}),
            "output": given,
            "go": taken,
        }
        program = (
            "import json, sys; from sealmarket_enclave.sandbox import serving; serving.run(json.loads(sys.argv[1]))"
        )
        command = [sys.executable, "-P", "-c", program, json.dumps(settings)]
        limits = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, pass_fds=(file, taken, given), env=os.environ | limits)
        self._stack.callback(self._process.kill)
        os.close(taken)
        os.close(given)
        self._read(1)

    @property
    def process_id(self) -> int:
        """Of the process that serves."""
        return self._process.pid

    def ask(self, endpoint: str, body: bytes, most: int) -> Iterator[bytes]:
        """Bytes of the response."""
        meta = json.dumps({"endpoint": endpoint, "most_units": most}).encode()
        os.write(self._output, len(meta).to_bytes(4) + meta + len(body).to_bytes(4) + body)
        while (kind := self._read(1)) == b"S":
            yield self._read(int.from_bytes(self._read(4)))
        if kind != b"D":
            raise RuntimeError("the workload ended")
        self.used = self._done(**json.loads(self._read(int.from_bytes(self._read(4)))))

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._process.wait()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = os.read(self._input, size - len(data))
            if not part:
                raise RuntimeError("the workload ended")
            data += part
        return data
