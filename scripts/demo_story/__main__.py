"""``scripts/demo``: the story of one job, from sealing to proof."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scripts.demo_story import chain, own_data, setup, story
from scripts.demo_story.console import StoryConsole
from scripts.demo_story.data import parts
from scripts.demo_story.proof import prove
from scripts.demo_story.refusals import refuse_all
from scripts.demo_story.story import Story, StoryBroken
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_localnet.market import LocalMarket, coin
from sealmarket_localnet.processes import ProcessError, Supervisor

EPILOG = """examples:
  scripts/demo                 the story, with time to read
  scripts/demo --fast          without pauses
  scripts/demo --json          one JSON document at the end, nothing else
  scripts/demo --keep          leave the market running until Ctrl-C, and print where it is
  scripts/demo --chain ganache on another local chain: anvil, hardhat or ganache
  scripts/demo --chain https://rpc.example --key-file bank.key --finality depth:12
"""


def main(arguments: list[str]) -> int:
    """Run the story; the exit status is 0 when every check of it holds."""
    options = _options(arguments)
    console = StoryConsole(quiet=options.json, fast=options.fast, record=options.svg is not None)
    folder = Path(tempfile.mkdtemp(prefix="sealmarket-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, worthless = time.monotonic(), False
    try:
        with Supervisor(logs=folder / "logs") as programs:
            state = _perform(console, programs, folder, options)
            state.seconds["total"] = round(time.monotonic() - began, 3)
            _report(console, state, options)
            if options.keep:
                own_data.show_commands(state, own_data.prepare(state))
                worthless = not chain.is_url(options.chain)  # keys of a foreign chain still hold coin
                threading.Event().wait()
    except KeyboardInterrupt:
        if worthless:
            shutil.rmtree(folder, ignore_errors=True)
            console.say("\n[yellow]stopped; nothing is left running[/], and its folder is removed with all its keys")
            return 130
        console.say(f"\n[yellow]stopped; nothing is left running[/], the files are in {folder}")
        return 130
    except (SealmarketError, StoryBroken, ProcessError) as error:
        print(f"The demo failed: {error}\nThe logs are in {folder / 'logs'}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Two hospitals sell the use of their patient data to an insurer who never sees a row of it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fast", action="store_true", help="no pauses for reading")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--out", type=Path, help="keep model, receipt and address book in this folder")
    parser.add_argument("--svg", type=Path, help="save the printed story as an SVG")
    chain.add_options(parser)
    options = parser.parse_args(arguments)
    chain.check_options(parser, options)
    return options


def _perform(console: StoryConsole, programs: Supervisor, folder: Path, options: argparse.Namespace) -> Story:
    console.title(
        "Sealmarket: two hospitals, one insurer, and no other party sees a row",
        "Everything below is real: contracts, cryptography, processes, quotes in Intel's format.",
        "Only the silicon is not: a virtual TDX device with a development root stands in for it,",
        "and everything that it signs says [bold yellow]SIMULATED[/].",
    )
    console.act(
        "The market starts", "A chain, three oracle nodes, a backend, a virtual TEE device: each its own process."
    )
    with console.step("chain", "A chain starts"):
        selected = chain.choose(options, programs, lambda note: console.say(f"[yellow]{note}[/]"))
    console.say(f"[dim]{selected.about}[/]", indent=5)
    state = _start_market(console, programs, folder, selected)
    story.seal_and_publish(state)
    story.offer_compute(state)
    with ThreadPoolExecutor(max_workers=1) as home:
        story.train_at_home(state, home)
        job_id = story.request(state)
        story.attest_and_compute(state, job_id)
        story.open_and_score(state)
    story.count_money(state)
    refuse_all(state)
    prove(state)
    if selected.bank_key is not None and not options.keep:
        with console.step("return_coin", "The coin that is left returns to the account that paid"):
            returned = chain.return_coin(state.market)
        console.say(f"[dim]{coin(returned)} coins returned[/]", indent=5)
    return state


def _start_market(console: StoryConsole, programs: Supervisor, folder: Path, selected: chain.DemoChain) -> Story:
    """Start the market, and prepare image, workload and accounts."""
    with console.step("market", "Contracts, oracle nodes, backend and device come up") as now:
        market = LocalMarket.start(
            programs,
            folder,
            selected.url,
            finality=selected.finality,
            final_seconds=selected.final_seconds,
            bank_key=selected.bank_key,
            purse=selected.money.purse,
            signature_fee=selected.money.signature_fee,
            patience=selected.patience,
            said=now,
        )
    with console.step("image", "The enclave image is built, and measured by those who will trust it"):
        image, measurement = setup.prepare_image(folder / "image")
    with console.step("workload", "The workload's dependencies are locked, file by file"):
        workload = setup.prepare_workload(story.WORKLOAD, folder / "workload")
    with console.step("purses", "Each party gets an account of its own"):
        parties = setup.create_parties(market)
    return Story(
        console=console,
        market=market,
        folder=folder,
        parts=parts(),
        workload=workload,
        image=image,
        measurement=measurement,
        parties=parties,
        result_key=story.result_key(folder),
        money=selected.money,
        patience=selected.patience,
    )


def _report(console: StoryConsole, state: Story, options: argparse.Namespace) -> None:
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, content in state.outputs.items():
            (options.out / name).write_bytes(content)
        for path in (state.market.book_file, *state.folder.glob("*.sealproof.json")):
            shutil.copy(path, options.out)
    console.say("")
    console.terminal.print(
        f"[bold green]Everything checked out[/] in {state.seconds['total']:.0f} s. "
        "Next: [bold]scripts/test[/], or your own data: README.md, “Your own data”."
    )
    if options.svg:
        console.picture(options.svg)
    if options.json:
        print(json.dumps(_document(state), indent=2))


def _document(state: Story) -> dict[str, Any]:
    return {
        "ok": True,
        "simulated": True,
        "chain": {"id": state.market.book.chain_id, "finality": state.market.book.finality.describe()},
        "job": str(state.job.job_id) if state.job else None,
        "scores": {name: round(score, 6) for name, score in state.scores.items()},
        "seconds": state.seconds | state.console.seconds,
        **state.facts,
    }


sys.exit(main(sys.argv[1:]))
