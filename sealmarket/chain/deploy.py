"""Putting a market on a chain: registry, committee and market, each of which names the others, and sessions.

The market runs part of its code at two more contracts, which are made before it.

1. The addresses follow from the deployer and its next nonce, so they are known before anything is sent: a fresh
   account deploys to the same addresses on every chain.
2. Where it began is written down before the first transaction; after an interruption the same call goes on from
   there, and sends nothing twice.
3. At the end the contracts are read back: they must name each other, the committee and the settings asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from sealmarket.chain import abi
from sealmarket.chain.chain import Chain
from sealmarket.chain.committees import hpke_key_hash, members_hash
from sealmarket.chain.errors import DeploymentFailed, WrongChain
from sealmarket.chain.model import Block
from sealmarket.chain.outcomes import Mined
from sealmarket.chain.rpc import Rpc, quantity
from sealmarket.chain.sender import IN_MEMORY, Sender, Sending
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Timing, Windows
from sealmarket.protocol.timing import HOLD_RATE, minimum_windows, too_short
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Shape, Uint64, Wei, decode
from sealmarket_enclave.protocol.hashing import keccak

if TYPE_CHECKING:
    from sealmarket.eth import LocalAccount

PARTS = ("AssetRegistry", "OracleCommittee", "MarketExtension", "MarketEndings", "Market", "Sessions")
FIRST_EPOCH = 1
FINALITY_SECONDS, TRANSFER_ALLOWANCE = 150, 300
FINAL_SECONDS = 120.0
_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a deployment fixes for good. Windows and delays are in seconds, fees in the token's smallest unit.

    ``timing`` is what :class:`Timing` says; its windows bound those of every request from below. ``committee`` is
    epoch 1. Absent ``guardian`` and ``committee_owner`` are the deployer. ``tokens`` maps each admitted token (the zero
    address is the native coin) to the fee of one oracle signature.
    """

    finality: FinalityRule
    committee: Committee
    store: str
    backend: str
    timing: Timing = field(default_factory=lambda: timing(FINALITY_SECONDS))
    unbonding_delay: int = 7 * 86_400
    committee_delay: int = 7 * 86_400
    request_fee_factor: int = 3
    tokens: dict[Address, Wei] = field(default_factory=lambda: {ZERO_ADDRESS: Wei(10**13)})
    guardian: Address | None = None
    committee_owner: Address | None = None


def timing(
    finality_seconds: int,
    *,
    transfer_allowance: int = TRANSFER_ALLOWANCE,
    windows: Windows | None = None,
    hold_rate: Uint64 = HOLD_RATE,
) -> Timing:
    """The timing of a deployment on a chain of this finality; absent windows follow from it.

    Raises:
        DeploymentFailed: windows that the contracts refuse.
    """
    chosen = windows or minimum_windows(finality_seconds, transfer_allowance)
    if wrong := too_short(chosen, finality_seconds, transfer_allowance):
        raise DeploymentFailed("the minimum windows", wrong, "name longer windows, or none: they follow from finality")
    return Timing(
        finality_seconds=finality_seconds, transfer_allowance=transfer_allowance, windows=chosen, hold_rate=hold_rate
    )


class Progress(Shape, frozen=True, kw_only=True):
    """Where a deployment began: enough to go on with it.

    ``finality_seconds`` is what it counts on: a later measurement must not make its parts differ.
    """

    chain_id: int
    deployer: Address
    first_nonce: int
    finality_seconds: int


@dataclass(frozen=True, slots=True)
class Deployed:
    """One part that is on the chain; ``mined`` is None when an earlier call had put it there."""

    name: str
    address: Address
    mined: Mined | None


