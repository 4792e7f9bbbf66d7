"""What several command groups ask for alike: the market, an account, amounts; and how they answer."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from sealmarket.chain import Chain, Mined, Sending, per_user_folder
from sealmarket.chain.fees import parse_limits
from sealmarket.cli._plain import plain
from sealmarket.client.books import load_book
from sealmarket.client.verified import VerifiedMarket
from sealmarket.market_api.client import MarketApi
from sealmarket.private_files import PassphraseRefused, read_passphrase_file
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, Wei, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from sealmarket.chain import Mined

BookFile = Annotated[
    Path,
    typer.Option(
        "--book", envvar="SEALMARKET_BOOK", help="The market's address book (from its deployer).", exists=True
    ),
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

COIN = 10**18


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


def load_key(path: Path, passphrase_file: Path | None = None) -> LocalAccount:
    """Read an account; asks for the passphrase of an encrypted one."""
    from sealmarket.client.accounts import load_account

    encrypted = path.is_file() and path.read_bytes()[:1] == b"{"
    return load_account(path, read_passphrase(passphrase_file, f"Passphrase of {path}") if encrypted else None)


def read_passphrase(file: Path | None, question: str, *, confirm: bool = False) -> str:
    """A passphrase from a file's first line, or asked for; never echoed."""
    if file is not None:
        try:
            return read_passphrase_file(file)
        except PassphraseRefused as error:
            raise Usage(error.message, remedy=error.remedy) from error
    if given := os.environ.get("SEALMARKET_PASSPHRASE"):
        return given
    answer: str = typer.prompt(question, hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


def amount(text: str) -> Wei:
    """``1500`` is in the smallest unit, ``1.5coin`` in whole coins of 18 digits. Exact, never a float."""
    found = re.fullmatch(r"(\d+)|(\d+(?:\.\d{1,18})?) ?(?:coin|ether|eth)", text)
    if not found:
        raise Usage(f"{text!r} is no amount", remedy="write 1500 for the smallest unit, or 1.5coin")
    return Wei(int(found[1]) if found[1] else int(Decimal(found[2]) * COIN))


def sending(max_fee: str | None, priority_fee: str | None) -> Sending:
    """How a command sends: remembered for this user, within the limits that were given."""
    return Sending(per_user_folder(), parse_limits(max_fee, priority_fee))


def coins(value: int) -> str:
    """An amount in whole coins, exactly."""
    return f"{Wei(value).coins} coin"


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
    """An account's address."""
    try:
        return Address.parse(text.lower())
    except MalformedDocument as error:
        raise Usage(f"{text!r} is no account", remedy="copy the whole address, 0x and 40 digits") from error


def answer(value: Any, lines: list[str], as_json: bool) -> None:
    """Print the result: JSON for programs, lines for people."""
    if as_json:
        typer.echo(json.dumps(to_builtins(value), indent=2, default=str))
    else:
        for line in lines:
            typer.echo(plain(line))


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
