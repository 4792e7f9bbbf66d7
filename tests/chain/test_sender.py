"""Sending: simulated first, within limits, and nobody pays twice whatever the node says."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import rlp
from eth_account import Account
from msgspec.structs import replace

from sealmarket.chain import NodeDistrusted, NotMined, Reverted, Sender, tending, watch
from sealmarket.chain.calls import Call
from sealmarket.chain.errors import FeeAboveLimit, Replaced, SendRefused
from sealmarket.chain.fees import FeeLimits
from sealmarket.chain.sender import Sending
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, Wei
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.ledger import FIRST_NONCE, GWEI, Ledger, sender
from tests.chain.node import BOOK, block, error
from tests.chain.test_reverts import payload


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks beyond the receipt come with each poll, and what is in no block is stuck after a moment."""
    for name in ("watch.RELOOK_SECONDS", "watch.STUCK_SECONDS", "tending.HEAL_SECONDS"):
        monkeypatch.setattr(f"sealmarket.chain.{name}", 0.0)


def staking(ledger: Ledger, **options: Any) -> tuple[Sender, Call]:
    sending, chain = sender(ledger, **options)
    return sending, chain.market.stake(ZERO_ADDRESS, Wei(1))


# --- refusals ---------------------------------------------------------------------------------------------------


def test_a_call_that_would_revert_is_not_sent_and_says_why() -> None:
    ledger = Ledger()
    ledger.answers["eth_estimateGas"] = error(3, "execution reverted", "0x" + payload("ZeroAmount").hex())
    sending, call = staking(ledger)
    with pytest.raises(Reverted, match="the amount is zero"):
        sending.send(call)
    assert ledger.offers == []


def test_a_transaction_that_another_came_before_is_asked_for_its_reason_and_named() -> None:
    ledger = Ledger()
    ledger.status = "0x0"
    ledger.answers["eth_call"] = error(3, "execution reverted", "0x" + payload("MatchingIsPaused").hex())
    sending, call = staking(ledger)
    with pytest.raises(Reverted, match="paused") as refused:
        sending.send(call)
    assert str(refused.value.transaction) in refused.value.remedy
    ledger.answers["eth_call"] = "0x"
    with pytest.raises(Reverted, match="no longer says why"):
        sending.send(call)


def test_a_node_that_names_another_transaction_is_distrusted_and_ours_is_named() -> None:
    ledger = Ledger()
    ledger.answers["eth_sendRawTransaction"] = lambda _raw: str(keccak(b"another"))
    sending, call = staking(ledger)
    with pytest.raises(NodeDistrusted, match="transaction hash") as refused:
        sending.send(call)
    assert refused.value.transaction


def test_a_fee_above_the_limit_is_refused_before_anything_is_signed() -> None:
    ledger = Ledger(base_fee=100 * GWEI)
    sending, call = staking(ledger, sending=Sending(limits=FeeLimits(max_fee=50 * GWEI)))
    with pytest.raises(FeeAboveLimit, match=r"101 gwei .* the limit is 50 gwei; nothing was sent"):
        sending.send(call)
    ledger.base_fee = None
    ledger.answers["eth_gasPrice"] = hex(51 * GWEI)
    with pytest.raises(FeeAboveLimit, match="51 gwei"):
        sending.send(call)
    assert ledger.offers == []


def test_a_node_that_names_an_absurd_tip_is_refused_without_any_limit_of_the_user() -> None:
    ledger = Ledger()
    ledger.answers["eth_maxPriorityFeePerGas"] = hex(10**18)
    sending, call = staking(ledger)
    with pytest.raises(FeeAboveLimit):
        sending.send(call)


@pytest.mark.parametrize("answer", [{"reward": [["0x1"] * 3, "x"]}, {"reward": "many"}, [], "0x", None])
def test_a_fee_history_of_another_shape_is_not_believed(answer: Any) -> None:
    ledger = Ledger()
    ledger.answers["eth_feeHistory"] = answer
    sending, call = staking(ledger)
    sending.send(call)
    assert ledger.offers[-1]["tip"] == GWEI