def deploy(
    rpc_url: str,
    account: LocalAccount,
    settings: Settings,
    *,
    development: bool = False,
    progress: Path | None = None,
    report: Callable[[Deployed], None] = lambda _part: None,
    final_within: float | None = FINAL_SECONDS,
    sending: Sending = IN_MEMORY,
) -> AddressBook:
    """Deploy a market, or go on with a deployment that was interrupted.

    Args:
        development: the caller has started this chain, so its well-known keys may be used.
        progress: a file that remembers where it began; without one an interrupted deployment starts anew.
        report: called for each part once it is on the chain.
        final_within: seconds to wait until the deployment is final, so that readers of final blocks find it;
            None does not wait.
        sending: where transactions are remembered, and the most that is paid for gas.

    Raises:
        DeploymentFailed: the account sent something else meanwhile, or the contracts are not what was asked for.
        DevelopmentKeyRefused, Reverted, ChainUnavailable: as :class:`Sender`.
    """
    _check(settings)
    begun = _begin(rpc_url, account, progress, settings.timing.finality_seconds)
    addresses = [contract_address(begun.deployer, begun.first_nonce + place) for place in range(len(PARTS))]
    chain = Chain(_book(begun, addresses, settings), rpc_url)
    try:
        sender = Sender(chain, account, development=development, sending=sending)
        start = chain.head()
        for place, name in enumerate(PARTS):
            code = _creation(name, addresses, begun.deployer, settings)
            mined = _put(chain, sender, begun.first_nonce + place, addresses[place], name, code)
            report(Deployed(name, addresses[place], mined))
        if final_within is not None:
            _wait_until(lambda: bool(chain.code(addresses[-1], chain.final())), final_within, "it is not final yet")
        _check_result(chain, settings)
        first = chain.block(_first_block(chain, addresses[0], start))
        return replace(chain.book, deployed_at=first.number, deployed_hash=first.hash)
    finally:
        chain.close()


def contract_address(creator: Address, nonce: int) -> Address:
    """The address of what an account creates with a nonce: the last 20 bytes of Keccak-256 of their RLP."""
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8)
    encoded = number if len(number) == 1 and number[0] < 0x80 else bytes([0x80 + len(number)]) + number
    body = bytes([0x80 + len(creator)]) + creator + encoded
    return Address(keccak(bytes([0xC0 + len(body)]) + body)[12:])


def _check(settings: Settings) -> None:
    if settings.committee.epoch != FIRST_EPOCH:
        raise DeploymentFailed("the settings", f"the committee is of epoch {settings.committee.epoch}", "use epoch 1")
    if not settings.tokens:
        raise DeploymentFailed("the settings", "no token is admitted", "name at least one, with its fee")


def _begin(rpc_url: str, account: LocalAccount, path: Path | None, finality_seconds: int) -> Progress:
    deployer = Address.parse(account.address.lower())
    rpc = Rpc(rpc_url)
    try:
        chain_id = quantity(rpc.call("eth_chainId"), "chain id")
        nonce = quantity(rpc.call("eth_getTransactionCount", deployer.checksum, "pending"), "nonce")
    finally:
        rpc.close()
    fresh = Progress(chain_id=chain_id, deployer=deployer, first_nonce=nonce, finality_seconds=finality_seconds)
    if path is None:
        return fresh
    if path.exists():
        begun = decode(Progress, path.read_bytes())
        if begun.chain_id != chain_id:
            raise WrongChain(begun.chain_id, chain_id)
        if begun.deployer != deployer or nonce < begun.first_nonce:
            raise DeploymentFailed(
                "its beginning",
                f"{path} was begun by {begun.deployer.checksum} at nonce {begun.first_nonce}",
                "go on with that account on that chain, or remove the file to start anew",
            )
        return begun
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(fresh.canonical())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return fresh


def _put(chain: Chain, sender: Sender, nonce: int, address: Address, name: str, code: bytes) -> Mined | None:
    pending = quantity(chain.rpc.call("eth_getTransactionCount", sender.address.checksum, "pending"), "nonce")
    if pending > nonce:
        _wait_until(lambda: chain.has_code(address), _WAIT_SECONDS, f"{name} was sent, and is not on the chain")
        return None
    if pending < nonce:
        raise DeploymentFailed(name, f"the account's nonce is {pending}, expected {nonce}", "start anew")
    mined = sender.create(code)
    if mined.created != address:
        raise DeploymentFailed(
            name,
            f"it was created at {mined.created}, expected {address}",
            "the account sent something else meanwhile: start anew, with an account that has no other user",
        )
    return mined


