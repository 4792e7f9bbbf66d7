"""The command line over real processes: an offer with its limits, a request that says what it locks, a suspension."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sealmarket.client import create_result_key
from sealmarket.protocol.amounts import written
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from tests.acceptance.market import COMPUTE_PRICE, PRICES, Rehearsal
from tests.cli.test_market_commands import run


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
    code, out, error = run([*command, "--allow-simulated"], capsys)
    assert code == 0, error
    answer = json.loads(out)
    assert answer["locks"]["assets"] == str(sum(map(int, PRICES.values())))
    assert int(answer["locks"]["hold"]) > 3 * rehearsal.fees(1)
    assert "to withdraw the job before that burns it" in error
    spec = rehearsal.read(JobId(Bytes32.parse(answer["jobId"]))).spec
    assert int(spec.hold_fee) <= int(answer["locks"]["hold"])
    rehearsal.reach_status(JobId(Bytes32.parse(answer["jobId"])), Status.SETTLED, Status.MATURED, Status.EXPIRED)


def test_a_request_that_nobody_matches_is_voided_in_time_or_kept_listed_and_cancelled(
    rehearsal: Rehearsal, words: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_result_key(tmp_path / "result.key", confirm_unencrypted=True)
    promise = "0x" + "ab" * 32
    command = ["consumer", "request", *words("consumer"), "--asset", str(rehearsal.sealed["north"].asset_id)]
    command += ["--workload", str(rehearsal.workload.bundle), "--max-compute-price", str(int(COMPUTE_PRICE))]
    command += ["--result-key", str(tmp_path / "result.key"), "--allow-simulated", "--capability", promise]

    def listed() -> dict[str, str]:
        states: dict[str, str] = json.loads(run(["consumer", "list", *words("consumer"), "--json"], capsys)[1])
        return states

    code, _, error = run([*command, "--wait", "5"], capsys)
    assert code == 1
    assert "expected among those that the request accepts" in error
    assert "is voided" in error
    assert list(listed().values()) == ["voided"]
    code, _, error = run([*command, "--wait", "1", "--keep"], capsys)
    assert (code, "stays in the book" in error) == (1, True)
    (kept,) = [request for request, state in listed().items() if state == "open"]
    assert run(["consumer", "cancel", "0x" + "11" * 32, *words("consumer")], capsys)[0] == 2
    code, out, _ = run(["consumer", "cancel", kept, *words("consumer")], capsys)
    assert (code, json.loads(out)) == (0, {"request": kept, "state": "voided"})
    assert set(listed().values()) == {"voided"}


def test_a_version_that_is_not_suspended_is_not_lifted(
    rehearsal: Rehearsal, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["owner", "lift", str(rehearsal.sealed["north"].asset_id), "1", *words("north")]
    code, out, error = run([*command, "--yes"], capsys)
    assert (code, out) == (2, "")
    assert "is not suspended" in error
