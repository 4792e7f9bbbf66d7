"""``scripts/demo``: the story of one job, from sealing to proof, or of one service, from weights to receipts."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from scripts.demo_story import chain, hospitals
from scripts.demo_story.console import StoryConsole
from scripts.demo_story.inference import story as inference
from scripts.demo_story.stage import Stage, Story, StoryBroken, StoryResult, StoryUnavailable
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_localnet.processes import ProcessError, Supervisor

STORIES: dict[str, Story] = {
    "hospitals": Story(hospitals.TITLE, hospitals.perform),
    "inference": Story(inference.TITLE, inference.perform),
}
EPILOG = """examples:
  scripts/demo                 the story, with time to read
  scripts/demo --fast          without pauses
  scripts/demo --story inference    private inference: a sealed language model, two users, receipts
  scripts/demo --json          one JSON document at the end, nothing else
  scripts/demo --keep          leave the market running until Ctrl-C, and print where it is
  scripts/demo --chain ganache on another local chain: anvil, hardhat or ganache
  scripts/demo --chain https://rpc.example --key-file bank.key --finality depth:12
"""


UNAVAILABLE = 3
"""The exit status of a story that cannot run on this machine, because what it needs cannot be fetched."""


def main(arguments: list[str]) -> int:
    """Run the story; the exit status is 0 when every check of it holds, :data:`UNAVAILABLE` when it cannot run."""
    options = _options(arguments)
    console = StoryConsole(quiet=options.json, fast=options.fast, record=options.svg is not None)
    folder = Path(tempfile.mkdtemp(prefix="sealmarket-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, worthless = time.monotonic(), False
    try:
        with Supervisor(logs=folder / "logs") as programs:
            result = _perform(console, programs, folder, options)
            _report(console, result, options, round(time.monotonic() - began, 3))
            if options.keep:
                result.show_kept()
                worthless = not chain.is_url(options.chain)  # keys of a foreign chain still hold coin
                threading.Event().wait()
    except KeyboardInterrupt:
        if worthless:
            shutil.rmtree(folder, ignore_errors=True)
            console.say("\n[yellow]stopped; nothing is left running[/], and its folder is removed with all its keys")
            return 130
        console.say(f"\n[yellow]stopped; nothing is left running[/], the files are in {folder}")
        return 130
    except StoryUnavailable as error:
        shutil.rmtree(folder, ignore_errors=True)
        print(error, file=sys.stderr)
        return UNAVAILABLE
    except (SealmarketError, StoryBroken, ProcessError) as error:
        print(f"The demo failed: {error}\nThe logs are in {folder / 'logs'}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Two hospitals sell the use of their patient data to an insurer who never sees a row of it. Or, "
        "with --story inference: a model answers two users, and its provider reads neither weights nor prompts.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--story", choices=STORIES, default="hospitals", help="which story (hospitals)")
    parser.add_argument("--fast", action="store_true", help="no pauses for reading")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--out", type=Path, help="keep results, receipts and address book in this folder")
    parser.add_argument("--svg", type=Path, help="save the printed story as an SVG")
    chain.add_options(parser)
    options = parser.parse_args(arguments)
    chain.check_options(parser, options)
    if options.story == "inference" and chain.is_url(options.chain):
        parser.error("--story inference runs on a chain that the demo starts: its lease is too short for others")
    return options


def _perform(console: StoryConsole, programs: Supervisor, folder: Path, options: argparse.Namespace) -> StoryResult:
    story = STORIES[options.story]
    console.title(*story.title)
    console.act(
        "The market starts", "A chain, three oracle nodes, a backend, a virtual TEE device: each its own process."
    )
    with console.step("chain", "A chain starts"):
        selected = chain.choose(options, programs, lambda note: console.say(f"[yellow]{note}[/]"))
    console.say(f"[dim]{selected.about}[/]", indent=5)
    return story.perform(Stage(console=console, programs=programs, folder=folder, chain=selected, keep=options.keep))


def _report(console: StoryConsole, result: StoryResult, options: argparse.Namespace, total: float) -> None:
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, content in result.outputs.items():
            (options.out / name).write_bytes(content)
        for path in (result.market.book_file, *result.paths):
            shutil.copy(path, options.out)
    console.say("")
    console.terminal.print(f"[bold green]Everything checked out[/] in {total:.0f} s. Next: {result.next_steps}")
    if options.svg:
        console.picture(options.svg)
    if options.json:
        print(json.dumps(_document(console, result, total), indent=2))


def _document(console: StoryConsole, result: StoryResult, total: float) -> dict[str, Any]:
    book = result.market.book
    return {
        "ok": True,
        "simulated": True,
        "chain": {"id": book.chain_id, "finality": book.finality.describe()},
        "seconds": {"total": total} | console.seconds,
        **result.facts,
    }


sys.exit(main(sys.argv[1:]))
