"""What an owner's export says follows from the chain: who, when, for what, and what was paid, exactly."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain.events import JobEnded
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Fault, Payout
from sealmarket.client.assets import owned_versions, paid_for, uses_of
from sealmarket.client.audit import COLUMNS, Catalogue, Line, audit, names_in
from sealmarket.client.csv_file import csv_text, harmless
from sealmarket.market_api.memory import MemoryBackend
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.owner_shares import owner_shares
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Address, Bytes32, Wei
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import JobSpec, Settlement
from sealmarket_enclave.protocol.numbers import AssetId
from tests.backend.orders import ASSET, BOOK, CONSUMER, OWNER, STRANGER, account, indexed
from tests.backend.test_index import EVIDENCE, core, spec
from tests.protocol.test_proposals import answer, proposal

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1", "\n@x")


@pytest.fixture
def chain() -> MemoryChain:
    twin = MemoryChain(BOOK)
    twin.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    return twin


def lines(chain: MemoryChain, *, answers: Any = (), owner: Address | None = None, **names: str) -> list[Line]:
    catalogue = Catalogue(MemoryBackend().store(), {account(CONSUMER): names.get("consumer", "")})
    return audit(chain, owner or account(OWNER), chain.head(), catalogue, answers)


def accepted(chain: MemoryChain) -> Bytes32:
    job_id = chain.match(spec())
    chain.quote(job_id, EVIDENCE)
    chain.decide(core(job_id))
    return job_id


def settled(chain: MemoryChain) -> Bytes32:
    job_id = accepted(chain)
    settlement = Settlement(
        job_id=job_id,  # type: ignore[arg-type]
        result_hash=Bytes32(b"\x21" * 32),
        receipt_hash=Bytes32(b"\x22" * 32),
        units=0,
        last=True,
    )
    chain.settle(settlement)
    return job_id


def use(found: list[Line]) -> Line:
    (line,) = [one for one in found if one["kind"] == "use"]
    return line


def test_an_owner_who_published_nothing_has_no_lines(chain: MemoryChain) -> None:
    settled(chain)
    assert lines(chain, owner=account(STRANGER)) == []


def test_a_job_that_is_refused_opened_nothing_and_paid_nothing(chain: MemoryChain) -> None:
    job_id = chain.match(spec())
    chain.quote(job_id, EVIDENCE)
    chain.decide(core(job_id, Outcome.REQUEST_REFUSED))
    line = use(lines(chain))
    assert (line["opened"], line["paid"], line["paid_block"]) == ("no", "0", "")
    assert line["reasons"]


def test_a_job_that_stopped_before_release_opened_nothing(chain: MemoryChain) -> None:
    job_id = accepted(chain)
    assert use(lines(chain))["opened"] == "possible"
    chain.end(job_id, Status.STOPPED, Fault.STOPPED_BEFORE_RELEASE)  # type: ignore[arg-type]
    assert use(lines(chain))["opened"] == "no"


def test_a_provider_that_fell_silent_may_have_opened_the_data(chain: MemoryChain) -> None:
    job_id = accepted(chain)
    chain.end(job_id, Status.EXPIRED, Fault.PROVIDER_SILENT)  # type: ignore[arg-type]
    line = use(lines(chain))
    assert (line["opened"], line["outcome"]) == ("possible", "expired: provider_silent")


def test_a_use_names_recipient_purpose_workload_grade_payment_and_where_each_stands(chain: MemoryChain) -> None:
    job_id = settled(chain)
    line = use(lines(chain, consumer="University"))
    assert line["job_id"] == str(job_id)
    assert line["recipient"] == account(CONSUMER).checksum
    assert line["hipaa_recipient"] == line["gdpr30_recipients"] == f"University {account(CONSUMER).checksum}"
    assert (line["purpose"], line["grade"], line["opened"], line["outcome"]) == ("train", "simulated", "yes", "result")
    assert line["paid"] == "80"
    assert line["workload"] == str(spec().workload_digest)
    for column in ("block", "transaction", "paid_block", "paid_transaction", "ended_block", "ended_transaction"):
        assert line[column], column
    assert all(set(one) == set(COLUMNS) for one in lines(chain))


def test_terms_and_approvals_are_lines_and_a_forged_approval_is_none(chain: MemoryChain) -> None:
    chain.replace_allow_list(ASSET, 1, Bytes32(b"\x02" * 32))
    chain.revoke(ASSET, 1)
    good = answer(proposal(), reason="=cmd|' /C calc'!A0")
    forged = replace(good, answer=replace(good.answer, purpose=4))
    found = lines(chain, answers=[good, forged])
    assert [one["outcome"] for one in found if one["kind"] == "terms"] == [
        "published",
        "allow-list replaced",
        "revoked",
    ]
    (approval,) = [one for one in found if one["kind"] == "approval"]
    assert (approval["answer"], approval["block"]) == ("approved", "2")
    assert "'=cmd" in csv_text(COLUMNS, found)
    assert '"=cmd' not in csv_text(COLUMNS, found)


def test_versions_are_listed_with_their_state_and_uses(chain: MemoryChain) -> None:
    (one,) = owned_versions(chain, account(OWNER), chain.head())
    now = one.state.terms.expiry
    assert [one.standing(now - 1), one.standing(now)] == ["on sale", "expired"]
    chain.revoke(ASSET, 1)
    (one,) = owned_versions(chain, account(OWNER), chain.head())
    assert one.standing(0) == "revoked"


def test_what_an_owner_earned_is_what_each_job_paid(chain: MemoryChain) -> None:
    settled(chain)
    told: list[tuple[int, int]] = []
    (used,) = uses_of(chain, account(OWNER), chain.head(), lambda *seen: told.append(seen))
    assert (int(used.paid), told) == (80, [(1, 1)])


def test_an_end_that_pays_some_owners_pays_exactly_their_part(chain: MemoryChain) -> None:
    chain.match(shared([3, 5, 7]))
    (matched,) = chain.matches(0, chain.head())
    payout = Payout(owners_total=Wei(10), owners_paid=frozenset({0, 2}))
    ended = JobEnded(matched.at, matched.job_id, Status.FAILED, Fault.VALIDATOR_TIMED_OUT, payout=payout)
    assert [int(paid_for(matched, place, (ended,))[0]) for place in range(3)] == [3, 0, 7]


def shared(prices: list[int]) -> JobSpec:
    uses = tuple(
        replace(spec().assets[0], asset_id=AssetId(Bytes32(bytes([n + 1]) * 32)), price=Wei(price))
        for n, price in enumerate(prices)
    )
    return replace(spec(), assets=uses)


@given(
    prices=st.lists(st.integers(min_value=0, max_value=2**100), min_size=1, max_size=16),
    chosen=st.sets(st.integers(min_value=0, max_value=15)),
    part=st.integers(min_value=0, max_value=100),
)
def test_shares_of_owners_sum_to_the_total_and_none_gets_more_than_its_price(
    prices: list[int], chosen: set[int], part: int
) -> None:
    places = {place for place in chosen if place < len(prices)}
    owed = sum(prices[place] for place in places)
    total = owed * part // 100
    found = owner_shares(shared(prices), places, total)
    assert sum(map(int, found.values())) == (total if owed else 0)
    assert all(share <= prices[place] for place, share in found.items())


# --- the file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_calculate_is_text(cell: str) -> None:
    assert harmless(cell) == "'" + cell


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=5))
def test_every_cell_reads_back_and_none_starts_a_formula(cells: list[str]) -> None:
    columns = [f"c{n}" for n in range(len(cells))]
    text = csv_text(columns, [dict(zip(columns, cells, strict=True))])
    (row,) = list(csv.DictReader(io.StringIO(text, newline="")))
    for column, cell in zip(columns, cells, strict=True):
        assert row[column].removeprefix("'") == cell.removeprefix("'") or row[column] == "'" + cell
        assert not row[column].lstrip().startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("document", [[], {"0x12": "x"}, {"0x" + "11" * 20: 1}])
def test_names_that_are_none_are_refused(document: object) -> None:
    with pytest.raises(MalformedDocument):
        names_in(document)
