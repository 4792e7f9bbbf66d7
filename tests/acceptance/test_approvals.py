"""A consumer proposes a workload, each owner inspects and signs, and nothing runs before all of them have let it in."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from sealmarket.chain import Fault
from sealmarket.client import AssetWish, SealedAsset
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.transitions import Status
from sealmarket.sealing.keyfile import KeyKind, write_key_file
from sealmarket_enclave.protocol.numbers import JobId, Tee
from tests.acceptance import workloads
from tests.acceptance.market import Rehearsal, names_of
from tests.acceptance.proofs import prove
from tests.acceptance.workloads import CODE, Workload
from tests.cli.test_market_commands import run
from tests.patience import until


@pytest.fixture
def say(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs a command as a party, by its own home; returns exit code, answer and errors."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def called(party: str, *words: object) -> tuple[int, Any, str]:
        monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / party))
        monkeypatch.setenv("SEALMARKET_KEY_FILE", str(rehearsal.market.purses[party].key_file))
        monkeypatch.setenv("SEALMARKET_BOOK", str(rehearsal.market.book_file))
        monkeypatch.setenv("SEALMARKET_RPC", rehearsal.market.rpc)
        code, out, error = run([*map(str, words)], capsys)
        return code, json.loads(out) if out.startswith("{") else out, error

    return called


def proposed(say: Any, workload: Workload, *assets: SealedAsset, file: Path | None = None) -> str:
    named = [word for one in assets for word in ("--asset", f"{one.asset_id}:{one.version}")]
    named += ["--file", str(file)] if file else []
    code, told, error = say("consumer", "consumer", "propose", "--workload", workload.bundle, *named, "--json")
    assert code == 0, error
    return str(told["proposal"])


def final(rehearsal: Rehearsal, block: int) -> None:
    until("a final block", lambda: rehearsal.chain.final().number >= block)


def job(rehearsal: Rehearsal, workload: Workload, *versions: tuple[SealedAsset, int]) -> JobId:
    wishes = [AssetWish(asset_id=sealed.asset_id, version=version) for sealed, version in versions]
    limits = rehearsal.limits("provider")
    handle = rehearsal.consumer.request(workload.bundle, {}, wishes, limits, rehearsal.result_key)
    return rehearsal.consumer.wait_match(handle)


def test_nothing_runs_before_all_owners_have_signed_and_let_it_in(
    rehearsal: Rehearsal, say: Any, tmp_path: Path
) -> None:
    """The workload is in neither policy: each approval makes the next version, under key shares dealt for it."""
    north, south = (rehearsal.publish(name, workloads=(rehearsal.workload.digest,)) for name in ("north", "south"))
    better = workloads.other(rehearsal.workload, tmp_path / "better", CODE.replace('"rows": n', '"n": n'))
    proposal = proposed(say, better, north, south)
    code, told, _ = say("north", "owner", "proposals", "--json")
    assert proposal in {one["proposal"] for one in told["proposals"]}
    code, told, error = say("north", "owner", "approve", proposal, "--yes")
    assert (code, "was not inspected on this machine" in error) == (2, True)
    for party in ("north", "south"):
        assert say(party, "owner", "inspect", proposal)[0] == 0
    code, told, error = say("north", "owner", "approve", proposal, "--yes")
    assert (code, "does not name this workload" in error) == (2, True)
    code, told, error = say("north", "owner", "approve", proposal, "--sealed", north.folder, "--out", tmp_path / "n2")
    assert (code, "repeat the command with --yes" in error) == (2, True)
    words = ["owner", "approve", proposal, "--yes", "--json", "--reason", "=1+1 read it"]
    code, told, error = say("north", *words, "--sealed", north.folder, "--out", tmp_path / "n2")
    assert code == 0, error
    final(rehearsal, rehearsal.chain.head().number)
    _, told, _ = say("consumer", "consumer", "proposal", proposal, "--json")
    assert (told["ready"], [one["answer"] for one in told["owners"]]) == (False, ["approved", None])
    assert [one["runsIn"] for one in told["owners"]] == [2, None]

    record = rehearsal.reach_status(job(rehearsal, better, (north, 2), (south, 1)), Status.REFUSED)
    assert record.fault is Fault.REQUEST_REFUSED
    assert names_of(record.reasons) == {"workload_not_allowed"}

    code, _, error = say("south", *words, "--sealed", south.folder, "--out", tmp_path / "s2")
    assert code == 0, error
    final(rehearsal, rehearsal.chain.head().number)
    _, told, _ = say("consumer", "consumer", "proposal", proposal, "--json")
    assert (told["ready"], [one["runsIn"] for one in told["owners"]]) == (True, [2, 2])
    done = job(rehearsal, better, (north, 2), (south, 2))
    rehearsal.reach_status(done, Status.SETTLED, Status.MATURED)

    assert_audited(say, proposal, done)
    assert_carded(rehearsal, say, tmp_path, done)


def assert_audited(say: Any, proposal: str, done: JobId) -> None:
    code, text, error = say("north", "owner", "audit")
    assert code == 0, error
    lines = list(csv.DictReader(io.StringIO(text)))
    (signed,) = [line for line in lines if line["proposal"] == proposal]
    assert (signed["kind"], signed["answer"], signed["answer_reason"]) == ("approval", "approved", "'=1+1 read it")
    (use,) = [line for line in lines if line["job_id"] == str(done)]
    assert (use["opened"], use["outcome"], use["grade"], use["purpose"]) == ("yes", "result", "simulated", "train")
    assert use["paid_coin"] == "0.3"
    assert all(line["block"] and line["transaction"].startswith("0x") for line in lines)
    code, told, _ = say("north", "owner", "earnings", "--jobs", "--json")
    assert str(done) in {paid["jobId"] for paid in told["jobs"]}
    assert sum(int(one["earned"]) for one in told["assets"]) == sum(int(paid["paid"]) for paid in told["jobs"])
    code, text, _ = say("north", "owner", "list")
    assert "on sale" in text
    assert "version 2" in text


def assert_carded(rehearsal: Rehearsal, say: Any, tmp_path: Path, done: JobId) -> None:
    proof = prove(rehearsal, done)
    roots = [word for path in rehearsal.market.root_files for word in ("--development-root", str(path))]
    code, text, error = say("consumer", "consumer", "card", proof, *roots, "--name", "Line", "--format", "json")
    assert code == 0, error
    assert (text["jobId"], text["grade"], len(text["trainedOn"])) == (str(done), "simulated", 2)
    key = tmp_path / "result.key"
    secret = rehearsal.result_key.secret_bytes()
    write_key_file(key, KeyKind.RESULT_KEY, secret, about={}, passphrase=None, confirm_unencrypted=True)
    words = ("consumer", "card", proof, *roots, "--name", "Line", "--result-key", key, "--out", tmp_path / "README.md")
    code, text, error = say("consumer", *words)
    assert code == 0, error
    card = (tmp_path / "README.md").read_text()
    assert "**SIMULATED**" in card
    assert card.index("output model.json") < card.index("## Claimed by the workload") < card.index("| slope |")
    code, _, error = say("consumer", *words)
    assert (code, "exists" in error) == (2, True)


def test_a_workload_that_the_policy_names_comes_onto_the_list_beside_those_that_are_on_it(
    rehearsal: Rehearsal, say: Any, tmp_path: Path
) -> None:
    asset, owner = rehearsal.publish("north"), rehearsal.owners["north"]
    reach: Any = allowed_leaf(Tee.TDX, rehearsal.measurement.digest(), rehearsal.reach.digest)
    rehearsal.settle_block(owner.replace_allow_list(asset.asset_id, 1, [reach]))
    record = rehearsal.reach_status(rehearsal.job(asset), Status.REFUSED)
    assert names_of(record.reasons) == {"pair_not_on_chain"}
    file = tmp_path / "proposal 1.json"
    proposal = proposed(say, rehearsal.workload, asset, file=file)
    code, text, error = say("north", "owner", "inspect", file)
    assert (code, f"approve '{file}'" in text, "def run(inputs, parameters)" in text) == (0, True, True), error
    code, _, error = say("north", "owner", "approve", file, "--yes", "--json")
    assert code == 0, error
    _, told, _ = say("consumer", "consumer", "proposal", proposal, "--json")
    assert [one["answer"] for one in told["owners"]] == ["approved"]
    code, _, error = say("north", "owner", "decline", proposal, "--reason", "too late", "--json")
    assert code == 0, error
    final(rehearsal, rehearsal.chain.head().number)
    _, told, _ = say("consumer", "consumer", "proposal", proposal, "--json")
    assert [(one["answer"], one["runsIn"]) for one in told["owners"]] == [("declined", 1)]
    terms = rehearsal.chain.at(rehearsal.chain.final()).asset(asset.asset_id, 1).terms
    honest: Any = allowed_leaf(Tee.TDX, rehearsal.measurement.digest(), rehearsal.workload.digest)
    assert rehearsal.store.find_leaves(terms.allow_root) == frozenset({reach, honest})
    rehearsal.reach_status(rehearsal.job(asset), Status.SETTLED, Status.MATURED)


def test_what_ends_an_asset_asks_and_without_a_terminal_needs_a_word(rehearsal: Rehearsal, say: Any) -> None:
    asset = rehearsal.publish("north")
    before = rehearsal.chain.at(rehearsal.chain.head()).asset(asset.asset_id, 1)
    for words in (["tighten", "--expiry", "1000"], ["tighten", "--max-uses", "10"], ["revoke"]):
        code, _, error = say("north", "owner", words[0], asset.asset_id, *words[1:])
        assert code == 2
        assert "repeat the command with --yes" in error
    assert rehearsal.chain.at(rehearsal.chain.head()).asset(asset.asset_id, 1) == before
    for looser in (
        ["--price", "0.1coin"],
        ["--expiry", "in 300 days"],
        ["--max-uses", "2000"],
        ["--purposes", "query"],
    ):
        code, _, error = say("north", "owner", "tighten", asset.asset_id, *looser, "--yes")
        assert (code, "is looser" in error) == (2, True), error
    code, _, error = say("south", "owner", "revoke", asset.asset_id, "--yes")
    assert (code, f"belongs to {rehearsal.address('north').checksum}" in error) == (2, True)
    code, _, error = say("north", "owner", "revoke", "0x" + "12" * 32, "--yes")
    assert (code, "was never published" in error, "0x0000" in error) == (1, True, False)
    code, _, error = say("north", "owner", "tighten", asset.asset_id, "--expiry", "2001-01-01", "--yes")
    assert code == 0, error
    code, text, _ = say("north", "owner", "list")
    final(rehearsal, rehearsal.chain.head().number)
    code, text, _ = say("north", "owner", "list")
    assert f"{asset.asset_id} version 1: expired" in text
