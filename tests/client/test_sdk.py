"""The public face of the SDK: small, typed, quick to import, and one call for each thing that a party does."""

from __future__ import annotations

import ast
import asyncio
import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_type

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import sealmarket.client as sdk
from sealmarket.chain.memory import MemoryChain
from sealmarket.client import AssetWish, Auditor, Consumer, Owner, Progress, Provider, aio, coin, profiles
from sealmarket.client.errors import (
    AddressBookChanged,
    AmountRefused,
    DraftRefused,
    NotConfigured,
    NotMatched,
    RequestInvalid,
    WaitedTooLong,
    WorkerNotInstalled,
)
from sealmarket.client.progress import step
from sealmarket.client.stopping import CallCancelled, pause
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.protocol.errors import SealmarketError
from tests.client.test_owner import BOOK
from tests.patience import PATIENCE

MOST = (1 << Wei.bits) - 1
ACCOUNT = Account.create()
CONNECTION = {"book": BOOK, "rpc": "http://127.0.0.1:9", "account": ACCOUNT}
TWINS = {aio.AsyncOwner: Owner, aio.AsyncConsumer: Consumer, aio.AsyncProvider: Provider, aio.AsyncAuditor: Auditor}
SOON = PATIENCE


class _Rpc:
    url = "http://127.0.0.1:9"


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections lead to a chain in this process."""

    def chain(book: AddressBook, _rpc: str) -> MemoryChain:
        found = MemoryChain(book)
        found.rpc = _Rpc()  # type: ignore[attr-defined]
        found.close = lambda: None  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr("sealmarket.client.market.Chain", chain)


# --- names ----------------------------------------------------------------------------------------------------


def test_a_name_that_the_sdk_does_not_have_is_refused() -> None:
    with pytest.raises(AttributeError, match="Ownr"):
        sdk.Ownr  # noqa: B018


def test_every_public_name_is_there_and_the_type_checker_sees_the_same_ones() -> None:
    tree = ast.parse(Path(sdk.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(sdk.__all__) == set(dir(sdk))
    assert all(getattr(sdk, name) is not None for name in sdk.__all__)


@pytest.mark.parametrize("name", ["Owner", "Consumer", "Provider", "coin"])
def test_what_an_auditor_needs_is_not_loaded_for_the_others(name: str) -> None:
    program = f"import sys; from sealmarket.client import {name}; print('sealmarket.receipts' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
def test_every_method_of_a_party_has_its_twin(twin: type) -> None:
    plain = {name for name, _ in inspect.getmembers(TWINS[twin], inspect.isfunction) if not name.startswith("_")}
    assert plain - {"close"} == {name for name in vars(twin) if not name.startswith("_")} - {"connect"}


# --- connections ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["book", "rpc", "account"])
def test_what_is_neither_named_nor_in_the_environment_is_asked_for(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SEALMARKET_BOOK", "SEALMARKET_RPC", "SEALMARKET_KEY_FILE"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(NotConfigured, match=f"no {missing} is named"):
        Owner.connect(**{name: value for name, value in CONNECTION.items() if name != missing})


@pytest.mark.usefixtures("in_memory")
def test_the_environment_names_what_a_call_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "book.json").write_bytes(BOOK.canonical())
    sdk.create_account(tmp_path / "account.json", passphrase="a phrase")
    monkeypatch.setenv("SEALMARKET_BOOK", str(tmp_path / "book.json"))
    monkeypatch.setenv("SEALMARKET_RPC", "http://127.0.0.1:9")
    monkeypatch.setenv("SEALMARKET_KEY_FILE", str(tmp_path / "account.json"))
    monkeypatch.setenv("SEALMARKET_PASSPHRASE", "a phrase")
    with Owner.connect() as owner, Owner.connect(account=ACCOUNT) as other:
        assert other.address.checksum == ACCOUNT.address != owner.address.checksum


def _profile(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    """A profile of the default name; the file of its address book."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    for variable in ("SEALMARKET_BOOK", "SEALMARKET_RPC", "SEALMARKET_KEY_FILE", "SEALMARKET_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    book, account = folder / "book.json", folder / "account.key"
    book.write_bytes(BOOK.canonical())
    sdk.create_account(account)
    values = {"book": str(book), "book_digest": profiles.pinned(book), "rpc": "http://127.0.0.1:9"}
    profiles.keep("default", profiles.Profile(**values | {"account": str(account)} | changes))
    return book