def test_waiting_ends_with_the_hash_and_says_not_to_send_again() -> None:
    ledger = Ledger()
    sending, call = staking(ledger, timeout=0.0, pause=lambda _seconds: None)
    with pytest.raises(NotMined, match="look it up before sending anything again") as pending:
        sending.send(call)
    assert pending.value.transaction == ledger.pool[FIRST_NONCE]["hash"]


def test_a_refused_transaction_is_named_and_its_nonce_serves_the_next_try() -> None:
    ledger = Ledger()
    ledger.answers["eth_sendRawTransaction"] = error(-32000, "insufficient funds for gas * price + value")
    sending, call = staking(ledger)
    with pytest.raises(SendRefused, match=r"would not take transaction 0x.*insufficient funds"):
        sending.send(call)
    ledger.answers["eth_sendRawTransaction"] = ledger.take
    sending.send(call)
    assert ledger.paid() == [FIRST_NONCE]


# --- nodes that say one thing and do another ----------------------------------------------------------------------


def liar(ledger: Ledger, answer: Any, *, takes: bool) -> Any:
    """Answers the first hand-in so, whether or not it takes it; honest after that."""
    tries = iter([True])

    def take(raw: str) -> Any:
        if next(tries, False):
            if takes:
                ledger.take(raw)
            return answer(raw) if callable(answer) else answer
        return ledger.take(raw)

    return take


@pytest.mark.parametrize(
    "answer",
    [
        error(-32000, "already known"),
        error(-32000, "nonce too low"),
        error(-32000, "replacement transaction underpriced"),
        error(None, ""),  # type: ignore[arg-type]
        error(-32603, "internal error"),
        error(-32005, "rate limited"),
    ],
)
def test_an_error_after_the_node_took_a_transaction_pays_once(answer: Any) -> None:
    ledger = Ledger()
    ledger.answers["eth_sendRawTransaction"] = liar(ledger, answer, takes=True)
    sending, call = staking(ledger)
    mined = sending.send(call)
    assert ledger.paid() == [FIRST_NONCE]
    assert str(mined.transaction) == ledger.blocks[mined.block.number][0]["hash"]


def test_an_error_after_taking_that_even_a_look_denies_pays_once_when_tried_again() -> None:
    ledger = Ledger()
    ledger.answers["eth_sendRawTransaction"] = liar(ledger, error(-32603, "internal error"), takes=True)
    looks = dict(ledger.answers)
    ledger.answers["eth_getTransactionByHash"] = ledger.answers["eth_getTransactionReceipt"] = None
    sending, call = staking(ledger)
    with pytest.raises(SendRefused):
        sending.send(call)
    ledger.mine()
    ledger.answers |= {name: looks[name] for name in ("eth_getTransactionByHash", "eth_getTransactionReceipt")}
    assert sending.send(call).resumed
    assert ledger.paid() == [FIRST_NONCE]


def test_a_broadcast_that_is_swallowed_is_handed_in_again_with_the_same_bytes() -> None:
    ledger = Ledger()
    raws: list[str] = []

    def swallow(raw: str) -> str:
        raws.append(raw)
        return str(keccak(bytes.fromhex(raw[2:]))) if len(raws) == 1 else ledger.take(raw)

    ledger.answers["eth_sendRawTransaction"] = swallow
    sending, call = staking(ledger)
    sending.send(call)
    assert len(raws) == 2
    assert raws[0] == raws[1]
    assert ledger.paid() == [FIRST_NONCE]


def test_a_caller_that_only_looks_gets_a_swallowed_transaction_mined_without_ever_waiting() -> None:
    ledger = Ledger()
    swallowed = iter([True])
    ledger.answers["eth_sendRawTransaction"] = lambda raw: (
        str(keccak(bytes.fromhex(raw[2:]))) if next(swallowed, False) else ledger.take(raw)
    )

    def never(_seconds: float) -> None:
        raise AssertionError("it waited")

    sending, call = staking(ledger, pause=never)
    transaction = sending.submit(call)
    assert sending.look(transaction) is None
    ledger.mine()
    found = sending.look(transaction)
    assert found is not None
    assert found.transaction == transaction
    assert ledger.paid() == [FIRST_NONCE]
    assert sending.submit(call) != transaction, "its end was reported: the same again is another one"


