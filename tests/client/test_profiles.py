"""Profiles: what is refused of one, and which of option, environment and profile counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain.deploy import write_book
from sealmarket.cli import main
from sealmarket.cli._profile import Defaults, next_command
from sealmarket.client import profiles
from sealmarket.client.profiles import Profile, ProfileRefused
from sealmarket_enclave.protocol.hashing import keccak
from tests.cli.test_market_commands import run
from tests.client.bundles import Case

DIGEST = "0x" + "ab" * 32


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("SEALMARKET_PROFILE", "SEALMARKET_BOOK", "SEALMARKET_RPC", "SEALMARKET_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    write_book(Path("market.json"), Case().book)
    return tmp_path


@pytest.mark.parametrize("name", ["", "..", "../evil", "a/b", "-x", "A", "ä", "a" * 65, "a\n", ".hidden"])
def test_what_is_no_name_names_no_file(name: str) -> None:
    with pytest.raises(ProfileRefused, match="that is no name"):
        profiles.path_of(name)


def test_a_profile_that_others_can_read_is_refused() -> None:
    profiles.keep("default", Profile(book="/b", book_digest=DIGEST, rpc="http://x")).chmod(0o644)
    with pytest.raises(ProfileRefused, match="0644"):
        profiles.find(None)


@pytest.mark.parametrize(
    "text",
    ["", "book = 1", "nonsense", 'book="b"\nbook_digest="0x1"\nrpc="r"', "\xff", 'key = "0x1234"'],
)
def test_what_is_no_profile_is_refused_with_its_file(text: str, home: Path) -> None:
    path = profiles.path_of("default")
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(ProfileRefused, match="is no profile"):
        profiles.find(None)


def test_a_profile_that_is_missing_is_refused_by_name_and_the_default_one_is_not() -> None:
    assert profiles.find(None) is None
    with pytest.raises(ProfileRefused, match="there is none; there are: none yet"):
        profiles.find("work")


def test_a_book_that_was_swapped_is_refused_and_the_old_one_is_taken_again(capsys: pytest.CaptureFixture[str]) -> None:
    _init(capsys)
    shutil.copy("market.json", "kept.json")
    other = replace(Case().book, backend="http://127.0.0.1:1", deployed_hash=keccak(b"another"))
    Path("market.json").unlink()
    write_book(Path("market.json"), other)
    code, out, error = run(["chain", "book"], capsys)
    assert (code, out) == (1, "")
    assert "another address book than your profile keeps" in error
    assert "init --replace" in error
    assert run(["chain", "book", "--book", "market.json"], capsys)[0] == 0  # named on the user's own word
    shutil.copy("kept.json", "market.json")
    assert run(["chain", "book"], capsys)[0] == 0


def test_blanks_in_a_book_do_not_make_it_another(capsys: pytest.CaptureFixture[str]) -> None:
    _init(capsys)
    Path("market.json").write_text(json.dumps(json.loads(Path("market.json").read_text()), indent=7))
    assert run(["chain", "book"], capsys)[0] == 0


def test_an_option_counts_before_the_environment_and_that_before_the_profile(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in enumerate(("option", "environment", "profile", "other")):
        write_book(Path(f"{name}.json"), replace(Case().book, chain_id=100 + place))
    _init(capsys, "--book", "profile.json")
    _init(capsys, "--book", "other.json", "--name", "other")

    def chain_id(*words: str) -> int:
        code, out, error = run([*words], capsys)
        assert code == 0, error
        return int(json.loads(out)["chainId"])

    assert chain_id("chain", "book", "--json") == 102
    assert chain_id("--profile", "other", "chain", "book", "--json") == 103
    monkeypatch.setenv("SEALMARKET_PROFILE", "other")
    assert chain_id("chain", "book", "--json") == 103
    assert chain_id("--profile", "default", "chain", "book", "--json") == 102
    monkeypatch.setenv("SEALMARKET_BOOK", "environment.json")
    assert chain_id("chain", "book", "--json") == 101
    assert chain_id("chain", "book", "--json", "--book", "option.json") == 100


def test_a_broken_profile_stops_no_command_that_needs_none(capsys: pytest.CaptureFixture[str]) -> None:
    path = profiles.path_of("default")
    path.parent.mkdir(parents=True)
    path.write_text("broken")
    path.chmod(0o600)
    assert run(["account", "new", "a.key", "--plain"], capsys)[0] == 0
    code, _, error = run(["chain", "book"], capsys)
    assert code == 2
    assert "is no profile" in error


def test_a_profile_is_not_replaced_unasked_and_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    run(["account", "new", "account.key", "--plain"], capsys)
    _init(capsys, "--key-file", "account.key")
    assert run(["init", "--book", "market.json", "--rpc", "http://127.0.0.1:9"], capsys)[0] == 2
    path = profiles.path_of("default")
    assert path.stat().st_mode & 0o777 == 0o600
    assert Path("account.key").read_text().strip().removeprefix("0x") not in path.read_text()
    assert str(Path("account.key").absolute()) in path.read_text()


def test_a_missing_option_leads_to_a_profile(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(["chain", "status"], capsys)
    assert code == 2
    assert "sealmarket init" in error


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    roots=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=3),
)
def test_whatever_a_path_is_called_it_is_read_as_it_was_written(text: str, roots: list[str]) -> None:
    profile = Profile(book=text, book_digest=DIGEST, rpc=text, account=text, development_roots=tuple(roots))
    profiles.keep("default", profile)
    assert profiles.find(None) == profile


def _init(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    book = () if "--book" in words else ("--book", "market.json")
    code, _, error = run(["init", *book, "--rpc", "http://127.0.0.1:9", *words], capsys)
    assert code == 0, error


def test_a_development_market_is_verified_without_naming_its_root(capsys: pytest.CaptureFixture[str]) -> None:
    Path("root.der").write_bytes(b"root")
    _init(capsys, "--development-root", "root.der")
    root = str(Path("root.der").absolute())
    verify = Defaults(main._load("verify"), None)
    assert (verify.get("development_root"), verify.get("at")) == ([root], None)
    assert Defaults(main._load("chain"), None).get("status").get("rpc") == "http://127.0.0.1:9"


def test_a_next_step_names_the_market_only_where_no_profile_does(capsys: pytest.CaptureFixture[str]) -> None:
    book, rpc = Path("my market.json"), "http://127.0.0.1:9"
    write_book(book, Case().book)
    assert next_command("chain status", book, rpc).endswith(f"--book 'my market.json' --rpc {rpc}")
    _init(capsys, "--book", str(book))
    assert next_command("chain status", book, rpc) == "sealmarket chain status"
    assert "--book" in next_command("chain status", Path("market.json"), rpc)
    assert "--rpc" in next_command("chain status", book, "http://127.0.0.1:10")
    assert "secret" not in next_command("chain status", book, "https://rpc.example/v3/secret")
