"""What several command groups ask for alike: the market, an account, amounts; and how they answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

from sealmarket.chain import Chain, Mined, Sending, per_user_folder
from sealmarket.chain.fees import parse_limits
from sealmarket.cli._plain import harmless
from sealmarket.client.asset_card import book_digest, load_asset_card
from sealmarket.client.books import load_book
from sealmarket.client.verified import VerifiedMarket
from sealmarket.client.written import account_of, amount_of
from sealmarket.client.written import coins as coins
from sealmarket.market_api.client import MarketApi
from sealmarket.private_files import PassphraseRefused, read_passphrase_file
from sealmarket.protocol.book import AddressBook
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, Wei, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.numbers import AssetId

if TYPE_CHECKING:
    from sealmarket.chain import Mined
    from sealmarket.client.signing import Signer

T = TypeVar("T")

BookFile = Annotated[
    Path,
    typer.Option(
        "--book", envvar="SEALMARKET_BOOK", help="The market's address book (from its deployer).", exists=True
    ),
]
NewBook = Annotated[
    Path,
    typer.Option(
        "--book", envvar="SEALMARKET_BOOK", help="The market's address book (from its operator).", exists=True
    ),
]
AccountFile = Annotated[
    Path | None,
    typer.Option("--key-file", envvar="SEALMARKET_KEY_FILE", help="Your account's file, if you have one.", exists=True),
]
RPC_HELP = "The chain's nodes: a URL, several with commas between them, or a TOML file with URLs and headers."
RpcUrl = Annotated[str, typer.Option("--rpc", envvar="SEALMARKET_RPC", help=RPC_HELP)]
KeyFile = Annotated[
    Path,
    typer.Option(
        "--key-file",
        envvar="SEALMARKET_KEY_FILE",
        help="Your account: a keystore, or a hex key in a file of mode 0600.",
    ),
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file with the passphrase; asked for otherwise.")
]
DealtEpoch = Annotated[
    int | None,
    typer.Option("--epoch", min=1, help="Deal the key to the committee of this epoch; of the newest without it."),
]
AcceptCode = Annotated[
    str | None,
    typer.Option("--accept-code", help="The hash of a custom build's code that you have verified yourself."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
OwnChain = Annotated[
    bool,
    typer.Option("--development-chain", help="You started this chain on this machine: well-known keys may be used."),
]
MaxFee = Annotated[
    str | None,
    typer.Option(
        "--max-fee",
        envvar="SEALMARKET_MAX_FEE",
        help="Most for one gas, tip included: 30gwei, or 1500 in wei (1000gwei). Above it nothing is sent.",
    ),
]
PriorityFee = Annotated[
    str | None,
    typer.Option(
        "--priority-fee",
        envvar="SEALMARKET_PRIORITY_FEE",
        help="The tip for one gas: 2gwei, or 1500 in wei; without it, what recent blocks paid.",
    ),
]


class Usage(SealmarketError):
    """The command was called wrongly."""

    exit_code = 2


@contextmanager
def market(book: Path, rpc: str, accept_code: str | None = None) -> Iterator[tuple[Chain, Store, MarketApi]]:
    """The chain, the store and the market's API of an address book.

    ``accept_code`` names the code of contracts that are not the library's own, which the user has verified.
    """
    accepted = None if accept_code is None else hash_option(accept_code)
    addresses = load_book(book)
    chain, store, api = Chain(addresses, rpc), Store(addresses.store), MarketApi(addresses.backend)
    if accepted is not None:
        _accept(chain, accepted)
    try:
        yield chain, store, api
    finally:
        api.close()
        store.close()
        chain.close()


def _accept(chain: Chain, code_hash: Bytes32) -> None:
    typer.echo(
        f"WARNING: code {code_hash} of the contracts at {chain.book.market.checksum} is accepted on your word.\n"
        "WARNING: its author decides what becomes of everything that you give to it.",
        err=True,
    )
    VerifiedMarket(chain).accept_code(code_hash)


def home_folder() -> Path:
    """Where commands keep what they have to remember: ``$SEALMARKET_HOME``, or the user's data folder."""
    home = os.environ.get("SEALMARKET_HOME")
    return Path(home) if home else Path.home() / ".local" / "share" / "sealmarket"


def pending_folder() -> Path:
    """Where a call notes what may be under way."""
    return home_folder() / "pending"


def load_key(path: Path, passphrase_file: Path | None = None) -> Signer:
    """An account to sign with; asks for the passphrase of an encrypted one."""
    from sealmarket.client.accounts import load_signer, remote_in

    encrypted = path.is_file() and path.read_bytes()[:1] == b"{" and remote_in(path) is None
    return load_signer(path, read_passphrase(passphrase_file, f"Passphrase of {path}") if encrypted else None)