def test_a_caller_that_only_looks_learns_that_another_machine_took_the_nonce() -> None:
    ledger = Ledger()
    sending, call = staking(ledger)
    transaction = sending.submit(call)
    ledger.pool.clear()
    ledger.foreign(FIRST_NONCE)
    for _ in range(2):  # until the block that took the nonce is final
        ledger.mine()
        assert sending.look(transaction) is None
    ledger.mine()
    with pytest.raises(Replaced):
        sending.look(transaction)


def test_a_receipt_that_comes_late_is_waited_for_and_the_next_try_does_not_pay_again() -> None:
    ledger = Ledger()
    ledger.answers["eth_getTransactionReceipt"] = None
    sending, call = staking(ledger, timeout=0.0)
    with pytest.raises(NotMined):
        sending.send(call)
    ledger.mine()
    ledger.answers["eth_getTransactionReceipt"] = ledger.receipt
    assert sending.send(call).resumed
    assert ledger.paid() == [FIRST_NONCE]


def test_a_receipt_whose_block_is_gone_leaves_the_transaction_pending() -> None:
    ledger = Ledger()
    ledger.answers["eth_getTransactionReceipt"] = lambda hash_: {
        **(ledger.receipt(hash_) or {"transactionHash": hash_, "blockNumber": "0x5", "status": "0x1"}),
        "blockHash": block(5, fork=9)["hash"],
    }
    sending, call = staking(ledger, timeout=0.05)
    with pytest.raises(NotMined):
        sending.send(call)


def test_a_transaction_whose_block_is_reorganised_away_is_mined_again_and_counts_once() -> None:
    ledger = Ledger()
    sending, call = staking(ledger)
    first = sending.send(call)
    ledger.reorganise(1)
    assert ledger.paid() == []
    sending.recover()  # marks it pending
    sending.recover()  # hands it in again
    ledger.mine()
    assert ledger.receipt(str(first.transaction))
    assert not sending.send(call).resumed, "its end was told: wanting the same again is a second one"
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_a_transaction_that_comes_behind_one_that_lost_its_block_is_mined_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The node took the reorganised one out of its blocks and not back into its pool; its end was reported before."""
    ledger = Ledger()
    sending, call = staking(ledger)
    sending.send(call)
    ledger.reorganise(1)
    monkeypatch.setattr("sealmarket.chain.tending.HEAL_SECONDS", 30.0)
    sending.send(call)
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_what_was_final_and_lost_its_block_all_the_same_is_handed_in_again() -> None:
    """Deeper than the address book's depth: nothing that comes behind it could ever be mined otherwise."""
    ledger = Ledger()
    sending, call = staking(ledger)
    sending.send(call, final=True)
    ledger.reorganise(ledger.height)
    sending.send(call)
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_finality_is_waited_for_where_the_caller_asks() -> None:
    ledger = Ledger()
    sending, call = staking(ledger)
    mined = sending.send(call, final=True)
    assert BOOK.finality.depth == 2
    assert ledger.height >= mined.block.number + 2


def test_a_node_that_fails_while_a_receipt_is_awaited_ends_nothing() -> None:
    ledger = Ledger()
    answers = iter([error(-32000, "boom"), error(-32005, "later"), "garbage"])
    ledger.answers["eth_getTransactionReceipt"] = lambda hash_: next(answers, None) or ledger.receipt(hash_)
    sending, call = staking(ledger)
    sending.send(call)
    assert ledger.paid() == [FIRST_NONCE]


# --- nonces -----------------------------------------------------------------------------------------------------


def test_a_nonce_that_somebody_else_took_is_followed_by_the_next() -> None:
    ledger = Ledger()
    for nonce in range(FIRST_NONCE, FIRST_NONCE + 3):
        ledger.foreign(nonce)
    ledger.mine()
    counted = ledger.answers["eth_getTransactionCount"]
    behind = iter([True, True])  # a replica that is behind, for the two counts of one choice
    ledger.answers["eth_getTransactionCount"] = lambda who, tag: (
        hex(FIRST_NONCE + 2) if tag in ("latest", "pending") and next(behind, False) else counted(who, tag)
    )
    sending, call = staking(ledger)
    sending.send(call)
    assert ledger.offers[-1]["nonce"] == FIRST_NONCE + 3
    assert len(ledger.paid()) == 4


