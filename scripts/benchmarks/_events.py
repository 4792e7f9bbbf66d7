"""Logs of a market in use, encoded as the contracts emit them, and a chain that has them, range by range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from sealmarket.chain import abi, decoding
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.model import Block, EventRef, Fault
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, BlockNumber, JobId
from sealmarket_enclave.protocol.session import Royalty, SessionTerms
from tests import samples
from tests.backend.orders import BOOK, indexed

ASSETS, PARTIES = 20, 100
CHALLENGED_EACH, DEPOSIT_EACH, CANCELLED_EACH, STATEMENT_EACH = 10, 4, 20, 10
ETHER = 10**18


@dataclass(frozen=True, slots=True)
class Log:
    """One log, without its place: whose it is, its topics and data."""

    contract: str
    topics: tuple[Bytes32, ...]
    data: bytes


def logs_of(jobs: int) -> Iterator[Log]:
    """Published assets, a service, and so many jobs with what their parties do beside them."""
    for number in range(ASSETS):
        seal, terms = indexed().seal, indexed().terms
        owner = _party(number)
        yield _log("AssetRegistry", "VersionPublished", _asset(number), owner, 1, seal, terms, "s3://hospital/cohort")
        yield _log("AssetRegistry", "TermsTightened", _asset(number), 1, 2, terms)
    service = JobId(keccak(b"service"))
    yield _log("Sessions", "ServiceOpened", service, _party(0), ZERO_ADDRESS, _party(1), 1, _terms())
    for number in range(jobs):
        yield from _job(number)
        if number % STATEMENT_EACH == 0:
            yield _log("Sessions", "TabFunded", service, _party(number), _party(number), ETHER, ETHER * number)
            payments = [_word(b"payment", number + place) for place in range(8)]
            yield _log("Sessions", "StatementRedeemed", service, number * 1_000, False, ETHER, payments)


def _job(number: int) -> Iterator[Log]:
    uses = tuple(
        samples.asset_use(asset_id=_asset(number + place), owner=_party(number + place), price=Wei(ETHER + number))
        for place in range(2)
    )
    spec = replace(
        samples.job(*uses), request_hash=_word(b"request", number), provider=_party(number), consumer=_party(number + 7)
    )
    job_id, evidence = spec.job_id(BOOK.chain_id, BOOK.market), _word(b"evidence", number)
    if number % DEPOSIT_EACH == 0:
        yield _log("Market", "Deposited", ZERO_ADDRESS, spec.consumer, spec.consumer, ETHER)
        yield _log("Market", "Staked", ZERO_ADDRESS, spec.provider, ETHER)
    if number % CANCELLED_EACH == 0:
        yield _log("Market", "RequestCancelled", _word(b"cancelled", number), spec.consumer)
    for signer in (spec.provider, uses[0].owner):
        yield _log("Market", "OrderUsed", signer, _word(b"order", number))
    yield _log("Market", "JobMatched", job_id, spec.consumer, spec.provider, spec, ETHER, _word(b"order", number))
    yield _log("Market", "JobQuoted", job_id, evidence, 1_700_000_000)
    yield _log("Market", "JobDecided", job_id, _core(evidence), 0b11, 1_700_000_000, ETHER)
    yield _log("Market", "JobSettled", job_id, _word(b"result", number), evidence, 3, ETHER, ETHER)
    if number % CHALLENGED_EACH == 0:
        yield _log("Market", "JobChallenged", job_id, spec.consumer, ETHER, 1_700_000_000)
        yield _log("Market", "ChallengeAnswered", job_id, True, 0b11, ETHER, 0)
    yield _log("Market", "JobEnded", job_id, Status.MATURED, Fault.NONE, ZERO_HASH, _payout())


def _core(evidence: Bytes32) -> dict[str, object]:
    return {
        "evidence_hash": evidence, "enclave_signer": _party(1), "enclave_key_hash": evidence, "terms_digest": evidence,
        "outcome": Outcome.ACCEPTED, "grade": 1, "reasons": 0, "expiry": 1_700_000_000,
    }  # fmt: skip


def _payout() -> dict[str, int]:
    names = ("refunded", "paid", "stake_returned", "burned", "owners_total", "owners_paid")
    return dict.fromkeys(names, ETHER) | {"owners_paid": 0b11}


def _terms() -> SessionTerms:
    return SessionTerms(
        sessions=_party(3), lease=Uint64(10_000), lease_seconds=600, redemption_window=3_600, end=1_800_000_000,
        bucket=Uint64(10), unit_price=Wei(10**12), least_tab=Wei(10**15), renewal_fee=Wei(10**14),
        royalties=(Royalty(asset_id=_asset(0), per_unit=Wei(10**11)),),
    )  # fmt: skip


def _party(number: int) -> Address:
    return Address(_word(b"party", number % PARTIES)[:20])


def _asset(number: int) -> AssetId:
    return AssetId(_word(b"asset", number % ASSETS))


def _word(of: bytes, number: int) -> Bytes32:
    return keccak(of + number.to_bytes(8))


def _log(contract: str, name: str, *values: object) -> Log:
    entry = next(entry for entry in abi.load(contract).events.values() if entry.name == name)
    pairs = list(zip(entry.inputs, values, strict=True))
    topics = [Bytes32(abi.encode([part], [value], name)) for part, value in pairs if part.indexed]
    rest = [(part, value) for part, value in pairs if not part.indexed]
    data = abi.encode([part for part, _ in rest], [value for _, value in rest], name)
    return Log(contract, (entry.topic, *topics), data)


class Market:
    """A chain whose newest block is final, with some logs more at each step."""

    def __init__(self, logs: Sequence[Log], steps: int) -> None:
        self.book: AddressBook = BOOK
        each = -(-len(logs) // steps)
        parts = [logs[at : at + each] for at in range(0, len(logs), each)]
        self._blocks = [_block(number) for number in range(len(parts) + 1)]
        self._parts = [
            [(log, EventRef(block.number, index, block.hash, _word(b"sent", index))) for index, log in enumerate(part)]
            for block, part in zip(self._blocks[1:], parts, strict=True)
        ]
        self._made = 0

    def parts(self) -> Iterator[Sequence[Log]]:
        """The logs of one block after the other; each is there once it is given."""
        for part in self._parts:
            self._made += 1
            yield [log for log, _ in part]

    def final(self) -> Block:
        """The newest block."""
        return self._blocks[self._made]

    def block(self, number: int) -> Block:
        """The block at a number."""
        return self._blocks[number]

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """What the logs of these blocks say."""
        placed = [one for part in self._parts[first - 1 : last] for one in part]
        found = (decoding.event(self.book, log.contract, log.topics, log.data, at) for log, at in placed)
        return [event for event in found if event is not None]


def _block(number: int) -> Block:
    return Block(
        BlockNumber(number),
        _word(b"block", number),
        1_700_000_000 + number,
        _word(b"block", number - 1 if number else 0),
    )
