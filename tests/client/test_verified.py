"""Nothing of value goes to what is not the market of its address book: refused before anything is sent or signed."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import sealmarket.client
from sealmarket.chain.bytecode import CONTRACTS
from sealmarket.chain.committees import members_hash
from sealmarket.chain.comparison import codes_of, genuine, places_of
from sealmarket.chain.contracts import RegistryContract
from sealmarket.chain.errors import ChainUnavailable
from sealmarket.chain.memory import MemoryChain
from sealmarket.client import Offer, Owner, Provider, party
from sealmarket.client.errors import MarketNotVerified
from sealmarket.client.sealed_asset import SealedAsset
from sealmarket.client.verified import VerifiedMarket, code_hash
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address, Bytes32, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.client.test_consumer import ASSET, TERMS, Stage
from tests.client.test_owner import BOOK, COMMITTEE, DATA, draft

LOOK_ALIKE = bytes.fromhex("6001600055600160005260206000f3")
"""Takes whatever comes, and says that it went well."""


class Wallet:
    """Stands where the sender would be: it notes what would have been sent."""

    sent: list[str]

    def __init__(self, _chain: object, account: Any, **_options: object) -> None:
        self.address = Address.parse(account.address.lower())

    def send(self, call: Any, *, final: bool = False) -> Any:
        type(self).sent.append(call.describe())
        return "mined"

    def send_in_order(self, *calls: Any) -> tuple[Any, ...]:
        return tuple(map(self.send, calls))


@pytest.fixture(autouse=True)
def wallet(monkeypatch: pytest.MonkeyPatch) -> type[Wallet]:
    monkeypatch.setattr(Wallet, "sent", [], raising=False)
    monkeypatch.setattr(party, "Sender", Wallet)
    return Wallet


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.chain.registry = RegistryContract(BOOK.registry)  # type: ignore[attr-defined]
    made.chain.finalise()
    return made


def put(name: str, code: bytes) -> Callable[[MemoryChain], None]:
    def change(chain: MemoryChain) -> None:
        chain.codes[places_of(chain.book)[name]] = code

    return change


def linked_elsewhere(name: str) -> Callable[[MemoryChain], None]:
    """Genuine code, whose immutables name another market's contracts."""

    def change(chain: MemoryChain) -> None:
        other = replace(BOOK, registry=Address(b"\x61" * 20), committee=Address(b"\x62" * 20))
        other = replace(other, market=Address(b"\x63" * 20)) if name in ("AssetRegistry", "OracleCommittee") else other
        chain.codes[places_of(chain.book)[name]] = genuine(other)[places_of(other)[name]]

    return change


def book(**changes: Any) -> Callable[[MemoryChain], None]:
    def change(chain: MemoryChain) -> None:
        chain.book = replace(chain.book, **changes)

    return change


STRANGERS = replace(COMMITTEE, members=(replace(COMMITTEE.members[0], signer=Address(b"\x66" * 20)),))
ATTACKS: dict[str, tuple[Callable[[MemoryChain], None], str, str]] = {
    **{f"{n} replaced": (put(n, LOOK_ALIKE), f"code of {n}", "--accept-code") for n in CONTRACTS},
    **{f"{n} absent": (put(n, b""), f"code of {n}", "wait until") for n in CONTRACTS},
    **{f"{n} of another market": (linked_elsewhere(n), f"of {n}", "another market") for n in CONTRACTS},
    "delegated account": (put("Market", b"\xef\x01\x00" + b"\x66" * 20), "code of Market", "--accept-code"),
    "no hash": (book(deployed_hash=None), "hash of block 0", "get the address book"),
    "another chain of this id": (book(deployed_hash=keccak(b"other")), "hash of block 0", "use a node"),
    "a shorter chain": (book(deployed_at=999), "no such block", "use a node"),
    "no oracle nodes": (book(committees=()), "the committee is none", "do not rely"),
    "oracle nodes exchanged": (book(committees=(STRANGERS,)), "committee of epoch 1", "do not rely"),
}
GIFTS: dict[str, Callable[[Stage, Path], Any]] = {
    "deposit": lambda stage, _: stage.consumer.deposit(Wei(5)),
    "request": lambda stage, _: stage.ask(),
    "stake": lambda stage, _: provider(stage).stake(Wei(5)),
    "offer": lambda stage, _: offer(stage),
    "publish": lambda stage, folder: owner(stage).publish(sealed(stage, folder)),
    "tighten": lambda stage, _: owner(stage).tighten(ASSET, 1, max_uses=1),
    "allow": lambda stage, _: owner(stage).replace_allow_list(ASSET, 1, [keccak(b"leaf")]),
    "offer an asset": lambda stage, _: owner(stage).offer(ASSET, 1, price=Wei(1), volume=1, expiry=2_000_000_000),
}


