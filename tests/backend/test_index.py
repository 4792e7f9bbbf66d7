"""The index says what final blocks say, and nothing else; built again from events it is the same."""

from __future__ import annotations

from typing import cast

import pytest
from msgspec.structs import replace

from sealmarket.chain.errors import ChainUnavailable
from sealmarket.chain.events import EVENTS, ChainEvent
from sealmarket.chain.follow import Cursor
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Fault
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_backend import undo
from sealmarket_backend.book import OrderBook
from sealmarket_backend.errors import NotFound
from sealmarket_backend.index import Index
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint, Wei
from sealmarket_enclave.protocol.job import JobSpec, Settlement
from sealmarket_enclave.protocol.numbers import JobId
from tests import samples
from tests.backend.orders import (
    ASSET,
    BOOK,
    CONSUMER,
    NOW,
    OWNER,
    PROVIDER,
    RULES,
    STRANGER,
    account,
    compute,
    indexed,
    keys_only,
    posted_request,
    request,
    state_of,
)

EVIDENCE, RESULT, RECEIPT = (Bytes32(bytes([n]) * 32) for n in (0xE1, 0xE2, 0xE3))


def spec() -> JobSpec:
    use = samples.asset_use(asset_id=ASSET, owner=account(OWNER), seal_hash=indexed().seal.hash(), price=Wei(80))
    return samples.job_of(
        request(), compute().order, (use,), matched_at=0, **dict(zip(samples.WINDOWS, range(60, 64), strict=True))
    )


def core(job_id: JobId, outcome: Outcome = Outcome.ACCEPTED) -> Decision:
    return Decision(
        job_id=job_id,
        evidence_hash=EVIDENCE,
        enclave_signer=Address(b"\x05" * 20),
        enclave_key_hash=Bytes32(b"\x06" * 32),
        terms_digest=Bytes32(b"\x07" * 32),
        epoch=1,
        outcome=outcome,
        grade=1,
        reasons=Uint(0) if outcome is Outcome.ACCEPTED else Uint(1 << 220),
        expiry=100,
        detail=Bytes32(b"\x08" * 32),
    )


@pytest.fixture
def chain() -> MemoryChain:
    return MemoryChain(BOOK)


@pytest.fixture
def index(chain: MemoryChain, database: Database) -> Index:
    """An index that has read nothing yet."""
    return Index(database, chain, start=0)


def test_what_is_not_final_is_not_there(chain: MemoryChain, index: Index) -> None:
    job_id = chain.match(spec())
    index.advance()
    with pytest.raises(NotFound):
        index.job(job_id)


def test_what_a_reorganisation_took_back_was_never_there(chain: MemoryChain, index: Index) -> None:
    job_id = chain.match(spec())
    index.advance()
    chain.reorganise(1)
    chain.mine(3)
    index.advance()
    with pytest.raises(NotFound):
        index.job(job_id)


def test_a_silent_node_loses_nothing_that_was_read(chain: MemoryChain, index: Index) -> None:
    job_id = chain.match(spec())
    chain.finalise()
    index.advance()
    chain.fall_silent()
    with pytest.raises(ChainUnavailable):
        index.advance()
    assert index.job(job_id).status == "matched"


