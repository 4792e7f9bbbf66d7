"""What no job could ever meet is found before anything is sealed, published or paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain.memory import MemoryChain
from sealmarket.client import DraftTerms, Owner, SealedAsset
from sealmarket.client.draft_file import read_draft, whole_policy
from sealmarket.client.errors import AlreadyPublished, PolicyUnmeetable, SealedFolderExists, UnknownAsset
from sealmarket.client.policy_words import explain_draft
from sealmarket.client.unmeetable import objections, require_meetable
from sealmarket.client.windows import terms_hold
from sealmarket.protocol.timing import longest_use
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    HexBytes,
    Uint64,
    Wei,
    canonical_json,
    to_builtins,
)
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.policy import OutputRules, Serving, Validator
from tests.client.test_owner import BOOK, DATA, chain, draft, owner, sealed
from tests.samples import TIMING

__all__ = ["chain", "owner", "sealed"]
NOW = 1_700_000_000


def terms(**changes: Any) -> DraftTerms:
    return replace(draft().terms, **changes)


def serving(**changes: Any) -> Serving:
    usual = Serving(
        per_unit=Wei(1),
        max_lease=Uint64(1000),
        max_prompt_units=Uint64(2048),
        max_answer_units=Uint64(1024),
        unit_bytes=64,
        endpoints=("chat",),
    )
    return replace(usual, **changes)


def withholding() -> OutputRules:
    check = Validator(media_type="application/json", digest=ZERO_HASH, rules={}, withheld=100)
    return replace(draft().output, validators=(check,))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"terms": terms(expiry=1)}, "the terms ended at 1970-01-01T00:00:01Z"),
        ({"terms": terms(expiry=NOW)}, "the terms ended at"),
        ({"terms": terms(max_hold=77)}, "maxHold is 77 s"),
        ({"terms": terms(min_grade="hardware")}, "name one grade in both"),
        ({"terms": terms(consumers=(ZERO_ADDRESS,))}, "zero address"),
        ({"output": replace(draft().output, minimum_owners=17)}, "at most 16 assets"),
        ({"output": replace(draft().output, privacy="dp")}, "no enclave has a mechanism"),
        ({"auditors": (HexBytes(b"no key"),)}, "key 1 of auditors is none"),
        ({"serving": serving(max_lease=Uint64(0))}, "serving.maxLease is 0"),
        (
            {"serving": serving(max_prompt_units=Uint64(0), max_answer_units=Uint64(0))},
            "serving allows no unit of prompt or answer",
        ),
        ({"serving": serving(per_unit=Wei(1 << 88))}, "a unit costs 309485009821345068724781055 at most"),
        ({"serving": serving(per_unit=Wei(draft().terms.price + 1))}, "less than the royalty of one unit"),
        ({"output": withholding()}, "describe the table"),
        ({"output": withholding(), "data_card": {"kind": "bytes", "reader": {"name": "x"}}}, "describe the table"),
    ],
)
def test_a_policy_that_nobody_can_ever_meet_is_refused_with_its_clause(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PolicyUnmeetable, match=said):
        require_meetable(draft(**changes), NOW, TIMING)


def test_rows_may_be_withheld_of_a_table_that_a_reader_divides() -> None:
    described = draft(output=withholding(), data_card={"kind": "table", "reader": {"name": "tables"}})
    assert list(objections(described, NOW, TIMING)) == []
    assert "Of a thousand rows 100 are withheld from each workload, picked anew for each job." in explain_draft(
        described, NOW
    )


def test_everything_that_cannot_be_met_is_named_at_once() -> None:
    bad = draft(terms=terms(expiry=1, max_hold=1), output=replace(draft().output, minimum_owners=99, privacy="dp"))
    assert len(list(objections(bad, NOW, TIMING))) == 4


@given(
    expiry=st.integers(min_value=0, max_value=2**53 - 1),
    now=st.integers(min_value=0, max_value=2**40),
    hold=st.integers(min_value=0, max_value=2**32 - 1),
)
def test_terms_are_refused_exactly_where_they_are_over_or_too_short(expiry: int, now: int, hold: int) -> None:
    found = list(objections(draft(terms=terms(expiry=expiry, max_hold=hold)), now, TIMING))
    assert len(found) == (expiry <= now) + (hold < longest_use(TIMING.windows))


def test_the_hold_that_a_draft_leaves_out_can_be_met() -> None:
    assert list(objections(draft(terms=terms(max_hold=terms_hold(TIMING))), NOW, TIMING)) == []


def test_an_expired_policy_is_sealed_by_nobody_and_nothing_is_written(owner: Owner, tmp_path: Path) -> None:
    with pytest.raises(PolicyUnmeetable, match="1970"):
        owner.seal(DATA, draft(terms=terms(expiry=1000)), tmp_path / "new", confirm_unencrypted_key=True)
    assert not (tmp_path / "new").exists()


def test_what_expired_since_it_was_sealed_is_not_published(owner: Owner, sealed: SealedAsset) -> None:
    with pytest.raises(PolicyUnmeetable, match="the terms ended"):
        owner.publish(sealed, now=sealed.terms.expiry)


def test_what_is_published_is_not_uploaded_again_and_the_remedy_exists(
    owner: Owner, sealed: SealedAsset, chain: MemoryChain
) -> None:
    chain.publish(sealed.asset_id, owner.address, sealed.seal, sealed.terms)
    with pytest.raises(AlreadyPublished, match="owner seal --after"):
        owner.publish(sealed)


def test_an_unknown_asset_is_unknown_and_belongs_to_nobody(owner: Owner, sealed: SealedAsset) -> None:
    for act in (
        lambda: owner.tighten(sealed.asset_id, 1, max_uses=1),
        lambda: owner.revoke(sealed.asset_id, 1),
        lambda: owner.lift_price(sealed.asset_id, 1),
        lambda: owner.offer(sealed.asset_id, 1, price=Wei(1), volume=1, expiry=2**33),
    ):
        with pytest.raises(UnknownAsset, match="was never published") as refused:
            act()
        assert str(ZERO_ADDRESS) not in str(refused.value)
        assert BOOK.market.checksum in str(refused.value)


def test_a_folder_that_is_there_has_a_remedy(owner: Owner, sealed: SealedAsset) -> None:
    with pytest.raises(SealedFolderExists, match="name a new folder"):
        owner.seal(DATA, draft(), sealed.folder, confirm_unencrypted_key=True)


# --- drafts as people write them --------------------------------------------------------------------------------


def written(**terms_: Any) -> bytes:
    document = to_builtins(draft())
    document["terms"] |= terms_
    return canonical_json(document)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"price": "cheap"}, "is no amount"),
        ({"expiry": "in 90 days"}, "name the day"),
        ({"expiry": "tomorrow"}, "is no date"),
        ({"consumers": ["0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]}, "checksum"),
        ({"consumers": [1]}, "Address"),
        ({"price": 5}, "decimal string"),
    ],
)
def test_a_draft_file_with_a_value_of_no_form_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        read_draft(written(**changes))
    assert said in str(refused.value)


def test_a_draft_file_takes_coins_days_and_checksummed_accounts() -> None:
    someone = Address(b"\xab\xcd" * 10)
    read = read_draft(written(price="0.5coin", expiry="2033-05-18", consumers=[someone.checksum, str(someone)]))
    assert (read.terms.price, read.terms.expiry) == (5 * 10**17, 2_000_073_599)
    assert read.terms.consumers == (someone, someone)
    assert read_draft(written()).canonical() == draft().canonical()


def edited(at: int, new: bytes, cut: int) -> bytes:
    """A draft file after one edit: ``cut`` bytes at ``at`` become ``new``."""
    raw = written()
    return raw[: at % len(raw)] + new + raw[at % len(raw) + cut :]


@given(
    st.binary(max_size=300)
    | st.builds(
        edited,
        st.integers(0, 4000),
        st.binary(max_size=3) | st.sampled_from([b"1", b"0", b"5coin", b'"']),
        st.integers(0, 3),
    )
)
def test_a_file_that_is_read_reads_back_from_its_one_spelling_and_any_other_is_refused(raw: bytes) -> None:
    for read in (read_draft, whole_policy):
        try:
            found = read(raw)
        except MalformedDocument:
            continue
        if found is not None:
            assert read(found.canonical()) == found


# --- what a policy says of services ---------------------------------------------------------------------------------


def test_a_policy_is_explained_with_the_services_that_it_allows_and_their_price() -> None:
    rules = serving(
        per_unit=Wei(10**14),
        max_lease=Uint64(2000),
        max_prompt_units=Uint64(20),
        max_answer_units=Uint64(10),
        endpoints=("chat", "models"),
    )
    said = "\n".join(explain_draft(replace(draft(), serving=rules), NOW))
    assert "Allowed: a service that answers from the data at chat, models" in said
    assert "earns 0.0001 coin or more; at most 2000 units" in said
    assert "a request costs at most 30" in said
    assert "A prompt has at most 20 units, an answer 10. The workload itself says how many" in said


def test_a_policy_says_which_lease_its_price_covers_and_which_requests_that_leaves_out() -> None:
    rules, price = serving(per_unit=Wei(10), max_lease=Uint64(5000)), terms(price=Wei(30_000))
    said = "\n".join(explain_draft(replace(draft(), serving=rules, terms=price), NOW))
    assert "covers 3000 units that are served and never paid for" in said
    assert "NO lease that the price covers holds the largest request: those above 3000 units are refused" in said
    said = "\n".join(explain_draft(replace(draft(), serving=serving(per_unit=Wei(0))), NOW))
    assert "A unit may earn you NOTHING" in said


@given(price=st.integers(0, 50), per_unit=st.integers(0, 50), lease=st.integers(0, 3), most=st.integers(0, 3))
def test_terms_for_services_are_refused_exactly_where_no_service_could_meet_them(
    price: int, per_unit: int, lease: int, most: int
) -> None:
    rules = serving(
        per_unit=Wei(per_unit), max_lease=Uint64(lease), max_prompt_units=Uint64(most), max_answer_units=Uint64(0)
    )
    found = list(objections(draft(serving=rules, terms=terms(price=Wei(price))), NOW, TIMING))
    assert len(found) == (price < per_unit) + (not lease) + (not most)


def test_a_policy_without_terms_for_services_is_explained_as_allowing_none() -> None:
    assert "Not allowed: a service that answers users from the data." in explain_draft(draft(), NOW)
