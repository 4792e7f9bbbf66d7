"""A request whose parameters or assets do not fit the workload is refused on the command line, and nothing is signed.

The enclave would find the same, but then the consumer has paid for the job.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sealmarket.chain.deploy import write_book
from sealmarket.client import create_result_key
from sealmarket.workloads.wheels import build
from tests.cli.test_market_commands import ID, run
from tests.client.bundles import Case
from tests.enclave.workload.bundles import bundle


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A whole call, but for parameters and assets."""
    write_book(tmp_path / "market.json", Case().book)
    create_result_key(tmp_path / "result.key", confirm_unencrypted=True)
    account = tmp_path / "account.key"
    account.write_text("11" * 32)
    account.chmod(0o600)
    tree = bundle(tmp_path / "workload")
    (tree / "environment.json").write_bytes(build(b"", []).canonical())
    options = {
        "--workload": tree,
        "--result-key": tmp_path / "result.key",
        "--key-file": account,
        "--book": tmp_path / "market.json",
        "--rpc": "http://127.0.0.1:9",
        "--max-compute-price": "1",
    }
    return ["consumer", "request", *(str(word) for pair in options.items() for word in pair)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "parameter target is 'missing', expected a string"),
        (["target=1"], "parameter target is 1, expected a string"),
        (["target=a", "depth=2"], "parameter depth is 2, expected no parameter but"),
        (["target=" + "a" * 99], "expected at most 8 characters"),
    ],
    ids=["missing", "another type", "unknown", "too long"],
)
def test_parameters_outside_the_schema_are_refused_before_anybody_is_asked(
    given: list[str], said: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assets = ["--asset", ID, "--asset", ID]
    code, out, error = run([*words, *assets, *(word for text in given for word in ("--parameter", text))], capsys)
    assert (code, out) == (1, "")
    assert said in error
    assert "after the workload's schema" in error


def test_another_number_of_assets_than_the_workload_takes_is_refused_before_anybody_is_asked(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run([*words, "--parameter", "target=a", "--asset", ID], capsys)
    assert (code, "number of assets is 1, expected 2 to" in error) == (1, True)