def meanwhile(ledger: Ledger, happens: Callable[[], None]) -> Callable[[float], None]:
    """While a sender waits: this once, and then blocks."""
    once = iter([happens])
    return lambda _seconds: next(once, ledger.mine)()


def test_a_transaction_that_another_machine_replaced_ends_as_replaced_with_both_hashes() -> None:
    ledger = Ledger()
    hashes: list[str] = []

    def replaced_elsewhere() -> None:
        hashes.append(ledger.pool.pop(FIRST_NONCE)["hash"])
        ledger.foreign(FIRST_NONCE)
        hashes.append(ledger.pool[FIRST_NONCE]["hash"])
        ledger.mine()

    sending, call = staking(ledger, pause=meanwhile(ledger, replaced_elsewhere))
    with pytest.raises(Replaced) as replaced:
        sending.send(call)
    assert [replaced.value.transaction, str(replaced.value.by)] == hashes
    assert ledger.height >= 13, "not before the block that took its nonce is final"
    sending.send(call)
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


def test_nonces_follow_each_other_before_the_node_has_counted_them() -> None:
    ledger = Ledger()
    ledger.answers["eth_getTransactionCount"] = hex(FIRST_NONCE)
    sending, chain = sender(ledger)
    for amount in range(1, 4):
        sending.submit(chain.market.stake(ZERO_ADDRESS, Wei(amount)))
    assert [offer["nonce"] for offer in ledger.offers] == [FIRST_NONCE, FIRST_NONCE + 1, FIRST_NONCE + 2]


def test_a_nonce_that_nothing_has_is_filled_for_those_that_wait_for_it() -> None:
    ledger = Ledger()
    ledger.answers["eth_sendRawTransaction"] = error(-32000, "insufficient funds")
    sending, chain = sender(ledger)
    with pytest.raises(SendRefused):
        sending.send(chain.market.stake(ZERO_ADDRESS, Wei(1)))
    ledger.answers["eth_sendRawTransaction"] = ledger.take
    counted = ledger.answers["eth_getTransactionCount"]
    wrong = iter([True, True])
    ledger.answers["eth_getTransactionCount"] = lambda who, tag: (
        hex(FIRST_NONCE + 1) if next(wrong, False) else counted(who, tag)
    )
    sending.send(chain.market.stake(ZERO_ADDRESS, Wei(2)))
    assert ledger.paid() == [FIRST_NONCE, FIRST_NONCE + 1]


# --- fees -------------------------------------------------------------------------------------------------------


def test_a_chain_without_a_base_fee_is_paid_by_the_gas_price() -> None:
    ledger = Ledger(base_fee=None)
    sending, call = staking(ledger)
    sending.send(call)
    assert ledger.offers[-1]["gasPrice"] == 2 * GWEI


def test_the_tip_is_what_recent_blocks_paid() -> None:
    ledger = Ledger()
    ledger.answers["eth_feeHistory"] = {"reward": [["0x0"], [hex(3 * GWEI)], [hex(5 * GWEI)], [hex(4 * GWEI)]]}
    sending, call = staking(ledger)
    mined = sending.send(call)
    assert ledger.offers[-1] == {"nonce": FIRST_NONCE, "tip": 4 * GWEI, "most": 6 * GWEI}
    assert (mined.gas_used, mined.cost) == (21000, 42000)
    assert mined.block.hash == Bytes32.parse(block(mined.block.number)["hash"])


def test_a_node_without_fee_methods_is_paid_by_what_its_gas_price_leaves_over_the_base_fee() -> None:
    ledger = Ledger()
    del ledger.answers["eth_maxPriorityFeePerGas"]
    sending, call = staking(ledger)
    sending.send(call)
    assert ledger.offers[-1]["tip"] == GWEI


def test_a_tip_that_the_user_names_is_offered() -> None:
    ledger = Ledger()
    sending, call = staking(ledger, sending=Sending(limits=FeeLimits(priority_fee=7)))
    sending.send(call)
    assert ledger.offers[-1]["tip"] == 7


