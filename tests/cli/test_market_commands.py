"""The commands of owners, consumers and auditors say what is wrong and what to do, before they touch anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealmarket.chain.deploy import write_book
from sealmarket.chain.fees import FeeLimits, parse_fee, parse_limits
from sealmarket.cli._options import Usage, amount, coins
from sealmarket.cli.main import main
from sealmarket.receipts.bundle import write_proof
from sealmarket_enclave.protocol.errors import MalformedDocument
from tests.client.bundles import Case

ID = "0x" + "11" * 32


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), said.out, said.err


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "market.json"
    write_book(path, Case().book)
    return path


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e18", "1.0000000000000000001coin", "coin", "0x10", "1 000"])
def test_an_amount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="write 1500"):
        amount(text)


@pytest.mark.parametrize(
    ("text", "wei"), [("1500", 1500), ("1coin", 10**18), ("1.5coin", 15 * 10**17), ("0.000000000000000001 eth", 1)]
)
def test_an_amount_is_exact(text: str, wei: int) -> None:
    assert amount(text) == wei
    assert amount(coins(wei)) == wei


def test_a_job_id_alone_is_told_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(["verify", ID], capsys)
    assert (code, "give --rpc and --book, or a proof file" in said) == (2, True)


def test_a_proof_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(["verify", "nowhere.sealproof.json"], capsys)
    assert (code, "there is no proof nowhere" in said) == (2, True)


def test_a_book_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "market.json"
    path.write_text("{}")
    code, _, said = run(["chain", "book", "--book", str(path)], capsys)
    assert (code, "no address book" in said) == (1, True)


@pytest.mark.loopback
def test_a_chain_that_does_not_answer_is_told_with_what_to_do(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["consumer", "status", ID, "--book", str(book), "--rpc", "http://127.0.0.1:9"]
    code, _, said = run(words, capsys)
    assert (code, "check that the node runs" in said) == (1, True)


def test_an_id_that_is_none_is_refused(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(["consumer", "status", "0x12", "--book", str(book), "--rpc", "http://127.0.0.1:9"], capsys)
    assert (code, "is not 32 bytes" in said) == (2, True)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with things that are not what commands ask for."""
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("")
    Path("braces.json").write_text("{}")
    Path("folder").mkdir()
    Path("data.csv").write_text("a,b\n1,2\n")
    key = Path("account.key")
    key.write_text("11" * 32)
    key.chmod(0o600)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        ("consumer key new.key --passphrase-file empty", "holds no passphrase", "first line"),
        ("consumer key new.key --passphrase-file none", "none: No such file", ""),
        ("consumer deposit abc", "'abc' is no amount", "write 1500"),
        ("consumer fetch {id} --result-key braces.json --out out", "is no key file", "consumer key"),
        (
            "consumer request --workload folder --asset 0x1 --result-key none --max-compute-price 1",
            "none is no key file: No such file",
            "consumer key",
        ),
        ("owner publish folder", "holds no sealed asset", "owner seal"),
        ("owner revoke 0xabc 1", "is not 32 bytes", "copy the whole id"),
        ("owner tighten 0xabc 1 --max-uses 1", "is not 32 bytes", "copy the whole id"),
        ("owner tighten {id} 1", "nothing to tighten", "name --price"),
        ("owner seal data.csv --policy braces.json --out out", "is no policy draft", "policy-schema"),
        ("provider stake 1.5", "'1.5' is no amount", "write 1500"),
        ("provider offer --price 1 --penalty 1 --tee tpm", "'tpm' is none of sgx, tdx, snp, cca", "name one"),
        ("chain account 0x12", "is no account", "copy the whole address"),
    ],
)
def test_a_wrong_call_is_refused_before_anybody_is_asked(
    words: str, said: str, remedy: str, book: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sockets are blocked here: a question to the chain would fail otherwise."""
    command = words.format(id=ID).split()
    if command[:2] != ["consumer", "key"]:
        command += ["--book", str(book), "--rpc", "http://127.0.0.1:9"]
        command += [] if command[0] == "chain" else ["--key-file", "account.key"]
    code, _, error = run(command, capsys)
    assert code == (1 if "No such file" in said and "key file" not in said else 2)
    assert error.startswith("error: ")
    assert said in error
    assert remedy in error


def test_a_refuted_proof_shows_what_was_expected_and_found(
    book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = tmp_path / "job.sealproof.json"
    write_proof(proof, Case().bundle())
    code, said, _ = run(["verify", str(proof), "--book", str(book)], capsys)
    assert code == 1
    assert "conclusion: refuted" in said
    assert "expected" in said


def test_an_offline_proof_is_consistent_and_says_that_it_is_not_proven(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = tmp_path / "job.sealproof.json"
    write_proof(proof, Case().bundle())
    code, said, _ = run(["verify", str(proof), "--json"], capsys)
    told = json.loads(said)
    assert (code, told["conclusion"], told["simulated"]) == (3, "consistent, not proven", True)
    assert [step["number"] for step in told["steps"]] == list(range(1, 9))


def test_an_address_book_is_shown(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = run(["chain", "book", "--book", str(book), "--json"], capsys)
    assert (code, json.loads(said)["chainId"]) == (0, 31337)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "30 GWEI", "1.0000000001gwei", "9" * 31, "١gwei"])
def test_a_fee_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedDocument, match="write 30gwei"):
        parse_fee(text)


def test_a_fee_is_exact_and_what_is_absent_has_its_default() -> None:
    assert [parse_fee(text) for text in ("1500", "30gwei", "0.000000001 gwei")] == [1500, 30 * 10**9, 1]
    assert parse_limits(None, "") == FeeLimits()
    assert parse_limits("2gwei", "1") == FeeLimits(2 * 10**9, 1)


def test_a_topic_that_is_none_is_refused_before_the_backend_is_asked(
    book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["market", "watch", "--topics", "jobs, job", "--book", str(book), "--rpc", "http://127.0.0.1:9"]
    code, _, error = run(words, capsys)
    assert (code, "'job' is none of jobs, requests" in error) == (2, True)
