"""A user of the story: its own `sealmarket infer proxy`, and OpenAI's own client, both processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from scripts.demo_story.stage import StoryBroken
from sealmarket.inference.opening import service_folder
from sealmarket.inference.receipts import FILE, KeptReceipt, check_kept, read_receipts
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_localnet.market import LocalMarket, Purse
from sealmarket_localnet.processes import Process, says

CLIENT = """
import json, sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
with client.chat.completions.create(stream=True, **json.loads(sys.argv[2])) as stream:
    for event in stream:
        if event.choices and event.choices[0].delta.content:
            print(json.dumps(event.choices[0].delta.content), flush=True)
"""
"""What a user writes: OpenAI's client, of which the address alone is another."""
ANSWER_SECONDS, PROVE_SECONDS, POLL_SECONDS = 300.0, 180.0, 0.5
BUDGET = 4000


@dataclass(frozen=True, slots=True)
class User:
    """One user, with the proxy that it started. ``url`` is where its clients ask."""

    name: str
    purse: Purse
    home: Path
    proxy: Process
    url: str
    job_id: JobId

    @property
    def receipts(self) -> list[KeptReceipt]:
        """Its receipts, each checked without a network."""
        found = list(read_receipts(service_folder(self.home, self.job_id) / FILE))
        for one in found:
            check_kept(one)
        return found

    @property
    def charged(self) -> list[tuple[int, int]]:
        """Units of prompt and answer of each, by their receipts."""
        found = (one.signed.receipt for one in self.receipts)
        return [(int(one.prompt_units), int(one.output_units)) for one in found]

    @property
    def units(self) -> int:
        """What its answers cost, by their receipts."""
        return sum(int(one.signed.receipt.prompt_units + one.signed.receipt.output_units) for one in self.receipts)

    @property
    def shown(self) -> list[str]:
        """What the proxy printed once it had verified the service."""
        return self.proxy.log.read_text().splitlines()

    def stream(self, client: Path, asked: Mapping[str, Any]) -> Iterator[str]:
        """Ask with OpenAI's client; the text as it comes. Raises :class:`StoryBroken`."""
        command = [str(client), "-I", "-c", CLIENT, self.url, json.dumps(dict(asked))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:
                yield str(json.loads(line))
            error = process.stderr.read()
        if process.returncode:
            raise StoryBroken(f"OpenAI's client of {self.name} ended with {process.returncode}: {error[-500:]}")

    def status(self) -> int:
        """The status of a small request: 200 while the service answers this user."""
        asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        return httpx.post(f"{self.url}/chat/completions", json=asked, timeout=ANSWER_SECONDS).status_code

    def whole(self, asked: Mapping[str, Any], folder: Path) -> tuple[Path, Path, str]:
        """Ask for a whole answer, and keep both bodies; their files, and the receipt's name."""
        body = json.dumps(dict(asked)).encode()
        headers = {"content-type": "application/json"}
        answer = httpx.post(f"{self.url}/chat/completions", content=body, headers=headers, timeout=ANSWER_SECONDS)
        if answer.status_code != 200:
            raise StoryBroken(f"{self.name} asked, and got {answer.status_code}: {answer.text[:300]}")
        files = (folder / f"{self.name}-asked.json", folder / f"{self.name}-answered.json")
        for path, content in zip(files, (body, answer.content), strict=True):
            path.write_bytes(content)
        return (*files, answer.headers["x-sealmarket-receipt"])

    def holds(self, receipt: str, request: Path, response: Path, meter: Path, wheels: Path) -> bool:
        """What `sealmarket infer receipt` says of bodies that were kept, which the service's meter counts again."""
        words: tuple[str | Path, ...] = (
            "receipt", receipt, "--service", str(self.job_id), "--request", request, "--response", response,
            "--meter", meter, "--wheels", wheels,
        )  # fmt: skip
        done = subprocess.run(_command(*words), capture_output=True, env=_environment(self.home), check=False)
        return done.returncode == 0


def start_user(market: LocalMarket, name: str, job_id: JobId, *named: str) -> User:
    """Start a user's proxy, on the state that an earlier one left; it verifies the service before it listens.

    ``named``: the options that say which services; without them the service is found by its id in the market's list.
    """
    home, purse = market.folder / name, market.purses[name]
    home.mkdir(mode=0o700, exist_ok=True)
    words: tuple[str | Path, ...] = (
        "proxy", *(named or ("--service", str(job_id))), "--book", market.book_file, "--rpc", market.rpc,
        "--key-file", purse.key_file, "--development-root", market.root_file, "--allow-simulated",
        "--port", "0", "--grants", "2", "--cap", "2000", "--budget", str(BUDGET),
    )  # fmt: skip
    proxy = market.programs.start(
        f"proxy-{name}",
        _command(*words),
        ready=says(r"proxy serves on (\S+)"),
        timeout=PROVE_SECONDS,
        env=_environment(home),
    )
    return User(name, purse, home, proxy, proxy.answer[1], job_id)


def until(what: str, found: Callable[[], Any], check: Callable[[], None], seconds: float = 300.0) -> Any:
    """Wait for something of the story. ``check`` raises where it cannot come any more. Raises :class:`StoryBroken`."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        check()
        if time.monotonic() > deadline:
            raise StoryBroken(f"{what}: not within {seconds:.0f} s")
        time.sleep(POLL_SECONDS)
    return result


def _command(*words: str | Path) -> list[str]:
    return [str(Path(sys.executable).with_name("sealmarket")), "infer", *map(str, words)]


def _environment(home: Path) -> dict[str, str]:
    """What a user's program sees: its own home, no keys of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return kept | {"HOME": str(home), "SEALMARKET_HOME": str(home), "PYTHONUNBUFFERED": "1"}