def test_a_log_that_does_not_read_holds_up_no_other_job(
    chain: MemoryChain, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    unread = replace(spec(), purpose=2).job_id(chain.chain_id, BOOK.market)
    chain.tell_unreadable("AssetRegistry", "VersionPublished", ASSET)
    chain.tell_unreadable("Market", "JobMatched", unread)
    chain.tell_unreadable("Market", "FeesClaimed", None)
    chain.match(replace(spec(), purpose=2))
    chain._events[-1].clear()  # its match is the log that did not read
    chain.quote(unread, EVIDENCE)
    job_id = chain.match(spec())
    chain.finalise()
    index.advance()
    assert index.job(job_id).status == "matched"
    with pytest.raises(NotFound):
        index.job(unread)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


def test_a_step_of_a_job_that_was_never_told_of_is_still_refused(chain: MemoryChain, index: Index) -> None:
    job_id = chain.match(spec())
    chain._events[-1].clear()
    chain.quote(job_id, EVIDENCE)
    chain.finalise()
    with pytest.raises(NotFound, match="never matched"):
        index.advance()


def test_a_job_is_followed_to_its_end(chain: MemoryChain, index: Index) -> None:
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    job_id = chain.match(spec())
    chain.quote(job_id, EVIDENCE)
    chain.decide(core(job_id))
    settlement = Settlement(job_id=job_id, result_hash=RESULT, receipt_hash=RECEIPT, units=3, last=True)
    chain.settle(settlement)
    chain.finalise()
    index.advance()
    view = index.job(job_id)
    assert (view.status, view.evidence_hash, view.result_hash, view.units) == ("settled", EVIDENCE, RESULT, 3)
    assert view.decision is not None
    assert view.decision.enclave_signer == Address(b"\x05" * 20)
    assert [event.name for event in view.history] == ["JobMatched", "JobQuoted", "JobDecided", "JobSettled"]
    assert view.deadline == view.history[-1].timestamp + 63
    assert "acknowledge" in view.waiting_for
    chain.end(job_id, Status.MATURED)
    chain.finalise()
    index.advance()
    assert (index.job(job_id).status, index.job(job_id).deadline, index.unfinished()) == ("matured", 0, [])


def test_an_acceptance_that_the_chain_turned_around_is_a_refusal(chain: MemoryChain, index: Index) -> None:
    job_id = chain.match(spec())
    chain.quote(job_id, EVIDENCE)
    chain.decide(core(job_id), outcome=Outcome.TERMS_REFUSED)
    chain.finalise()
    index.advance()
    assert index.job(job_id).status == "refused"


def test_a_refusal_keeps_its_reasons(chain: MemoryChain, index: Index) -> None:
    job_id = chain.match(spec())
    chain.quote(job_id, EVIDENCE)
    chain.decide(core(job_id, Outcome.REQUEST_REFUSED))
    chain.finalise()
    index.advance()
    assert index.job(job_id).reasons == 1 << 220


def test_a_new_allow_list_leaves_the_other_terms_of_an_asset(chain: MemoryChain, index: Index) -> None:
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    chain.tighten(ASSET, 1, indexed(price=Wei(99)).terms)
    chain.finalise()
    index.advance()
    before = index.asset(ASSET, 1)
    chain.replace_allow_list(ASSET, 1, EVIDENCE)
    chain.finalise()
    index.advance()
    after = index.asset(ASSET, 1)
    assert (after.terms, after.terms_version) == (replace(before.terms, allow_root=EVIDENCE), 3)


def test_a_new_allow_list_of_an_asset_that_does_not_read_changes_nothing(chain: MemoryChain, index: Index) -> None:
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    chain.tell_unreadable("AssetRegistry", "TermsTightened", ASSET)
    chain.replace_allow_list(ASSET, 1, EVIDENCE)
    chain.finalise()
    index.advance()
    assert index.asset(ASSET, 1).terms == indexed().terms


def test_tightened_terms_and_revocation_show_on_the_asset(chain: MemoryChain, index: Index) -> None:
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    chain.tighten(ASSET, 1, indexed(price=Wei(99)).terms)
    chain.revoke(ASSET)
    chain.finalise()
    index.advance()
    asset = index.asset(ASSET, 1)
    assert (asset.terms.price, asset.terms_version, asset.revoked) == (99, 2, True)


def test_cancelled_orders_leave_the_book_by_their_signers_word_only(
    chain: MemoryChain, database: Database, index: Index
) -> None:
    book = OrderBook(database, keys_only(), RULES)
    asked, order = book.add_request(posted_request(), NOW), book.add_compute_order(compute(), NOW)

    def tell(name: str, **fields: object) -> None:
        chain._mine(lambda _state, at: [cast(ChainEvent, EVENTS[name](at, **fields))])
        chain.finalise()
        index.advance()

    tell("OrderCancelled", signer=account(STRANGER), order_hash=order)
    assert book.open_compute_orders() == [compute()]
    tell("OrderCancelled", signer=account(PROVIDER), order_hash=order)
    tell("RequestCancelled", request_hash=asked, by=account(CONSUMER))
    assert (book.open_compute_orders(), state_of(book, asked).state) == ([], "cancelled")


def test_jobs_are_found_by_provider_consumer_and_status(chain: MemoryChain, index: Index) -> None:
    job_id = chain.match(spec())
    chain.finalise()
    index.advance()
    assert [view.job_id for view in index.jobs(provider=account(PROVIDER), status=Status.MATCHED)] == [job_id]
    assert [view.job_id for view in index.jobs(consumer=account(CONSUMER))] == [job_id]
    assert index.jobs(provider=account(STRANGER)) == []
    assert index.jobs(status=Status.SETTLED) == []


def test_a_rewritten_final_block_empties_the_index_and_opens_its_orders_again(
    chain: MemoryChain, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    book = OrderBook(database, keys_only(), RULES)
    asked = book.add_request(posted_request(), NOW)
    index = Index(database, chain, start=0)
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    job_id = chain.match(spec())
    chain.finalise()
    index.advance()
    assert state_of(book, asked).state == "matched"
    chain.rewrite(2)
    chain.finalise()
    index.advance()
    with pytest.raises(NotFound):
        index.job(job_id)
    assert (state_of(book, asked).state, state_of(book, asked).job_id) == ("open", None)
    assert (index.position(), len(index.assets())) == (chain.final().number, 1)
    assert "was final as" in caplog.text


def told(database: Database) -> list[list[tuple[object, ...]]]:
    """Everything that the index holds."""
    tables = ("assets", "jobs", "events", "unreadable", "requests", "compute_orders", "cursor")
    return [[tuple(row) for row in database.rows(f"SELECT * FROM {table} ORDER BY 1, 2")] for table in tables]


def busy_chain(chain: MemoryChain, index: Index) -> None:
    """Sixty-four final blocks, each read on its own, with changes of every table."""
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    job_id = chain.match(spec())
    chain.quote(job_id, EVIDENCE)
    for number in range(61):
        if number % 7 == 0:
            chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
        elif number % 5 == 0:
            chain.tell_unreadable("Market", "JobMatched", Bytes32(bytes([number]) * 32))
        elif number == 31:
            chain.end(job_id, Status.EXPIRED)
        else:
            chain.revoke(ASSET)
        index.advance()
    chain.finalise()
    index.advance()


DEPTHS = [1, 2, 33, 64]


@pytest.mark.parametrize(
    "depth", [pytest.param(n, marks=() if n in DEPTHS else pytest.mark.long) for n in range(1, 65)]
)
def test_an_index_that_is_taken_back_says_what_one_that_was_never_there_says(
    chain: MemoryChain, database: Database, depth: int
) -> None:
    with Database(None) as fresh:
        for one in (database, fresh):
            OrderBook(one, keys_only(), RULES).add_request(posted_request(), NOW)
        index = Index(database, chain, start=0)
        busy_chain(chain, index)
        chain.rewrite(depth + chain.finality_lag)
        index.advance()
        Index(fresh, chain, start=0).advance()
        assert told(database) == told(fresh)


def test_what_is_taken_back_has_the_words_of_before(database: Database) -> None:
    words = "why? 100 % of %s, it's \\ '{}'"
    with database.write() as connection:
        with undo.recorded(connection, Cursor(1, Bytes32(bytes(32)))):
            connection.execute("INSERT INTO unreadable (subject, reason) VALUES (?, ?)", (b"1", words))
        with undo.recorded(connection, Cursor(2, Bytes32(bytes(32)))):
            connection.execute("UPDATE unreadable SET reason = ?", ("other",))
        assert undo.back_to(connection, 1)
    assert [row["reason"] for row in database.rows("SELECT reason FROM unreadable")] == [words]


def test_an_index_goes_on_from_its_stored_cursor(
    chain: MemoryChain, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = chain.match(spec())
    chain.finalise()
    Index(database, chain, start=0).advance()
    seen: list[int] = []
    events = chain.events

    def counted(first: int, last: int) -> list[ChainEvent]:
        seen.append(first)
        return events(first, last)

    monkeypatch.setattr(chain, "events", counted)
    chain.quote(job_id, EVIDENCE)
    chain.finalise()
    restarted = Index(database, chain, start=0)
    restarted.advance()
    assert restarted.job(job_id).status == "quoted"
    assert seen == [2]


def test_an_index_built_again_from_events_is_the_same(chain: MemoryChain, index: Index) -> None:
    job_id = chain.match(spec())
    for _ in range(3):
        index.advance()
        chain.mine()
    chain.quote(job_id, EVIDENCE)
    chain.end(job_id, Status.EXPIRED, Fault.COMMITTEE_SILENT)
    chain.finalise()
    index.advance()
    with Database(None) as empty:
        again = Index(empty, chain, start=0)
        again.advance()
        assert again.jobs() == index.jobs()