@pytest.mark.usefixtures("in_memory")
def test_a_book_that_was_exchanged_behind_a_profile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = _profile(tmp_path, monkeypatch)
    with Owner.connect() as owner:
        assert owner.address.checksum == sdk.load_account(tmp_path / "account.key").address
    book.write_bytes(replace(BOOK, backend="http://elsewhere").canonical())
    with pytest.raises(AddressBookChanged, match=r"book\.json"):
        Owner.connect()


@pytest.mark.usefixtures("in_memory")
def test_a_profiles_development_roots_count_for_its_own_market_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _profile(tmp_path, monkeypatch, development_roots=(str(tmp_path / "none.der"),))
    with Auditor.connect(book=BOOK):
        pass
    with pytest.raises(FileNotFoundError, match=r"none\.der"):
        Auditor.connect()


@pytest.mark.usefixtures("in_memory")
def test_a_connection_is_closed_by_who_opened_it_and_by_no_other() -> None:
    closed: list[str] = []
    with Consumer.connect(**CONNECTION) as consumer:
        assert consumer.opened is not None
        market = consumer.opened
        market.store.close = lambda: closed.append("store")  # type: ignore[method-assign]
        with Provider.at(market, ACCOUNT), Owner.at(market, ACCOUNT):
            pass
        assert closed == []
    assert closed == ["store"]


# --- amounts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "amount", ["", "a", "-1", "0.0000000000000000001", "NaN", "Infinity", "1e999999999", "1" * 65, "1e21", 0.1]
)
def test_what_is_no_exact_amount_is_refused(amount: Any) -> None:
    with pytest.raises(AmountRefused, match="is no amount"):
        coin(amount)


@given(st.integers(0, MOST))
def test_an_amount_is_read_back_exactly(units: int) -> None:
    assert coin(Wei(units).coins) == units


@pytest.mark.parametrize("text", ["", "0x12", "a.csv", f"0x{'ab' * 32}:", f"0x{'ab' * 32}:x", f"0x{'ab' * 32}:-1"])
def test_what_names_no_asset_is_refused(text: str) -> None:
    with pytest.raises(RequestInvalid, match="is no asset"):
        AssetWish.parse(text)


def test_an_asset_may_name_its_version() -> None:
    asset = sdk.AssetId(sdk.Bytes32(b"\xab" * 32))
    assert AssetWish.parse(f"0x{'AB' * 32}") == AssetWish(asset_id=asset)
    assert AssetWish.parse(f"{asset}:7") == AssetWish(asset_id=asset, version=7)


# --- progress -------------------------------------------------------------------------------------------------


def test_a_step_that_fails_is_never_reported_as_done() -> None:
    told: list[Progress] = []

    def work() -> None:
        with step(told.append, "seal", "sealing") as now:
            now.changed("half way", block=7)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert [(progress.state, progress.facts) for progress in told] == [("started", ()), ("changed", (("block", "7"),))]


# --- one call -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_memory")
def test_a_file_that_is_no_draft_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("{}")
    with Owner.connect(**CONNECTION) as owner:
        for path in (tmp_path / "policy.json", tmp_path / "none.json"):
            with pytest.raises(DraftRefused, match="is no policy draft"):
                owner.seal_and_publish(b"rows", path, tmp_path / "sealed")
    assert not (tmp_path / "sealed").exists()


@pytest.mark.usefixtures("in_memory")
def test_an_offer_without_a_worker_to_serve_it_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealmarket.client.provider.WORKER", "sealmarket_no_worker")
    with Provider.connect(**CONNECTION) as provider, pytest.raises(WorkerNotInstalled, match="not installed"):
        provider.offer_and_serve(None, Path("worker.toml"), stake=coin("1"))  # type: ignore[arg-type]