def _wait_until(happened: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise DeploymentFailed(
                "waiting", f"after {seconds:g} seconds {otherwise}", "look at the chain, then do the same again"
            )
        time.sleep(_POLL_SECONDS)


def _creation(name: str, addresses: list[Address], deployer: Address, settings: Settings) -> bytes:
    registry, committee, extension, endings, market, _ = addresses
    contract = abi.load(name)
    if name == "Sessions":
        return contract.creation(market)
    if name == "AssetRegistry":
        return contract.creation(market)
    if name == "OracleCommittee":
        members = settings.committee.members
        return contract.creation(
            settings.committee_owner or deployer,
            market,
            settings.committee_delay,
            [member.signer for member in members],
            [hpke_key_hash(member.hpke_public_key) for member in members],
            settings.committee.threshold,
        )
    parameters = {
        "registry": registry,
        "committee": committee,
        "unbonding_delay": settings.unbonding_delay,
        "request_fee_factor": settings.request_fee_factor,
        "finality": settings.timing.finality_seconds,
        "transfer_allowance": settings.timing.transfer_allowance,
        "hold_rate": settings.timing.hold_rate,
        "guardian": settings.guardian or deployer,
    }
    if name == "MarketExtension":
        return contract.creation(market, parameters)
    if name == "MarketEndings":
        return contract.creation(market, parameters, extension)
    return contract.creation(
        parameters,
        endings,
        settings.timing.windows,
        [{"token": token, "fee": fee} for token, fee in settings.tokens.items()],
    )


def _check_result(chain: Chain, settings: Settings) -> None:
    view = chain.at(chain.head())
    found: list[tuple[str, object, object]] = [
        ("committee", members_hash(settings.committee), view.committee_hash(FIRST_EPOCH)),
        ("endings", chain.book.endings, view.endings()),
        ("extension", chain.book.extension, view.extension()),
        ("timing", settings.timing, view.timing()),
        ("request fee factor", settings.request_fee_factor, view.request_fee_factor()),
        *((f"fee of {token}", fee, view.signature_fee(token)) for token, fee in settings.tokens.items()),
    ]
    for what, expected, actual in found:
        if actual != expected:
            raise DeploymentFailed(
                "the final check", f"{what} is {actual}, expected {expected}", "the chain runs other contracts there"
            )


def _first_block(chain: Chain, registry: Address, start: Block) -> int:
    """A block at which nothing was deployed yet, or the one that deployed the first part."""
    if not chain.code(registry, start):
        return start.number
    low, high = 0, int(chain.head().number)
    while low < high:
        middle = (low + high) // 2
        if chain.code(registry, chain.block(middle)):
            high = middle
        else:
            low = middle + 1
    return low


def _book(begun: Progress, addresses: list[Address], settings: Settings) -> AddressBook:
    """What is known before anything is sent."""
    registry, committee, extension, endings, market, sessions = addresses
    return AddressBook(
        chain_id=begun.chain_id,
        registry=registry,
        committee=committee,
        market=market,
        endings=endings,
        extension=extension,
        sessions=sessions,
        deployed_at=0,
        finality=settings.finality,
        timing=settings.timing,
        store=settings.store,
        backend=settings.backend,
        committees=(settings.committee,),
    )


def write_book(path: Path, book: AddressBook) -> None:
    """Write an address book for people and tools: indented, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(book.canonical(), indent=2) + b"\n")
    partial.replace(path)


def read_book(path: Path) -> AddressBook:
    """Read an address book. Raises :class:`MalformedDocument`."""
    return decode(AddressBook, path.read_bytes())
