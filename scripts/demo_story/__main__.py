"""``scripts/demo``: tells the story of one job, from sealing to proof."""

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

from scripts.demo_story import chain as ground
from scripts.demo_story import own_data as yours
from scripts.demo_story import setup as stage
from scripts.demo_story import story
from scripts.demo_story.console import Teller
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
  scripts/demo --json          nothing but one JSON document at the end
  scripts/demo --keep          leave the market running, and print where it is
  scripts/demo --chain ganache on another local chain: anvil, hardhat or ganache
  scripts/demo --chain https://rpc.example --key-file bank.key --finality depth:12
"""


def main(words: list[str]) -> int:
    """Run the story; the exit status is 0 when all of it came true."""
    options = _options(words)
    tell = Teller(quiet=options.json, fast=options.fast, record=options.svg is not None)
    folder = Path(tempfile.mkdtemp(prefix="sealmarket-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        with Supervisor(logs=folder / "logs") as programs:
            told = _perform(tell, programs, folder, options)
            told.seconds["total"] = round(time.monotonic() - began, 3)
            _report(tell, told, options)
            if options.keep:
                yours.tell(told, yours.prepare(told))
                threading.Event().wait()
    except KeyboardInterrupt:
        tell.say(f"\n[yellow]stopped; nothing is left running[/], the files are in {folder}")
        return 130
    except (SealmarketError, StoryBroken, ProcessError) as error:
        print(f"The story broke: {error}\nThe logs are in {folder / 'logs'}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _options(words: list[str]) -> argparse.Namespace:
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
    parser.add_argument("--svg", type=Path, help="keep the story as a picture")
    ground.add_options(parser)
    options = parser.parse_args(words)
    ground.check_options(parser, options)
    return options


def _perform(tell: Teller, programs: Supervisor, folder: Path, options: argparse.Namespace) -> Story:
    tell.title(
        "Sealmarket: two hospitals, one insurer, and nobody who sees a row",
        "Everything below is real: contracts, cryptography, processes, quotes in Intel's format.",
        "Only the silicon is not: a virtual TDX device with a development root stands in for it,",
        "and everything that it signs says [bold yellow]SIMULATED[/].",
    )
    tell.act("The stage is set", "A chain, three oracle nodes, a backend, a virtual TEE device: each its own process.")
    with tell.step("chain", "The chain is there"):
        chain = ground.choose(options, programs, lambda note: tell.say(f"[yellow]{note}[/]"))
    tell.say(f"[dim]{chain.about}[/]", indent=5)
    told = _set_stage(tell, programs, folder, chain)
    story.seal_and_publish(told)
    story.offer_compute(told)
    with ThreadPoolExecutor(max_workers=1) as home:
        story.train_at_home(told, home)
        job_id = story.request(told)
        story.attest_and_compute(told, job_id)
        story.open_and_score(told)
    story.count_money(told)
    refuse_all(told)
    prove(told)
    if chain.bank_key is not None and not options.keep:
        with tell.step("hand_back", "What is left goes back to the account that paid for all this"):
            returned = ground.hand_back(told.market)
        tell.say(f"[dim]{coin(returned)} coins returned[/]", indent=5)
    return told


def _set_stage(tell: Teller, programs: Supervisor, folder: Path, chain: ground.Ground) -> Story:
    """Everything and everybody that the story needs, before anybody does anything."""
    with tell.step("market", "Contracts, oracle nodes, backend and device come up") as now:
        market = LocalMarket.start(
            programs,
            folder,
            chain.url,
            finality=chain.finality,
            bank_key=chain.bank_key,
            purse=chain.money.purse,
            signature_fee=chain.money.signature_fee,
            patience=chain.patience,
            said=now,
        )
    with tell.step("image", "The enclave image is built, and measured by those who will trust it"):
        image, measurement = stage.prepare_image(folder / "image")
    with tell.step("workload", "The workload's dependencies are locked, file by file"):
        workload = stage.prepare_workload(story.WORKLOAD, folder / "workload")
    with tell.step("purses", "Everybody gets an account of their own"):
        cast = stage.gather(market)
    return Story(
        tell=tell,
        market=market,
        folder=folder,
        parts=parts(),
        workload=workload,
        image=image,
        measurement=measurement,
        cast=cast,
        result_key=story.result_key(folder),
        money=chain.money,
        patience=chain.patience,
    )


def _report(tell: Teller, told: Story, options: argparse.Namespace) -> None:
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, content in told.outputs.items():
            (options.out / name).write_bytes(content)
        for path in (told.market.book_file, *told.folder.glob("*.sealproof.json")):
            shutil.copy(path, options.out)
    tell.say("")
    tell.console.print(
        f"[bold green]All of it came true[/] in {told.seconds['total']:.0f} s. "
        "Next: [bold]scripts/test[/], or your own data: README.md, “Your own data”."
    )
    if options.svg:
        tell.picture(options.svg)
    if options.json:
        print(json.dumps(_document(told), indent=2))


def _document(told: Story) -> dict[str, Any]:
    return {
        "ok": True,
        "simulated": True,
        "chain": {"id": told.market.book.chain_id, "finality": told.market.book.finality.describe()},
        "job": str(told.job.job_id) if told.job else None,
        "scores": {name: round(score, 6) for name, score in told.scores.items()},
        "seconds": told.seconds | told.tell.seconds,
        **told.told,
    }


sys.exit(main(sys.argv[1:]))