class _Unmatched(Consumer):
    """A consumer whose request no offer matches; ``late``: a match is quicker than the void."""

    def __init__(self, *, late: bool) -> None:
        self.late, self.waited = late, 0

    def wait_match(self, handle: Any, *, timeout: float = 0.0) -> Any:
        self.waited += 1
        if self.late and self.waited == 2:
            return "job"
        raise WaitedTooLong("a match", timeout, "no offer")

    def cancel_unless_matched(self, handle: Any) -> bool:
        return not self.late


def test_a_request_without_a_match_is_voided_and_one_that_was_matched_meanwhile_goes_on() -> None:
    class Handle:
        request_hash = "0x00"

    with pytest.raises(NotMatched, match="charges nothing"):
        _Unmatched(late=False).match_or_void(Handle())  # type: ignore[arg-type]
    assert _Unmatched(late=True).match_or_void(Handle()) == "job"  # type: ignore[arg-type, comparison-overlap]


# --- asyncio --------------------------------------------------------------------------------------------------


def _forever() -> None:
    while True:
        pause(SOON)


async def _cancelled(function: Callable[..., Any], *arguments: Any) -> asyncio.Task[Any]:
    """A task whose call has begun and which was cancelled."""
    begun = threading.Event()

    def call() -> Any:
        begun.set()
        return function(*arguments)

    task = asyncio.create_task(aio.in_thread(call))
    await asyncio.to_thread(begun.wait, SOON)
    task.cancel()
    return task


def test_cancelling_ends_a_call_that_waits() -> None:
    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await (await _cancelled(_forever))
        assert time.monotonic() - began < SOON

    asyncio.run(main())


def test_a_cancelled_task_ends_only_when_its_call_has_ended() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(SOON)
        ended.set()

    async def main() -> None:
        task = await _cancelled(work)
        assert not (await asyncio.wait([task], timeout=0.05))[0]
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())


def test_cancelling_one_call_leaves_the_others_alone() -> None:
    async def main() -> None:
        other = asyncio.create_task(aio.in_thread(pause, 0.2))
        with pytest.raises(asyncio.CancelledError):
            await (await _cancelled(_forever))
        await other

    asyncio.run(main())
    pause(0)  # and whoever calls without asyncio is never cancelled


def test_a_call_raises_what_the_method_raises() -> None:
    def refuse() -> None:
        raise CallCancelled

    async def main() -> None:
        with pytest.raises(SealmarketError, match="cancelled while it waited"):
            await aio.in_thread(refuse)

    asyncio.run(main())


@pytest.mark.usefixtures("in_memory")
def test_an_asynchronous_party_opens_and_closes_its_own_connection() -> None:
    async def main() -> None:
        async with aio.AsyncOwner.connect(**CONNECTION) as owner:
            assert owner.plain.address.checksum == ACCOUNT.address
            assert owner.plain.opened is not None
            with pytest.raises(DraftRefused):
                await owner.seal_and_publish(b"rows", Path("/none/policy.json"), Path("/none/sealed"))

    asyncio.run(main())


async def _read_by_the_type_checker(consumer: aio.AsyncConsumer, owner: aio.AsyncOwner) -> None:
    """Never run: `scripts/test --only types` holds what the twins take and return against the methods behind them."""
    assert_type(await consumer.find_job(sdk.Bytes32(bytes(32)), since=1), sdk.JobId | None)
    assert_type(await owner.seal(b"rows", sdk.load_draft(Path()), Path(), passphrase="a phrase"), sdk.SealedAsset)
    await owner.seal(1, sdk.load_draft(Path()), Path())  # type: ignore[arg-type]
    await consumer.find_job()  # type: ignore[call-arg]
    async with aio.AsyncAuditor.connect(rpc="http://127.0.0.1:9") as auditor:
        assert_type(auditor, aio.AsyncAuditor)