def read_passphrase(file: Path | None, question: str, *, confirm: bool = False) -> str:
    """A passphrase from a file's first line, from the environment, or asked for; never echoed."""
    if file is None and (named := os.environ.get("SEALMARKET_PASSPHRASE_FILE")):
        file = Path(named)
    if file is not None:
        try:
            return read_passphrase_file(file)
        except PassphraseRefused as error:
            raise Usage(error.message, remedy=error.remedy) from error
    if given := os.environ.get("SEALMARKET_PASSPHRASE"):
        return given
    if not _can_ask():
        raise Usage(
            f"there is no terminal to ask for: {question[0].lower()}{question[1:]}",
            remedy="set SEALMARKET_PASSPHRASE_FILE to a file that holds it in its first line",
        )
    answer: str = typer.prompt(question, hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


def _can_ask() -> bool:
    """Whether a passphrase can be typed without being shown: the process has a terminal, whatever its input is."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin is not None and sys.stdin.isatty()
    return True


def amount(text: str) -> Wei:
    """``1500`` is in the smallest unit, ``1.5coin`` in whole coins of 18 digits. Exact, never a float."""
    return written(amount_of, text)


def written(read: Callable[[str], T], text: str) -> T:
    """What a reader of what people write makes of an option. A refusal is a wrong call."""
    try:
        return read(text)
    except MalformedDocument as error:
        raise Usage(error.message, remedy=error.remedy) from error


def sending(max_fee: str | None, priority_fee: str | None) -> Sending:
    """How a command sends: remembered for this user, within the limits that were given."""
    return Sending(per_user_folder(), parse_limits(max_fee, priority_fee))


def choice(text: str, *choices: str) -> str:
    """One of the choices."""
    if text not in choices:
        raise Usage(f"{text!r} is none of {', '.join(choices)}", remedy="name one of them")
    return text


def hash_option(text: str) -> Bytes32:
    """A 32-byte hash or id."""
    try:
        return Bytes32.parse(text.lower())
    except MalformedDocument as error:
        raise Usage(f"{text!r} is not 32 bytes of 0x hex", remedy="copy the whole id") from error


def account_option(text: str) -> Address:
    """An account's address, in EIP-55's spelling or in one case."""
    return written(account_of, text)


def asset_option(text: str) -> tuple[AssetId, int | None]:
    """An asset: ``0xID``, ``0xID:VERSION``, or the card that its owner handed out. Version None: it is not named."""
    path = Path(text)
    if not text.startswith("0x") and path.is_file():
        card = load_asset_card(path)
        return card.asset_id, card.asset_version
    asset, colon, version = text.partition(":")
    if colon and not (version.isascii() and version.isdigit() and len(version) <= 10):
        raise Usage(f"{text[:90]!a} names no version", remedy="write 0xID, or 0xID:2 for version 2")
    return AssetId(hash_option(asset)), int(version) if colon else None


def require_cards_of(book: AddressBook, assets: Iterable[str]) -> None:
    """Refuse an asset card of another market. One that was made with another address book of this market is reported.

    Raises:
        Usage: its id would name nothing here, or another owner's asset.
    """
    for text in assets:
        if text.startswith("0x") or not Path(text).is_file():
            continue
        card = load_asset_card(Path(text))
        if (card.chain_id, card.market) != (book.chain_id, book.market):
            raise Usage(
                f"{text} is the card of an asset at market {card.market.checksum} on chain {card.chain_id}, and the"
                f" address book is of {book.market.checksum} on chain {book.chain_id}",
                remedy="use the address book of the asset's market (--book)",
            )
        if card.book_digest != book_digest(book):
            typer.echo(f"WARNING: {text} was made with another address book of this market", err=True)


def answer(value: Any, lines: list[str], as_json: bool) -> None:
    """Print the result: JSON for programs, lines for people."""
    if as_json:
        typer.echo(json.dumps(to_builtins(value), indent=2, default=str))
    else:
        for line in lines:
            typer.echo(harmless(line))


class _Party(Protocol):
    """A party with an account in the market's ledger: consumer, provider."""

    @property
    def address(self) -> Address: ...

    def withdraw(self, amount: Wei) -> Mined: ...


def withdraw_free(chain: Chain, party: _Party, as_json: bool) -> None:
    """Take out what no job has locked, and print the amount."""
    free = chain.at(chain.head()).account(ZERO_ADDRESS, party.address).free
    mined = party.withdraw(free) if free else None
    payload = {"free": str(int(free)), "withdrawn": mined is not None}
    answer(payload, [f"{coins(free)} withdrawn" if mined else "nothing is free"], as_json)


def earlier(mined: Mined) -> list[str]:
    """What to say of a transaction that an earlier command had sent."""
    return ["an earlier call had sent that and not learnt its end: nothing was sent again"] if mined.resumed else []
