"""Sign-ins that are forged, replayed, late or for another server are refused, and nobody reads another's."""

from __future__ import annotations

import time
from typing import Any

import coincurve
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain.memory import MemoryChain
from sealmarket.market_api import Identity, MarketApi
from sealmarket.protocol.market import ProposalPage
from sealmarket.protocol.problems import Problem
from sealmarket.protocol.sign_in import (
    LONGEST_MESSAGE,
    STATEMENT,
    SignedMessage,
    SignInMessage,
    domain_of,
    read_message,
    uri_of,
)
from sealmarket.service.errors import ServiceRefused
from sealmarket_backend import nonces
from sealmarket_backend import sessions as rules
from sealmarket_backend.errors import SignInNeeded, SignInRefused, TooMany
from sealmarket_backend.nonces import KEY_SECONDS, NONCE_SECONDS
from sealmarket_backend.service import Backend
from sealmarket_backend.sessions import SESSION_SECONDS, SKEW_SECONDS, Sessions
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, HexBytes, canonical_json
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.signing import personal_digest, sign
from tests.backend.orders import ASSET, BOOK, CONSUMER, OWNER, STRANGER, account, indexed
from tests.backend.test_api import Client
from tests.backend.test_proposals import answered
from tests.backend.test_proposals import proposal as signed_proposal

NOW = 1_800_000_000
PEER = "10.0.0.1"


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(database: Database, clock: Clock) -> Sessions:
    return made(database, clock)


def made(database: Database, clock: Clock, contracts: Any = lambda *_: False) -> Sessions:
    return Sessions(database, Signatures(BOOK, contracts), BOOK, clock)


def message(nonce: str, key: coincurve.PrivateKey = OWNER, **changes: Any) -> SignInMessage:
    fields: dict[str, Any] = {
        "domain": domain_of(BOOK.backend),
        "account": account(key),
        "uri": uri_of(BOOK.backend),
        "chain_id": BOOK.chain_id,
        "nonce": nonce,
        "issued_at": NOW,
        "expiration": NOW + 600,
    }
    return SignInMessage(**(fields | changes))


def signed(text: str, key: coincurve.PrivateKey = OWNER) -> SignedMessage:
    return SignedMessage(message=text, signature=sign(personal_digest(text.encode()), key))


