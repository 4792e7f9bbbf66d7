"""What a crash, a second process and a damaged file do to what an account sends: nobody pays twice, nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealmarket.chain import Mined, NodeDistrusted, NotMined, Reverted, abi
from sealmarket.chain.errors import OutboxUnusable
from sealmarket.chain.outbox import Entry, Outbox, State, per_user_folder
from sealmarket.chain.sender import Sending
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, Wei
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.ledger import FIRST_NONCE, Ledger, sender
from tests.chain.node import error
from tests.chain.test_reverts import payload
from tests.patience import PATIENCE

ME = Address(b"\x05" * 20)
INTENT = keccak(b"a deposit")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealmarket.chain.watch.RELOOK_SECONDS", 0.0)


def deposit(ledger: Ledger, folder: Path, amount: int = 5, **options: Any) -> Mined:
    sending, chain = sender(ledger, sending=Sending(folder), **options)
    return sending.send(chain.market.deposit(ZERO_ADDRESS, Wei(amount)))


def in_a_process(work: Callable[[], object]) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(timeout=PATIENCE)
    return process.exitcode


def killed_at_broadcast(folder: Path, *, after: bool) -> str:
    """A process that is killed when it broadcasts a deposit. Returns what the node got by then."""
    got = folder.with_suffix(".raw")
    ledger = Ledger()

    def take(raw: str) -> Any:
        if after:
            got.write_text(raw)
        os.kill(os.getpid(), signal.SIGKILL)

    ledger.answers["eth_sendRawTransaction"] = take
    assert in_a_process(lambda: deposit(ledger, folder)) == -signal.SIGKILL
    return got.read_text() if after else ""


def test_sigkill_between_journal_and_broadcast_loses_nothing_and_pays_once(folder: Path) -> None:
    killed_at_broadcast(folder, after=False)
    ledger = Ledger()
    mined = deposit(ledger, folder)
    assert mined.resumed
    assert ledger.paid() == [FIRST_NONCE]


@pytest.mark.parametrize("blocks", [0, 1, 9])
def test_sigkill_between_broadcast_and_receipt_pays_once(folder: Path, blocks: int) -> None:
    raw = killed_at_broadcast(folder, after=True)
    ledger = Ledger()
    ledger.take(raw)
    for _ in range(blocks):
        ledger.mine()
    assert deposit(ledger, folder).resumed
    assert ledger.paid() == [FIRST_NONCE]
    assert not deposit(ledger, folder).resumed, "the end of the first was told: this is a second one"
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_a_restart_hands_in_what_a_killed_process_signed(folder: Path) -> None:
    killed_at_broadcast(folder, after=False)
    ledger = Ledger()
    sender(ledger, sending=Sending(folder))[0].recover()
    ledger.mine()
    assert ledger.paid() == [FIRST_NONCE]
    assert deposit(ledger, folder).resumed, "and who asks for it again still learns its end"
    assert ledger.paid() == [FIRST_NONCE]


def test_another_transaction_after_a_crash_comes_behind_the_one_that_was_signed(folder: Path) -> None:
    killed_at_broadcast(folder, after=False)
    ledger = Ledger()
    deposit(ledger, folder, amount=6)
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_what_lost_its_sense_with_its_process_is_not_handed_in_and_its_nonce_is_taken(folder: Path) -> None:
    """The quote of an enclave that died with its host: only one of the two quotes can ever count."""
    killed_at_broadcast(folder, after=False)
    ledger = Ledger()
    sending, chain = sender(ledger, sending=Sending(folder))
    sending.recover(perishable=("Market.deposit",))
    assert not ledger.pool
    sending.send(chain.market.deposit(ZERO_ADDRESS, Wei(6)))
    assert ledger.paid() == [FIRST_NONCE]


def test_what_a_node_has_is_not_given_up(folder: Path) -> None:
    raw = killed_at_broadcast(folder, after=True)
    ledger = Ledger()
    ledger.take(raw)
    sending, chain = sender(ledger, sending=Sending(folder))
    sending.recover(perishable=("Market.deposit",))
    sending.send(chain.market.deposit(ZERO_ADDRESS, Wei(6)))
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_what_a_living_process_of_the_account_waits_for_is_not_given_up_by_another_that_starts(folder: Path) -> None:
    ledger = Ledger()
    taken = ledger.answers.get("eth_sendRawTransaction")
    ledger.answers["eth_sendRawTransaction"] = lambda raw: str(keccak(bytes.fromhex(raw[2:])))  # swallowed
    first, chain = sender(ledger, sending=Sending(folder))
    waiting = first.submit(chain.market.deposit(ZERO_ADDRESS, Wei(5)))
    if taken is None:
        del ledger.answers["eth_sendRawTransaction"]
    else:
        ledger.answers["eth_sendRawTransaction"] = taken
    second, chain = sender(ledger, sending=Sending(folder))
    second.recover(perishable=("Market.deposit",))
    second.send(chain.market.deposit(ZERO_ADDRESS, Wei(6)))
    assert first.wait(waiting).transaction == waiting
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_two_processes_of_one_account_never_sign_one_nonce_for_two_things(folder: Path) -> None:
    def ten(of: int) -> None:
        ledger = Ledger()
        ledger.answers["eth_sendRawTransaction"] = lambda raw: str(keccak(bytes.fromhex(raw[2:])))  # swallowed
        sending, chain = sender(ledger, sending=Sending(folder))
        for amount in range(10):
            sending.submit(chain.market.deposit(ZERO_ADDRESS, Wei(100 * of + amount + 1)))

    both = [multiprocessing.get_context("fork").Process(target=ten, args=(of,)) for of in (1, 2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=PATIENCE)
        assert process.exitcode == 0
    ledger = Ledger()
    sender(ledger, sending=Sending(folder))[0].recover()
    assert sorted(ledger.pool) == list(range(FIRST_NONCE, FIRST_NONCE + 20))


def test_the_same_deposit_of_two_living_processes_is_made_twice(folder: Path) -> None:
    ledger = Ledger()
    first, chain = sender(ledger, sending=Sending(folder))
    call = chain.market.deposit(ZERO_ADDRESS, Wei(5))
    waiting = first.submit(call)
    assert not deposit(ledger, folder).resumed
    assert first.wait(waiting).transaction == waiting
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_the_same_deposit_after_waiting_in_vain_goes_on_with_the_first(folder: Path) -> None:
    ledger = Ledger()
    with pytest.raises(NotMined) as pending:
        deposit(ledger, folder, timeout=0.0, pause=lambda _seconds: None)
    mined = deposit(ledger, folder)
    assert str(mined.transaction) == pending.value.transaction
    assert ledger.paid() == [FIRST_NONCE]


# --- calls that belong together -----------------------------------------------------------------------------------


def stake(ledger: Ledger, folder: Path, **options: Any) -> tuple[Mined, ...]:
    sending, chain = sender(ledger, sending=Sending(folder), **options)
    market = chain.market
    return sending.send_in_order(market.deposit(ZERO_ADDRESS, Wei(5)), market.stake(ZERO_ADDRESS, Wei(5)))


def recorded(folder: Path, ledger: Ledger, kill_at: int, *, after: bool) -> list[str]:
    """A process that is killed at its n-th broadcast; what the node got by then."""
    got = folder.with_suffix(".raws")
    got.write_text("")

    def take(raw: str) -> Any:
        seen = got.read_text().split()
        if len(seen) == kill_at and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        got.write_text(" ".join([*seen, raw]))
        if len(seen) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return ledger.take(raw)

    ledger.answers["eth_sendRawTransaction"] = take
    assert in_a_process(lambda: stake(ledger, folder)) == -signal.SIGKILL
    return got.read_text().split()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kill_at", [0, 1], ids=["the deposit", "the stake"])
def test_sigkill_at_any_broadcast_of_two_calls_makes_each_of_them_once(folder: Path, kill_at: int, after: bool) -> None:
    raws = recorded(folder, Ledger(), kill_at, after=after)
    ledger = Ledger()
    for raw in raws:
        ledger.take(raw)
        ledger.mine()
    deposited, staked = stake(ledger, folder)
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]
    assert (deposited.resumed, staked.resumed) == (True, kill_at == 1)
    assert not any(mined.resumed for mined in stake(ledger, folder)), "both ends were told: this is another one"
    assert len(ledger.paid()) == 4


def test_a_deposit_of_its_own_is_not_taken_for_one_that_a_stake_waits_for(folder: Path) -> None:
    (raw,) = recorded(folder, Ledger(), 1, after=False)
    ledger = Ledger()
    ledger.take(raw)
    ledger.mine()
    assert not deposit(ledger, folder).resumed


def refuses(function: str) -> Callable[[dict[str, str]], Any]:
    """Simulates all calls but those of one function."""
    selector = "0x" + abi.load("Market").function(function, 2).selector.hex()
    refusal = error(3, "execution reverted", "0x" + payload("ZeroAmount").hex())
    return lambda asked: refusal if asked["data"].startswith(selector) else "0x5208"


def test_a_refusal_that_a_node_behind_may_have_given_ends_nothing_and_one_below_finality_does(folder: Path) -> None:
    """A node that is behind does not know the deposit: made again, it would be paid twice."""
    ledger = Ledger()
    ledger.answers["eth_estimateGas"] = refuses("stake")
    for refused in range(2):
        with pytest.raises(Reverted):
            stake(ledger, folder)
        assert ledger.paid() == [FIRST_NONCE], refused
        for _ in range(3):
            ledger.mine()
    ledger.answers["eth_estimateGas"] = "0x5208"
    assert not any(mined.resumed for mined in stake(ledger, folder))
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1, FIRST_NONCE + 2]


def test_a_call_that_fails_in_its_block_is_over_and_the_one_before_it_is_not(folder: Path) -> None:
    ledger = Ledger()
    statuses = iter(["0x1", "0x0"])
    receipt = ledger.receipt
    known: dict[str, str] = {}

    def told(transaction: str) -> Any:
        found = receipt(transaction)
        if found:
            found["status"] = known.setdefault(transaction, next(statuses, "0x1"))
        return found

    ledger.answers |= {"eth_getTransactionReceipt": told, "eth_call": "0x"}
    with pytest.raises(Reverted, match=r"Market\.stake was refused in its block"):
        stake(ledger, folder)
    deposited, staked = stake(ledger, folder)
    assert (deposited.resumed, staked.resumed) == (True, False)
    assert len(ledger.paid()) == 3


# --- the file -----------------------------------------------------------------------------------------------------


def entry(nonce: int = 4) -> Entry:
    return Entry(hash=Bytes32(keccak(b"%d" % nonce)), nonce=nonce, intent=INTENT, what="a test", fields={}, raw="0x")


def test_a_damaged_outbox_stops_sending_instead_of_forgetting(folder: Path) -> None:
    deposit(Ledger(), folder)
    (file,) = folder.glob("*.sqlite")
    file.with_name(file.name + "-wal").unlink(missing_ok=True)
    file.write_bytes(b"not a database at all" * 100)
    ledger = Ledger()
    with pytest.raises(OutboxUnusable, match="look up on the chain"):
        deposit(ledger, folder)
    assert ledger.offers == []


def test_a_folder_that_others_may_write_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(OutboxUnusable, match="other accounts"):
        deposit(Ledger(), folder)


def test_a_folder_that_cannot_be_written_is_said_and_sending_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger()
    deposit(ledger, tmp_path / "file" / "outbox")
    assert "remembered only until this program ends" in caplog.text
    assert ledger.paid() == [FIRST_NONCE]


def test_another_chain_under_the_same_id_is_distrusted_and_a_fresh_development_chain_starts_empty(
    folder: Path,
) -> None:
    outbox = Outbox(folder, chain_id=1, account=ME)
    outbox.bind("0xaa", development=False)
    outbox.reserve(INTENT, 4, 4, entry)
    with pytest.raises(NodeDistrusted, match="first block"):
        outbox.bind("0xbb", development=False)
    assert outbox.pending()
    outbox.bind("0xbb", development=True)
    assert not outbox.pending()


def test_what_is_done_with_is_forgotten_one_day_and_what_is_pending_never(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealmarket.chain.outbox.KEPT", 3)
    outbox = Outbox(folder, chain_id=1, account=ME)
    for nonce in range(10):
        outbox.add(entry(nonce))
        if nonce:
            outbox.mined(entry(nonce), final=True, reported=True)
    assert [one.nonce for one in outbox.pending()] == [0]
    assert [nonce for nonce in range(1, 10) if outbox.find(entry(nonce).hash)] == [7, 8, 9]


def test_only_this_user_reads_the_outbox_and_it_lies_where_the_system_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outbox = Outbox(folder, chain_id=2**63 + 1, account=ME)
    outbox.add(entry())
    outbox.mark(entry(), State.REFUSED)
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert per_user_folder() == tmp_path / "sealmarket" / "outbox"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert per_user_folder().is_absolute()