def owner(stage: Stage) -> Owner:
    return Owner(stage.chain, stage.account, stage.backend.store(), stage.backend.api())  # type: ignore[arg-type]


def provider(stage: Stage) -> Provider:
    return Provider(stage.chain, stage.account, stage.backend.api())  # type: ignore[arg-type]


def offer(stage: Stage) -> object:
    return provider(stage).offer(Offer(tee=Tee.TDX, grade=Grade.SIMULATED, price=Wei(1), penalty=Wei(1), volume=1))


def sealed(stage: Stage, folder: Path) -> SealedAsset:
    return owner(stage).seal(DATA, draft(), folder / "sealed", committee=COMMITTEE, confirm_unencrypted_key=True)


@pytest.mark.parametrize(("attack", "what", "remedy"), ATTACKS.values(), ids=ATTACKS)
def test_what_is_not_the_market_of_the_book_gets_no_deposit(
    attack: Callable[[MemoryChain], None], what: str, remedy: str, stage: Stage
) -> None:
    attack(stage.chain)
    with pytest.raises(MarketNotVerified, match="nothing was given") as refused:
        stage.consumer.deposit(Wei(5))
    assert what in refused.value.message
    assert remedy in refused.value.remedy
    assert Wallet.sent == []


@pytest.mark.parametrize("gift", GIFTS)
def test_a_look_alike_gets_nothing_at_all(gift: str, stage: Stage, tmp_path: Path) -> None:
    put("Market", LOOK_ALIKE)(stage.chain)
    with pytest.raises(MarketNotVerified):
        GIFTS[gift](stage, tmp_path)
    assert (Wallet.sent, stage.backend.posted, stage.backend.blobs) == ([], {}, {})


def test_a_chain_that_does_not_answer_counts_as_a_no(stage: Stage) -> None:
    stage.chain.fall_silent()
    with pytest.raises(ChainUnavailable):
        stage.consumer.deposit(Wei(5))
    assert Wallet.sent == []


def test_a_custom_build_is_accepted_by_the_hash_of_its_own_code_only(stage: Stage) -> None:
    put("Market", LOOK_ALIKE)(stage.chain)
    chain: Any = stage.chain
    VerifiedMarket(chain).accept_code(Bytes32(b"\x01" * 32))
    with pytest.raises(MarketNotVerified) as refused:
        stage.consumer.deposit(Wei(5))
    mine = code_hash(codes_of(chain, stage.chain.final()))
    assert str(mine) in refused.value.remedy
    VerifiedMarket(chain).accept_code(mine)
    assert stage.consumer.deposit(Wei(5)) is not None


def test_what_was_given_is_taken_back_from_any_market(stage: Stage) -> None:
    put("Market", LOOK_ALIKE)(stage.chain)
    stage.consumer.withdraw(Wei(1))
    provider(stage).unstake(Wei(1))
    provider(stage).finish_unstake()
    owner(stage).revoke(ASSET, 1)
    assert len(Wallet.sent) == 4


def counted(asked: list[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def asking(*arguments: Any) -> Any:
        asked.append(name)
        return call(*arguments)

    return asking


def test_a_market_is_looked_at_once_and_with_few_reads(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("code", "final", "block"):
        monkeypatch.setattr(stage.chain, name, counted(asked, name, getattr(stage.chain, name)))
    for _ in range(3):
        stage.consumer.deposit(Wei(5))
    assert sorted(asked) == ["block", *["code"] * 6, "final"]
    assert Wallet.sent == ["Market.deposit"] * 3


@pytest.mark.parametrize("gift", GIFTS)
def test_the_market_of_the_book_gets_what_it_should(gift: str, stage: Stage, tmp_path: Path) -> None:
    GIFTS[gift](stage, tmp_path)
    assert Wallet.sent or stage.backend.posted


def test_no_other_module_of_the_client_sends_or_signs() -> None:
    found = set()
    for path in Path(sealmarket.client.__file__).parent.glob("*.py"):
        imported = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom))
        if {alias.name for node in imported for alias in node.names} & {"Sender", "sign"}:
            found.add(path.name)
    assert found == {"party.py"}


def test_the_terms_of_the_twin_are_what_the_tests_suppose(stage: Stage) -> None:
    chain: AddressBook = stage.chain.book
    assert stage.chain.at(stage.chain.final()).committee_hash(1) == members_hash(chain.committees[0])
    assert stage.chain.at(stage.chain.head()).asset(ASSET, 1).terms == TERMS
