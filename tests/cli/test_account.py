"""Accounts on the command line: made, kept, shown, copied; nothing prints a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from sealmarket.cli.main import main
from sealmarket.client.accounts import load_account

KEY = "11" * 32
ADDRESS = Account.from_key(bytes.fromhex(KEY)).address


@pytest.fixture(autouse=True)
def _cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = Account.encrypt
    monkeypatch.setattr(Account, "encrypt", lambda key, word, kdf: cheap(key, word, kdf=kdf, iterations=2**10))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("pw").write_text("caf\u00e9\n")
    Path("decomposed").write_text("cafe\u0301\n")
    Path("other").write_text("tea\n")
    Path("exported.key").write_text(KEY)
    Path("exported.key").chmod(0o600)
    return tmp_path


def run(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    said = capsys.readouterr()
    code: Any = ended.value.code
    return code or 0, said.out, said.err


@pytest.mark.usefixtures("folder")
def test_no_account_is_ever_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("new pw", "import exported.key pw", "backup exported.key pw"):
        code, _, said = run(f"account {words} --passphrase-file other", capsys)
        assert (code, "pw exists" in said) == (2, True), words
    assert Path("pw").read_text() == "caf\u00e9\n"


@pytest.mark.usefixtures("folder")
def test_a_new_account_opens_with_its_passphrase_however_that_is_composed(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = run("account new a.json --passphrase-file decomposed --json", capsys)
    made = json.loads(said)["address"]
    assert (code, Path("a.json").stat().st_mode & 0o777) == (0, 0o600)
    for word in ("caf\u00e9", "cafe\u0301"):
        assert load_account(Path("a.json"), word).address == made
    code, _, said = run("account backup a.json b.json --passphrase-file other", capsys)
    assert (code, "passphrase is another" in said) == (1, True)
    assert not Path("b.json").exists()


@pytest.mark.usefixtures("folder")
def test_a_keystore_of_other_software_opens_with_the_passphrase_as_it_was_typed_there() -> None:
    Path("theirs.json").write_text(json.dumps(Account.encrypt(bytes.fromhex(KEY), "cafe\u0301", "scrypt")))
    Path("theirs.json").chmod(0o600)
    assert load_account(Path("theirs.json"), "cafe\u0301").address == ADDRESS


@pytest.mark.usefixtures("folder")
def test_an_account_is_imported_shown_listed_and_copied_and_nothing_prints_its_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for words in (
        "import exported.key a.json --passphrase-file pw",
        "show a.json",
        "show exported.key",
        "list",
        "backup a.json copy.json --passphrase-file pw",
    ):
        code, said, error = run(f"account {words}", capsys)
        assert (code, ADDRESS in said) == (0, True), (words, said, error)
        told += [said, error]
    assert KEY not in "".join(told)
    assert load_account(Path("copy.json"), "caf\u00e9").address == ADDRESS


@pytest.mark.usefixtures("folder")
def test_a_file_without_an_account_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("none.json").write_text("{}")
    Path("none.json").chmod(0o600)
    assert run("account show nowhere.json", capsys)[0] == 1
    code, _, said = run("account backup none.json copy.json --passphrase-file pw", capsys)
    assert (code, "no account file" in said) == (1, True)
    assert run("account list", capsys)[1] == "no keystore in .\n"


@pytest.mark.usefixtures("folder")
def test_a_passphrase_is_the_options_files_then_the_environments_files_then_the_environments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEALMARKET_PASSPHRASE", "of the environment")
    for name, words in {"a": "", "b": "", "c": " --passphrase-file other"}.items():
        if name == "b":
            monkeypatch.setenv("SEALMARKET_PASSPHRASE_FILE", "pw")
        assert run(f"account new {name}.json{words}", capsys)[0] == 0
    for name, passphrase in {"a": "of the environment", "b": "caf\u00e9", "c": "tea"}.items():
        assert load_account(Path(f"{name}.json"), passphrase).address