OTHERS: dict[str, dict[str, Any]] = {
    "another domain": {"domain": "market.example"},
    "a domain that ends alike": {"domain": "evil" + domain_of(BOOK.backend)},
    "another uri": {"uri": "http://market.example/v1/sign-in"},
    "another chain": {"chain_id": 1},
    "written too early": {"issued_at": NOW - SKEW_SECONDS - 1},
    "written in the future": {"issued_at": NOW + SKEW_SECONDS + 1},
    "over": {"expiration": NOW},
    "for another's account": {"account": account(STRANGER)},
    "with a nonce of its own": {"nonce": "a" * 32},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_a_message_that_is_not_of_this_server_chain_time_and_account_is_refused(
    changes: dict[str, Any], sessions: Sessions, database: Database
) -> None:
    text = message(**({"nonce": sessions.nonce().nonce} | changes)).text()
    with pytest.raises(SignInRefused):
        sessions.sign_in(signed(text), PEER)
    assert database.rows("SELECT * FROM sessions") == []


def test_a_sign_in_counts_once(sessions: Sessions) -> None:
    given = signed(message(sessions.nonce().nonce).text())
    assert sessions.account(sessions.sign_in(given, PEER).token) == account(OWNER)
    with pytest.raises(SignInRefused, match="a nonce that this server gave"):
        sessions.sign_in(given, PEER)


def test_a_nonce_is_used_up_by_a_forged_sign_in_too(sessions: Sessions) -> None:
    text = message(sessions.nonce().nonce).text()
    with pytest.raises(SignInRefused, match=account(OWNER).checksum):
        sessions.sign_in(signed(text, STRANGER), PEER)
    with pytest.raises(SignInRefused, match="a nonce that this server gave"):
        sessions.sign_in(signed(text), PEER)


def test_a_nonce_that_waited_too_long_counts_no_more(sessions: Sessions, clock: Clock) -> None:
    nonce = sessions.nonce().nonce
    clock.now += NONCE_SECONDS
    with pytest.raises(SignInRefused):
        sessions.sign_in(signed(message(nonce, issued_at=clock.now, expiration=clock.now + 9).text()), PEER)


def test_however_many_strangers_ask_for_nonces_and_use_them_up_mine_counts(
    sessions: Sessions, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nonces, "MOST_OF_PEER", 2)
    mine = sessions.nonce().nonce
    for _ in range(1000):
        sessions.nonce()
    assert len(database.rows("SELECT id FROM nonces")) == 1, "a nonce that nobody used is kept"
    for stranger in range(157):
        for _ in range(2):
            forged = message(sessions.nonce().nonce).text()
            with pytest.raises(SignInRefused, match=account(STRANGER).checksum):
                sessions.sign_in(signed(forged, STRANGER), f"10.0.1.{stranger}")
    assert sessions.sign_in(signed(message(mine).text()), PEER)


def test_a_peer_that_signs_in_too_often_waits_and_no_other_does(
    sessions: Sessions, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nonces, "MOST_OF_PEER", 2)

    def sign_in(peer: str) -> str:
        text = message(sessions.nonce().nonce, issued_at=clock.now, expiration=clock.now + 9).text()
        return sessions.sign_in(signed(text), peer).token

    sign_in("10.0.0.66")
    sign_in("10.0.0.66")
    with pytest.raises(TooMany) as refused:
        sign_in("10.0.0.66")
    assert refused.value.retry_after == NONCE_SECONDS
    assert sign_in(PEER)
    clock.now += NONCE_SECONDS
    assert sign_in("10.0.0.66")
    assert len(database.rows("SELECT id FROM nonces WHERE peer != ''")) == 1, "what ended is kept"


def test_however_many_addresses_sign_in_the_used_nonces_are_bounded_and_none_counts_twice(
    sessions: Sessions, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nonces, "MOST_USED", 8)
    monkeypatch.setattr(nonces, "FORGOTTEN_AT_ONCE", 3)
    texts = []
    for stranger in range(40):
        clock.now += stranger % 2
        texts.append(message(sessions.nonce().nonce, issued_at=clock.now, expiration=clock.now + 99).text())
        assert sessions.sign_in(signed(texts[-1]), f"10.0.1.{stranger}"), "the newest counts"
        assert len(database.rows("SELECT id FROM nonces WHERE peer <> ''")) <= 8
        for text in texts:
            with pytest.raises(SignInRefused):
                sessions.sign_in(signed(text), PEER)


def test_a_nonce_that_waited_while_others_were_forgotten_is_refused_and_the_next_one_counts(
    sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nonces, "MOST_USED", 4)
    monkeypatch.setattr(nonces, "FORGOTTEN_AT_ONCE", 2)
    early = sessions.nonce().nonce
    for stranger in range(6):
        clock.now += 1
        text = message(sessions.nonce().nonce, issued_at=clock.now, expiration=clock.now + 99).text()
        sessions.sign_in(signed(text), f"10.0.1.{stranger}")
    with pytest.raises(SignInRefused, match="a nonce that this server gave"):
        sessions.sign_in(signed(message(early).text()), PEER)
    clock.now += 1
    assert sessions.sign_in(signed(message(sessions.nonce().nonce).text()), PEER)


@given(st.integers(0, 57), st.sampled_from("0123456789abcdefA"))
@settings(max_examples=60)
def test_a_nonce_of_which_one_sign_is_another_is_refused(at: int, sign_: str) -> None:
    with Database(None) as database:
        sessions = made(database, Clock())
        given_ = sessions.nonce().nonce
        assert len(given_) == 58
        other = given_[:at] + sign_ + given_[at + 1 :]
        if other != given_:
            with pytest.raises(SignInRefused):
                sessions.sign_in(signed(message(other).text()), PEER)
        assert sessions.sign_in(signed(message(given_).text()), PEER)


def test_every_process_on_a_database_takes_the_nonces_of_the_others_once_and_those_of_a_key_before(
    sessions: Sessions, database: Database, clock: Clock
) -> None:
    clock.now += KEY_SECONDS - 1
    other = made(database, clock)
    texts = [
        message(one.nonce().nonce, issued_at=clock.now, expiration=clock.now + 99).text() for one in (sessions, other)
    ]
    clock.now += 10
    sessions.nonce()
    restarted = made(database, clock)
    for text in texts:
        assert restarted.sign_in(signed(text), PEER)
        for one in (sessions, other, restarted):
            with pytest.raises(SignInRefused):
                one.sign_in(signed(text), PEER)


@pytest.mark.parametrize("token", ["", "x", "x" * 5000, "\x00", "é"])
def test_a_token_that_is_none_opens_nothing(token: str, sessions: Sessions) -> None:
    with pytest.raises(SignInNeeded):
        sessions.account(token)


def test_a_session_ends_with_its_message_and_after_an_hour_at_the_latest(sessions: Sessions, clock: Clock) -> None:
    for asked, lasts in ((60, 60), (10 * SESSION_SECONDS, SESSION_SECONDS)):
        begun = clock.now
        text = message(sessions.nonce().nonce, issued_at=begun, expiration=begun + asked).text()
        found = sessions.sign_in(signed(text), PEER)
        assert found.expires == begun + lasts
        clock.now = begun + lasts - 1
        assert sessions.account(found.token) == account(OWNER)
        clock.now = begun + lasts
        with pytest.raises(SignInNeeded):
            sessions.account(found.token)


def test_an_account_ends_its_session_or_all_of_its_own_and_no_others(sessions: Sessions) -> None:
    def begin(key: coincurve.PrivateKey = OWNER) -> str:
        return sessions.sign_in(signed(message(sessions.nonce().nonce, key).text(), key), PEER).token

    first, second, third, other = begin(), begin(), begin(), begin(STRANGER)
    sessions.end(first)
    with pytest.raises(SignInNeeded):
        sessions.end(first)
    assert sessions.account(second)
    sessions.end_all(second)
    for token in (second, third):
        with pytest.raises(SignInNeeded):
            sessions.account(token)
    assert sessions.account(other) == account(STRANGER)


def test_of_an_accounts_sessions_the_newest_are_kept(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_OF_ACCOUNT", 2)
    tokens = [sessions.sign_in(signed(message(sessions.nonce().nonce).text()), PEER).token for _ in range(3)]
    with pytest.raises(SignInNeeded):
        sessions.account(tokens[0])
    assert all(sessions.account(token) for token in tokens[1:])


def test_sessions_are_bounded_in_all_and_end_for_the_peers_that_have_the_most(
    sessions: Sessions, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_SESSIONS", 12)
    monkeypatch.setattr(rules, "ENDED_AT_ONCE", 4)

    def begin(peer: str, key: coincurve.PrivateKey) -> str:
        return sessions.sign_in(signed(message(sessions.nonce().nonce, key).text(), key), peer).token

    mine = begin(PEER, OWNER)
    for number in range(60):
        begin(f"10.0.2.{number % 5}", coincurve.PrivateKey((number + 1).to_bytes(32, "big")))
        assert len(database.rows("SELECT id FROM sessions")) <= 12
    assert sessions.account(mine) == account(OWNER), "a flood from a few peers ended the session of another"
    assert sessions.account(begin("10.0.9.9", CONSUMER)) == account(CONSUMER)


def test_no_token_and_no_nonce_is_on_disk(sessions: Sessions, database: Database) -> None:
    nonce = sessions.nonce().nonce
    token = sessions.sign_in(signed(message(sessions.nonce().nonce).text()), PEER).token
    kept = [
        bytes(str(value), "latin-1") if not isinstance(value, bytes) else value
        for table in ("nonces", "sessions")
        for row in database.rows(f"SELECT * FROM {table}")
        for value in row
    ]
    assert kept
    assert not [value for value in kept if token.encode() in value or nonce.encode() in value]


def test_a_contract_signs_in_by_its_own_rule_and_a_number_of_times_at_most(database: Database, clock: Clock) -> None:
    asked: list[tuple[Address, bytes]] = []

    def accepts(signer: Address, digest: bytes, signature: bytes) -> bool:
        asked.append((signer, digest))
        return signature == b"by the wallet"

    sessions = made(database, clock, accepts)
    text = message(sessions.nonce().nonce).text()
    given = SignedMessage(message=text, signature=HexBytes(b"by the wallet"))
    assert sessions.account(sessions.sign_in(given, PEER).token) == account(OWNER)
    assert asked == [(account(OWNER), personal_digest(text.encode()))]
    refused = SignedMessage(message=message(sessions.nonce().nonce).text(), signature=HexBytes(b"by no wallet"))
    with pytest.raises(SignInRefused):
        sessions.sign_in(refused, PEER)


VALID = message("a" * 32).text()
SPELLINGS = {
    "empty": "",
    "a line more": VALID + "\nRequest ID: 1",
    "no end of line": VALID.replace("\n", " "),
    "windows": VALID.replace("\n", "\r\n"),
    "another statement": VALID.replace(STATEMENT, "Send everything."),
    "no checksum": VALID.replace(account(OWNER).checksum, account(OWNER).checksum.lower()),
    "version 2": VALID.replace("Version: 1", "Version: 2"),
    "a chain id with a zero": VALID.replace("Chain ID: 31337", "Chain ID: 031337"),
    "arabic digits": VALID.replace("Chain ID: 31337", "Chain ID: ٣"),
    "a short nonce": VALID.replace("a" * 32, "aaaaaaa"),
    "a nonce with a sign": VALID.replace("a" * 32, "a" * 31 + "-"),
    "another zone": VALID.replace("Z\nExp", "+01:00\nExp"),
    "no day": VALID.replace("-15T", "-45T"),
    "no expiry": VALID.replace("Expiration Time", "Not Before"),
    "lines changed": VALID.replace("Version: 1\nChain ID: 31337", "Chain ID: 31337\nVersion: 1"),
    "long": VALID + " " * LONGEST_MESSAGE,
    "nul": VALID + "\x00",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_another_spelling_of_a_message_is_refused(text: str) -> None:
    with pytest.raises(MalformedDocument):
        read_message(text)


@given(
    st.text(max_size=400)
    | st.builds(lambda at, new: VALID[:at] + new + VALID[at + 1 :], st.integers(0, 400), st.text(max_size=2))
)
@settings(max_examples=200)
def test_what_is_read_is_spelt_so_and_nothing_else_is(text: str) -> None:
    try:
        found = read_message(text)
    except MalformedDocument:
        return
    assert found.text() == text


def private_paths(key: coincurve.PrivateKey) -> list[str]:
    owned = [f"/v1/{what}?owner={account(key)}" for what in ("proposals", "answers")]
    return [*owned, f"/v1/warnings?account={account(key)}"]


def api_of(client: Client, key: coincurve.PrivateKey | None) -> MarketApi:
    def ask(request: httpx.Request) -> httpx.Response:
        answer = client.send(request.method, request.url.raw_path.decode(), request.read(), request.headers)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    api = MarketApi(BOOK.backend, transport=httpx.MockTransport(ask))
    if key is not None:
        digest_signed = lambda text: sign(personal_digest(text.encode()), key)  # noqa: E731
        api.sign_in_as(Identity(account(key), BOOK.chain_id, digest_signed))
    return api


def test_what_is_private_is_served_to_its_account_alone(client: Client, backend: Backend, chain: MemoryChain) -> None:
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    chain.finalise()
    backend.index.advance()
    posted = signed_proposal(expiry=int(time.time()) + 86_400)
    backend.proposals._has_coin = lambda _account: True
    backend.add_proposal(posted, int(time.time()), PEER)
    backend.proposals.add_answer(answered(posted))

    for path in private_paths(OWNER):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        for header in ("Bearer", "Bearer x", "Basic x", "Bearer " + "é".encode().hex(), "bearer  "):
            assert client.get(path, headers={"Authorization": header}).status_code == 401, header
    strangers = api_of(client, STRANGER)
    for ask in (strangers.proposals.about, strangers.proposals.answers_about, strangers.warnings):
        with pytest.raises(ServiceRefused, match="private to"):
            ask(account(OWNER))
    with pytest.raises(ServiceRefused, match="no session"):
        api_of(client, None).proposals.about(account(OWNER))
    owners = api_of(client, OWNER)
    assert owners.proposals.about(account(OWNER)).items == (posted.proposal,)
    assert owners.proposals.answers_about(account(OWNER)) == (answered(posted),)
    assert api_of(client, CONSUMER).proposals.about(account(CONSUMER)) == ProposalPage(items=())


def test_a_client_that_signed_out_signs_in_anew(client: Client, backend: Backend) -> None:
    api = api_of(client, OWNER)
    assert api.proposals.answers_about(account(OWNER)) == ()
    api.sign_out()
    assert backend.database.rows("SELECT * FROM sessions") == []
    assert api.proposals.answers_about(account(OWNER)) == ()
    assert len(backend.database.rows("SELECT * FROM sessions")) == 1


def test_a_client_signs_for_the_server_that_it_asks_whatever_that_one_answers() -> None:
    """A server that passes another one's nonce on gets a message that the other one refuses."""
    texts, nonces = list[str](), list[str]()

    def sign_text(text: str) -> bytes:
        texts.append(text)
        return bytes(65)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/nonces"):
            return httpx.Response(201, json={"nonce": nonces.pop(), "expires": 2**40})
        return httpx.Response(401, content=canonical_json(Problem(title="no", detail="no")))

    for nonce, refusal in ("12345678", "no"), ("12345678\nResources:", "its nonce is none"):
        nonces.append(nonce)
        api = MarketApi("https://evil.example:8443", transport=httpx.MockTransport(answer))
        api.sign_in_as(Identity(account(OWNER), 31337, sign_text))
        with pytest.raises(ServiceRefused, match=refusal):
            api.proposals.answers_about(account(OWNER))
    [text] = texts
    assert (read_message(text).domain, read_message(text).uri) == (
        "evil.example:8443",
        "https://evil.example:8443/v1/sign-in",
    )


def test_a_session_is_never_answered_from_a_cache(client: Client) -> None:
    assert client.post("/v1/sign-in/nonces", b"").headers["cache-control"] == "no-store"


def test_a_nonce_of_a_process_whose_clock_is_ahead_counts_once_until_it_ends_here(
    sessions: Sessions, database: Database, clock: Clock
) -> None:
    ahead = Clock()
    ahead.now += 100
    text = message(made(database, ahead).nonce().nonce, issued_at=ahead.now).text()
    assert sessions.sign_in(signed(text), PEER)
    clock.now += NONCE_SECONDS + 1  # what was written down by this clock alone would be over
    sessions.sign_in(signed(message(sessions.nonce().nonce, issued_at=clock.now).text()), PEER)
    with pytest.raises(SignInRefused, match="a nonce that this server gave"):
        sessions.sign_in(signed(text), PEER)


def test_a_sign_in_costs_the_one_writer_the_same_however_many_nonces_were_used(clock: Clock) -> None:
    def steps(used: int) -> int:
        taken: list[int] = []
        with Database(None) as database:
            one = nonces.Nonces(database, clock)
            with database.write() as connection:
                rows = [(number.to_bytes(8, "big"), f"10.0.0.{number}", int(clock.now) + 99) for number in range(used)]
                connection.executemany("INSERT INTO nonces (digest, peer, expires) VALUES (?, ?, ?)", rows)
                connection.raw.set_progress_handler(lambda: taken.append(1), 10)
            taken.clear()
            assert one.take(one.give().nonce, PEER)
        return len(taken)

    assert steps(5000) < 2 * steps(50) + 20
