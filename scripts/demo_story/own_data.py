"""After the story: the market stays up, and the reader can sell the use of a file of their own in it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from scripts.demo_story.story import DAY, Story
from scripts.toolchain import VENV
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.client import DraftTerms, PolicyDraft
from sealmarket_enclave.protocol.codec import canonical_json, to_builtins
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_localnet.market import coin


def prepare(story: Story) -> Path:
    """A folder with what the reader needs: an account with coin, and a policy draft for any CSV of theirs.

    Returns the script of shell variables that the commands below rely on.
    """
    folder = story.folder / "own-data"
    folder.mkdir(mode=0o700)
    you = story.market.purse("you")
    (folder / "policy.json").write_bytes(msgspec.json.format(canonical_json(_draft(story)), indent=2))
    (folder / "workload").symlink_to(story.workload.folder)
    variables = {
        "SEALMARKET_BOOK": story.market.book_file,
        "SEALMARKET_RPC": story.market.rpc,
        "SEALMARKET_KEY_FILE": you.key_file,
        "PATH": f"{VENV / 'bin'}{os.pathsep}$PATH",
    }
    environment = folder / "env.sh"
    environment.write_text("".join(f'export {name}="{value}"\n' for name, value in variables.items()))
    return environment


def _draft(story: Story) -> PolicyDraft:
    rules = AppraisalPolicy(measurements=(story.measurement,), platforms="any", lowest_grade="simulated")
    return PolicyDraft(
        title="My table",
        evidence=to_builtins(rules),
        workloads=(story.workload.digest,),
        terms=DraftTerms(
            price=story.money.compute_price,
            expiry=story.market.chain.head().timestamp + 30 * DAY,
            max_uses=10,
            purposes=("train",),
            min_grade="simulated",
        ),
        output=OutputRules(
            media_types=("application/json", "application/onnx"), max_outputs=2, max_bytes=5 << 20, bucket_bytes=1 << 16
        ),
        data_card={"note": "owner seal --describe puts the table's own card here"},
    )


def show_commands(story: Story, environment: Path) -> None:
    """Print what runs at which address, and the commands for a file of the reader's own."""
    book, folder = story.market.book, environment.parent
    story.console.table(
        "Still running; Ctrl-C ends it",
        ("what", "where"),
        [
            ("market page", f"{book.backend}/"),
            ("chain", story.market.rpc),
            *((f"oracle node {n}", f"{m.url}/v1/node") for n, m in enumerate(book.committees[0].members)),
            ("address book", str(story.market.book_file)),
            ("logs", str(story.market.programs.logs)),
        ],
    )
    price = coin(story.money.compute_price)
    asked = (
        f"--workload {folder}/workload --asset ASSET --parameter target=COLUMN \\\n"
        f"    --max-compute-price {price}coin --capability {story.promise.digest()} \\\n"
        "    --result-key result.key --allow-simulated"
    )
    story.console.commands(
        "Your own data: any table with a header line, 50 rows or more",
        [
            f". {environment}",
            f"sealmarket owner seal YOURS.csv --describe --policy {folder}/policy.json --out sealed --plain-key",
            "sealmarket owner publish sealed",
            "sealmarket consumer key result.key --plain",
            f"sealmarket consumer deposit {coin(4 * story.money.unit)}coin",
            f"sealmarket consumer quote {asked}",
            f"sealmarket consumer request {asked}",
            "sealmarket consumer watch JOB",
            "sealmarket consumer fetch JOB --result-key result.key --out result --acknowledge --with-evidence",
            "sealmarket consumer explain JOB",
            f"sealmarket verify result/*.sealproof.json --development-root {story.market.root_file}",
        ],
    )
