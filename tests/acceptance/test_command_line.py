"""The command line over real processes: an offer with its limits, a request that says what it locks, a suspension."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from sealmarket.client import create_result_key
from sealmarket.protocol.amounts import written
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from tests.acceptance.market import COMPUTE_PRICE, OUTPUT, PENALTY, PRICES, WINDOWS, Rehearsal
from tests.cli.test_market_commands import run
from tests.patience import until


@pytest.fixture
def words(rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The options that every command takes, for a party."""
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    book, rpc = str(rehearsal.market.book_file), rehearsal.market.rpc

    def options(party: str) -> list[str]:
        key = str(rehearsal.market.purses[party].key_file)
        return ["--book", book, "--rpc", rpc, "--key-file", key, "--json"]

    return options


def test_an_offer_whose_penalty_cannot_pay_the_oracle_is_refused_with_the_number(
    rehearsal: Rehearsal, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    least = rehearsal.fees(2 * 2 + 3)
    command = ["provider", "offer", *words("host"), "--price", "1coin", "--penalty", str(least - 1), "--simulated"]
    code, out, error = run(command, capsys)
    assert (code, out) == (1, "")
    assert f"penalty is {written(least - 1)}, expected at least {written(least)}" in error


def test_a_request_is_matched_with_an_offer_and_says_what_it_locks(
    rehearsal: Rehearsal, words: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_result_key(tmp_path / "result.key", confirm_unencrypted=True)
    assets = [word for sealed in rehearsal.sealed.values() for word in ("--asset", str(sealed.asset_id))]
    command = ["consumer", "request", *words("consumer"), *assets, "--workload", str(rehearsal.workload.bundle)]
    command += ["--max-compute-price", str(int(COMPUTE_PRICE)), "--result-key", str(tmp_path / "result.key")]
    code, out, error = run([*command, "--allow-simulated", "--yes"], capsys)
    assert code == 0, error
    answer = json.loads(out)
    assert answer["locks"]["assets"] == str(sum(map(int, PRICES.values())))
    assert int(answer["locks"]["hold"]) > 3 * rehearsal.fees(1)
    assert "to withdraw the job before that burns it" in error
    spec = rehearsal.read(JobId(Bytes32.parse(answer["jobId"]))).spec
    assert int(spec.hold_fee) <= int(answer["locks"]["hold"])
    rehearsal.reach_status(JobId(Bytes32.parse(answer["jobId"])), Status.SETTLED, Status.MATURED, Status.EXPIRED)


@pytest.fixture
def asking(rehearsal: Rehearsal, words: Any, tmp_path: Path) -> Callable[..., list[str]]:
    """A call of `quote` or `request` for the owner's standing asset, with other options behind it."""
    create_result_key(tmp_path / "result.key", confirm_unencrypted=True)

    def command(name: str, *more: str) -> list[str]:
        call = ["consumer", name, *words("consumer"), "--workload", str(rehearsal.workload.bundle), "--allow-simulated"]
        call += ["--max-compute-price", str(int(COMPUTE_PRICE)), "--result-key", str(tmp_path / "result.key")]
        return [*call, *more]

    return command


def test_what_would_be_refused_for_money_is_refused_for_free(
    rehearsal: Rehearsal, words: Any, asking: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = rehearsal.still()
    asset = rehearsal.publish(
        "north", workloads=(rehearsal.reach.digest,), output=structs.replace(OUTPUT, minimum_owners=2)
    )
    code, out, _ = run(asking("quote", "--asset", str(asset.asset_id)), capsys)
    assert code == 1
    assert {clause["code"] for clause in json.loads(out)["clauses"]} == {"workload_not_allowed", "output_rules_unmet"}
    code, _, error = run(asking("request", "--asset", str(asset.asset_id), "--yes"), capsys)
    assert code == 1
    assert "expected one of the 1 that its policy lists" in error
    assert "expected assets of 2 different owners" in error
    assert json.loads(run(["consumer", "list", *words("consumer")], capsys)[1]) == {}
    assert rehearsal.balances() == before


def test_a_quote_is_the_price_that_is_paid_to_the_wei(
    rehearsal: Rehearsal,
    words: Any,
    asking: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assets = [word for sealed in rehearsal.sealed.values() for word in ("--asset", str(sealed.asset_id))]
    code, out, error = run(asking("quote", *assets), capsys)
    assert code == 0, error + out
    price = json.loads(out)["price"]
    answer = json.loads(run(asking("request", *assets, "--yes"), capsys)[1])
    options = words("consumer")
    code, _, error = run(["consumer", "watch", answer["jobId"], *options], capsys)
    assert (code, "the oracle nodes have to appraise" in error) == (0, True), error
    fetched = ["--result-key", str(tmp_path / "result.key"), "--out", str(tmp_path / "a result"), "--acknowledge"]
    code, _, error = run(["consumer", "fetch", answer["jobId"], *options, *fetched], capsys)
    assert code == 0, error
    rehearsal.reach_status(JobId(Bytes32.parse(answer["jobId"])), Status.MATURED)
    for name in (answer["jobId"], answer["requestHash"]):
        explained = json.loads(run(["consumer", "explain", name, *options], capsys)[1])
        assert sum(int(row["amount"]) for row in explained["money"]) == 0
        paid = sum(int(row["amount"]) for row in explained["money"] if row["who"] == "payer")
        assert -paid == int(price["total"]) <= int(price["most"])


def test_without_a_terminal_nothing_is_signed_unless_it_was_agreed_to(
    rehearsal: Rehearsal,
    asking: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assets = [word for sealed in rehearsal.sealed.values() for word in ("--asset", str(sealed.asset_id))]
    code, out, error = run(asking("request", *assets), capsys)
    assert (code, out) == (2, "")
    assert "is not signed yet" in error
    assert "add --yes" in error


def test_a_request_that_no_offer_fits_is_refused_with_the_nearest_or_kept_listed_and_cancelled(
    rehearsal: Rehearsal, words: Any, asking: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    asset = ("--asset", str(rehearsal.sealed["north"].asset_id), "--capability", "0x" + "ab" * 32)

    def listed() -> dict[str, str]:
        states: dict[str, str] = json.loads(run(["consumer", "list", *words("consumer"), "--json"], capsys)[1])
        return states

    code, out, _ = run(asking("quote", *asset), capsys)
    (clause,), nearest = json.loads(out)["clauses"], json.loads(out)["nearest"]
    assert (code, clause["code"]) == (1, "no_offer")
    assert {unmet["limit"] for unmet in nearest[0]["unmet"]} == {"capabilityHash"}
    assert run(asking("request", *asset, "--yes"), capsys)[0] == 1
    assert listed() == {}
    code, _, error = run(asking("request", *asset, "--wait", "1", "--keep", "--yes"), capsys)
    assert (code, "stays in the book" in error) == (1, True)
    (kept,) = [request for request, state in listed().items() if state == "open"]
    standing = json.loads(run(["consumer", "explain", kept, *words("consumer")], capsys)[1])
    assert (standing["state"], [one["code"] for one in standing["quote"]["clauses"]]) == ("open", ["no_offer"])
    assert run(["consumer", "cancel", "0x" + "11" * 32, *words("consumer")], capsys)[0] == 2
    code, out, _ = run(["consumer", "cancel", kept, *words("consumer")], capsys)
    assert (code, json.loads(out)) == (0, {"request": kept, "state": "voided"})
    assert set(listed().values()) == {"voided"}
    assert json.loads(run(["consumer", "status", kept, *words("consumer")], capsys)[1])["state"] == "voided"


def test_a_version_that_is_not_suspended_is_not_lifted(
    rehearsal: Rehearsal, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["owner", "lift", str(rehearsal.sealed["north"].asset_id), "1", *words("north")]
    code, out, error = run([*command, "--yes"], capsys)
    assert (code, out) == (2, "")
    assert "is not suspended" in error


def test_a_market_is_searched_and_what_is_shown_is_the_chains(
    rehearsal: Rehearsal, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {"kind": "table of cells", "columns": ["x", "y"], "purposes": ["DUO:0000042"]}
    asset = rehearsal.publish("south", title="Cells under glass", data_card=card)
    options = _public(words("consumer"))
    for query in (["cells"], ["--purpose", "DUO:0000042"], ["--kind", "table of cells", "--max-price", "0.2coin"]):
        answer = _until_found(["market", "assets", *query, *options], asset.asset_id, capsys)
        assert answer["owner"] == rehearsal.address("south").checksum
        assert (answer["columns"], answer["price"]) == (["x", "y"], str(int(PRICES["south"])))
    code, out, _ = run(["market", "assets", "--column", "none of them", *options], capsys)
    assert (code, json.loads(out)["assets"]) == (0, [])
    code, out, _ = run(["market", "providers", *options], capsys)
    names = {one["provider"] for one in json.loads(out)}
    assert (code, names) == (0, {rehearsal.address(name).checksum for name in ("provider", "host")})
    code, out, _ = run(["market", "book", "--tee", rehearsal.market.tee.slug, *options], capsys)
    assert (code, {int(one["order"]["price"]) for one in json.loads(out)}) == (0, {int(COMPUTE_PRICE)})
    code, out, _ = run(["market", "jobs", "--consumer", str(rehearsal.address("consumer")), *options], capsys)
    listed = json.loads(out)
    assert code == 0
    assert all(rehearsal.read(JobId(Bytes32.parse(one["job"]))).status.name.lower() == one["status"] for one in listed)


def test_a_provider_sees_what_is_locked_lost_and_earned_and_what_is_wrong(
    rehearsal: Rehearsal, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = rehearsal.job(provider="host")  # the tests serve that one, and this test does not
    found = json.loads(run(["provider", "balance", *words("host")], capsys)[1])
    locked = sum(map(int, PRICES.values())) + int(PENALTY)
    assert found["locked"] == str(locked)
    assert {job["locked"] for job in found["jobs"] if job["job"] == str(silent)} == {str(locked)}
    rehearsal.pass_time(WINDOWS["quote_window"] // 2 + 1)
    late = rehearsal.chain.head().number
    until("a final block of that time", lambda: rehearsal.chain.final().number >= late)
    code, out, _ = run(["provider", "doctor", *words("host")], capsys)
    checks = {check["name"]: check for check in json.loads(out)}
    assert code == 1
    assert checks["worker"]["state"] == "FAILED"
    assert checks["market"]["state"] == checks["store"]["state"] == checks["gas"]["state"] == "ok"
    rehearsal.pass_time(WINDOWS["quote_window"])
    rehearsal.reach_status(silent, Status.EXPIRED)
    found = json.loads(run(["provider", "history", *words("host")], capsys)[1])
    (job,) = [job for job in found["jobs"] if job["job"] == str(silent)]
    assert (job["lost"], job["why"]) == (str(int(PENALTY)), "the provider started no enclave within the quote window")
    assert [row["what"] for row in found["ledger"]][:2] == ["deposited", "staked"]
    explained = json.loads(run(["consumer", "explain", str(silent), *words("consumer")], capsys)[1])
    assert explained["meaning"] == job["why"]
    assert sum(int(row["amount"]) for row in explained["money"]) == 0


def _public(options: list[str]) -> list[str]:
    """The options without the account: who looks at a market needs none."""
    place = options.index("--key-file")
    return options[:place] + options[place + 2 :]


def _until_found(command: list[str], asset: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The asset in the answer of a search, once the backend has indexed it."""

    def found() -> dict[str, Any] | None:
        answers = json.loads(run(command, capsys)[1])["assets"]
        return next((one for one in answers if one["asset"] == str(asset)), None)

    return until(f"{asset} by {command}", found)
