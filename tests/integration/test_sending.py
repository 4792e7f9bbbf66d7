"""Sending on Anvil: hard forks without a base fee and with delegation, blocks of 0.25 s, reorganisations, crashes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from msgspec.structs import replace

from sealmarket.chain import Chain, Sender
from sealmarket.chain.deploy import write_book
from sealmarket.chain.sender import Sending
from sealmarket.cli.main import main
from sealmarket.client.accounts import keep_account
from sealmarket_enclave.protocol.codec import Address
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.chain.node import BOOK
from tests.integration.market import development_account
from tests.patience import PATIENCE

AMOUNT = 10**15


@pytest.fixture(scope="module", params=["berlin", "shanghai", "prague"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Supervisor(tmp_path_factory.mktemp("anvil")) as programs:
        yield chains.anvil(programs, "--hardfork", request.param, "--block-time", "0.25").url


@pytest.fixture
def chain(url: str) -> Iterator[Chain]:
    with closing(Chain(BOOK, url)) as opened:
        yield opened


@pytest.fixture
def account(chain: Chain) -> LocalAccount:
    made: LocalAccount = Account.create()
    Sender(chain, development_account(0), development=True).transfer(address(made), 10**18)
    return made


def address(account: LocalAccount) -> Address:
    return Address.parse(account.address.lower())


def receiver() -> Address:
    return address(Account.create())


def has(chain: Chain, holder: Address) -> int:
    return chain.balance(holder, chain.head())


def test_blocks_of_a_quarter_second_with_and_without_a_base_fee(chain: Chain, account: LocalAccount) -> None:
    to = receiver()
    mined = Sender(chain, account).transfer(to, AMOUNT)
    assert has(chain, to) == AMOUNT
    assert has(chain, address(account)) == 10**18 - AMOUNT - mined.cost


def test_coin_is_sent_from_the_command_line_and_too_much_is_refused(
    url: str, chain: Chain, account: LocalAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    book, key, to = tmp_path / "book.json", tmp_path / "account.key", receiver()
    write_book(book, BOOK)
    keep_account(key, account, None)

    def code_of(amount: str) -> object:
        with pytest.raises(SystemExit) as ended:
            main(["account", "send", to.checksum, amount, f"--book={book}", f"--rpc={url}", f"--key-file={key}"])
        return ended.value.code or 0

    assert (code_of("2coin"), has(chain, to)) == (2, 0)
    assert (code_of("0.001coin"), has(chain, to)) == (0, AMOUNT)


def test_a_reorganised_transaction_counts_once(chain: Chain, account: LocalAccount, tmp_path: Path) -> None:
    to = receiver()
    sender = Sender(chain, account, sending=Sending(tmp_path / "outbox"))
    mined = sender.transfer(to, AMOUNT)
    depth = chain.head().number - mined.block.number + 1
    chain.rpc.call("anvil_reorg", depth, [])
    for _ in range(3):
        sender.recover()
        chain.rpc.call("anvil_mine", "0x1")
    assert not Sender(chain, account, sending=Sending(tmp_path / "outbox")).transfer(to, AMOUNT).resumed
    assert has(chain, to) == 2 * AMOUNT


@pytest.mark.parametrize("broadcast", [False, True])
def test_a_killed_process_neither_loses_a_payment_nor_makes_it_twice(
    chain: Chain, account: LocalAccount, tmp_path: Path, broadcast: bool
) -> None:
    to, sending = receiver(), Sending(tmp_path / "outbox")

    def killed() -> None:
        with closing(Chain(BOOK, chain.rpc.url)) as own:
            call = own.rpc.call

            def kill(method: str, *params: object) -> Any:
                answer = call(method, *params) if broadcast or method != "eth_sendRawTransaction" else None
                if method == "eth_sendRawTransaction":
                    os.kill(os.getpid(), signal.SIGKILL)
                return answer

            own.rpc.call = kill  # type: ignore[method-assign]
            Sender(own, account, sending=sending).transfer(to, AMOUNT)

    assert run(killed) == [-signal.SIGKILL]
    assert Sender(chain, account, sending=sending).transfer(to, AMOUNT).resumed
    assert has(chain, to) == AMOUNT


def test_two_processes_of_one_account_pay_what_each_was_told(
    chain: Chain, account: LocalAccount, tmp_path: Path
) -> None:
    to, sending = receiver(), Sending(tmp_path / "outbox")

    def pay(first: int) -> None:
        with closing(Chain(BOOK, chain.rpc.url)) as own:
            sender = Sender(own, account, sending=sending)
            for amount in range(first, first + 5):
                sender.transfer(to, amount)

    assert run(lambda: pay(1), lambda: pay(1)) == [0, 0]
    assert has(chain, to) == 2 * sum(range(1, 6))


def run(*work: Callable[[], None]) -> list[int | None]:
    running = [multiprocessing.get_context("fork").Process(target=one) for one in work]
    for process in running:
        process.start()
    for process in running:
        process.join(timeout=PATIENCE)
    return [process.exitcode for process in running]


@pytest.mark.parametrize("url", ["shanghai"], indirect=True)
def test_a_stuck_transaction_gets_through_and_counts_once(
    chain: Chain, account: LocalAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("RELOOK_SECONDS", "STUCK_SECONDS"):
        monkeypatch.setattr(f"sealmarket.chain.watch.{name}", 0.3)
    to = receiver()
    risen = iter([True])

    def pause(_seconds: float) -> None:
        if next(risen, False):
            chain.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(900 * 10**9))
            chain.rpc.call("evm_setIntervalMining", 0)
            for _ in range(3):
                chain.rpc.call("anvil_mine", "0x1")
        chain.rpc.call("anvil_mine", "0x1")  # the base fee falls by an eighth
        time.sleep(0.1)

    chain.rpc.call("evm_setIntervalMining", 0)
    try:
        Sender(chain, account, pause=pause).transfer(to, AMOUNT)
    finally:
        chain.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        chain.rpc.call("evm_setIntervalMining", 1)
    assert "offers more in its place" in caplog.text
    assert has(chain, to) == AMOUNT


@pytest.mark.parametrize("url", ["prague"], indirect=True)
def test_a_delegated_account_sends(chain: Chain, account: LocalAccount) -> None:
    """EIP-7702: its authorisation raises its nonce without a transaction of its own."""
    sponsor = development_account(1)
    authorised = account.sign_authorization({"chainId": BOOK.chain_id, "address": "0x" + "11" * 20, "nonce": 0})
    fields: dict[str, Any] = {"chainId": BOOK.chain_id, "to": account.address, "value": 0, "gas": 200_000, "data": "0x"}
    fees: dict[str, Any] = {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9, "authorizationList": [authorised]}
    nonce = int(chain.rpc.call("eth_getTransactionCount", sponsor.address, "pending"), 16)
    signed = sponsor.sign_transaction({**fields, **fees, "nonce": nonce})
    chain.rpc.call("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
    chain.rpc.call("anvil_mine", "0x1")
    to = receiver()
    Sender(chain, account).transfer(to, AMOUNT)
    assert has(chain, to) == AMOUNT


def test_a_chain_id_above_2_to_the_53(chain: Chain, account: LocalAccount) -> None:
    large = 2**53 + 11
    to = receiver()
    chain.rpc.call("anvil_setChainId", large)
    try:
        with closing(Chain(replace(BOOK, chain_id=large), chain.rpc.url)) as own:
            Sender(own, account).transfer(to, AMOUNT)
    finally:
        chain.rpc.call("anvil_setChainId", BOOK.chain_id)
    assert has(chain, to) == AMOUNT