@pytest.mark.parametrize("base", [GWEI, 0, None])
def test_a_stuck_transaction_is_replaced_by_one_that_offers_an_eighth_more(base: int | None) -> None:
    ledger = Ledger(base_fee=base)
    ledger.least_fee = 4 * GWEI
    sending, call = staking(ledger)
    sending.send(call)
    offers = [offer.get("most", offer.get("gasPrice", 0)) for offer in ledger.offers]
    assert len(offers) > 1
    assert all(after >= before * 9 // 8 for before, after in itertools.pairwise(offers))
    assert ledger.paid() == [FIRST_NONCE]


def test_a_transaction_that_the_pool_dropped_for_its_fee_offers_more() -> None:
    """Anvil and full pools drop what falls below the base fee, and do not take it back."""
    ledger = Ledger()

    def dropped() -> None:
        ledger.pool.clear()
        ledger.base_fee = 9 * GWEI
        ledger.answers["eth_sendRawTransaction"] = lambda raw: (
            ledger.take(raw) if most_of(raw) >= 9 * GWEI else error(-32000, "max fee per gas less than block base fee")
        )

    sending, call = staking(ledger, pause=meanwhile(ledger, dropped))
    sending.send(call)
    assert ledger.paid() == [FIRST_NONCE]


def passing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sender's clock: its last entry is now."""
    now = [0.0]
    for module in (tending, watch):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[-1]))
    return now


def most_of(raw: str) -> int:
    return int.from_bytes(rlp.decode(bytes.fromhex(raw[4:]))[3])


def test_a_pending_transaction_of_another_machine_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()

    def taken_elsewhere() -> None:
        ledger.pool.clear()
        ledger.foreign(FIRST_NONCE, price=4 * GWEI)
        ledger.least_fee = 5 * GWEI

    now, go_on = passing(monkeypatch), meanwhile(ledger, taken_elsewhere)

    def pause(seconds: float) -> None:
        now.append(now[-1] + 1)
        go_on(seconds)

    sending, call = staking(ledger, pause=pause, timeout=60)
    with pytest.raises(NotMined):
        sending.send(call)
    assert len(ledger.offers) == 2, "ours and theirs"


def test_a_stuck_transaction_is_not_replaced_beyond_the_limit(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger()
    ledger.least_fee = 10 * GWEI
    now = passing(monkeypatch)

    def pause(_seconds: float) -> None:
        now.append(now[-1] + 1)
        ledger.mine()

    limits = Sending(limits=FeeLimits(max_fee=4 * GWEI))
    sending, call = staking(ledger, sending=limits, pause=pause, timeout=60)
    with caplog.at_level(logging.WARNING), pytest.raises(NotMined):
        sending.send(call)
    assert max(offer["most"] for offer in ledger.offers) <= 4 * GWEI
    assert "would pass the limit" in caplog.text


# --- chains as they are -----------------------------------------------------------------------------------------


def test_a_chain_id_above_2_to_the_53_is_signed_for() -> None:
    large = 2**63 + 25
    account = Account.create()
    ledger = Ledger(account)
    ledger.answers["eth_chainId"] = hex(large)
    sending, call = staking(ledger, book=replace(BOOK, chain_id=large))
    sending.send(call)
    assert ledger.blocks[ledger.height][0]["from"] == account.address.lower()


def test_a_delegated_account_with_one_place_in_the_pool_waits_for_its_turn() -> None:
    ledger = Ledger()
    answer = error(-32000, "in-flight transaction limit reached for delegated accounts")
    ledger.answers["eth_sendRawTransaction"] = liar(ledger, answer, takes=False)
    sending, call = staking(ledger)
    sending.send(call)
    assert ledger.paid() == [FIRST_NONCE]


def test_a_nonce_that_an_authorisation_used_ends_as_replaced() -> None:
    """EIP-7702: a delegation raises the nonce of its account, and no transaction of that nonce exists."""
    ledger = Ledger()

    def delegated() -> None:
        ledger.pool.clear()
        ledger.mine()
        ledger.blocks[ledger.height] = [
            {"hash": str(keccak(b"set code")), "from": "0x" + "7" * 40, "nonce": "0x0", "nonce_": FIRST_NONCE}
        ]

    sending, call = staking(ledger, pause=meanwhile(ledger, delegated))
    with pytest.raises(Replaced, match="an authorisation in block 11"):
        sending.send(call)
