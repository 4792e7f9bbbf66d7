"""Make an account, show its address, keep a backup, and send coin from it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealmarket.cli._options import (
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PassphraseFile,
    PriorityFee,
    RpcUrl,
    Usage,
    account_option,
    amount,
    answer,
    choice,
    coins,
    load_key,
    market,
    read_passphrase,
    sending,
)

if TYPE_CHECKING:
    from sealmarket.client.signing import Signer

_MOST_NAMED = 10
app = typer.Typer(no_args_is_help=True, help="Make an account, show its address, keep a backup, and send coin from it.")

_File = Annotated[Path, typer.Argument(help="The account's file: a keystore, or a hex key in a file of mode 0600.")]
_NewFile = Annotated[Path, typer.Argument(help="The new file. It is never overwritten.")]
_Plain = Annotated[bool, typer.Option("--plain", help="Keep the key in clear: the file alone is then the account.")]


@app.command()
def new(file: _NewFile, passphrase_file: PassphraseFile = None, plain: _Plain = False, as_json: AsJson = False) -> None:
    """Make an account and keep it under a passphrase (Web3 Secret Storage, as other wallets read it).

    Example: sealmarket account new consumer.json
    """
    from sealmarket.client.accounts import create_account

    _require_absent(file)
    account = create_account(file, _new_passphrase(file, passphrase_file, plain=plain))
    _tell(
        file,
        account,
        as_json,
        next_step=f"sealmarket account backup {shlex.quote(str(file))} COPY, before it is paid to",
    )


@app.command("import")
def import_command(
    source: _File,
    file: _NewFile,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Keep an account that you have, a hex key or a keystore, in a new keystore.

    Example: sealmarket account import exported.key consumer.json
    """
    from sealmarket.client.accounts import keep_account
    from sealmarket.eth import LocalAccount

    _require_absent(file)
    account = load_key(source, passphrase_file)
    if not isinstance(account, LocalAccount):
        raise Usage(f"{source} names a program that holds the key", remedy="export the key there, or use it as it is")
    keep_account(file, account, _new_passphrase(file, passphrase_file, plain=False))
    _tell(file, account, as_json, next_step=f"remove {source} once {file} has a backup")


@app.command()
def remote(
    file: _NewFile,
    url: Annotated[str, typer.Option(help="Where the program is asked by JSON-RPC; https, or http on this machine.")],
    address: Annotated[str | None, typer.Option(help="Which of its accounts; needed where it has several.")] = None,
    dialect: Annotated[str, typer.Option(help="ethereum (eth_signTypedData_v4), or clef.")] = "ethereum",
    as_json: AsJson = False,
) -> None:
    """Use an account whose key another program holds: a hardware wallet's bridge, Clef, Web3Signer.

    It is asked to sign, never to send, and everything that it signs is compared with what was asked for.

    Example: sealmarket account remote hardware.json --url http://127.0.0.1:8550 --dialect clef
    """
    from sealmarket.client.accounts import keep_signer
    from sealmarket.client.remote import RemoteSigner
    from sealmarket_enclave.protocol.codec import ZERO_ADDRESS

    _require_absent(file)
    spoken: Any = choice(dialect, "ethereum", "clef")
    known = RemoteSigner(url, ZERO_ADDRESS, spoken).accounts()
    wanted = account_option(address) if address else known[0] if len(known) == 1 else None
    if wanted is None or wanted not in known:
        named = ", ".join(one.checksum for one in known[:_MOST_NAMED]) or "none"
        raise Usage(f"the signer has these accounts: {named}", remedy="name one of them with --address")
    signer = RemoteSigner(url, wanted, spoken)
    keep_signer(file, signer)
    _tell(file, signer, as_json, next_step=f"sealmarket account show {shlex.quote(str(file))}")


@app.command()
def show(
    file: _File,
    book: Annotated[Path | None, typer.Option("--book", envvar="SEALMARKET_BOOK", help="With --rpc: balances.")] = None,
    rpc: Annotated[str | None, typer.Option("--rpc", envvar="SEALMARKET_RPC", help="A node of the chain.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show an account's address, which others may know, and with a chain what it owns. Needs no passphrase.

    Example: sealmarket account show consumer.json --book market.json --rpc URL
    """
    from sealmarket.client.accounts import address_in
    from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address

    address = address_in(file) or Address.parse(load_key(file).address.lower())
    payload, lines = {"address": address.checksum, "file": str(file)}, [address.checksum]
    if book is not None and rpc is not None:
        with market(book, rpc) as (chain, *_):
            head = chain.head()
            own, held = chain.balance(address, head), chain.at(head).account(ZERO_ADDRESS, address)
        payload |= {"coin": str(own), "free": str(int(held.free)), "staked": str(int(held.staked))}
        lines += [
            f"own    {coins(own)}: pays for gas and deposits",
            f"market {coins(held.free)} free, {coins(held.staked)} staked (block {head.number})",
        ]
    answer(payload, lines, as_json)


@app.command("list")
def list_command(
    folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path(), as_json: AsJson = False
) -> None:
    """List the keystores in a folder, by their addresses.

    Example: sealmarket account list ~/keys
    """
    from sealmarket.client.accounts import AccountFileRefused, address_in

    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        try:
            if path.is_file() and (address := address_in(path)) is not None:
                found[str(path)] = address.checksum
        except AccountFileRefused:
            continue
    answer(found, [f"{address}  {path}" for path, address in found.items()] or [f"no keystore in {folder}"], as_json)


@app.command()
def backup(
    file: _File,
    copy: Annotated[Path, typer.Argument(help="The copy, on another disk. It is never overwritten.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy an account's file, and try the copy: it must open with the passphrase and hold the same account.

    Example: sealmarket account backup consumer.json /media/stick/consumer.json
    """
    from sealmarket.private_files import read_private, write_private

    _require_absent(copy)
    account = load_key(file, passphrase_file)
    write_private(copy, read_private(file))
    if load_key(copy, passphrase_file).address != account.address:
        raise Usage(f"{copy} does not hold the account", remedy="try another disk")
    _tell(copy, account, as_json, next_step="keep the passphrase somewhere else; without it the copy opens nothing")


@app.command()
def send(
    to: Annotated[str, typer.Argument(help="Whom to pay.")],
    value: Annotated[str, typer.Argument(metavar="AMOUNT", help="1500 in wei, or 1.5coin.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    development_chain: OwnChain = False,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    as_json: AsJson = False,
) -> None:
    """Send coin from your account to another.

    Example: sealmarket account send 0xACCOUNT 0.5coin --book market.json --rpc URL --key-file consumer.json
    """
    from sealmarket.chain import Sender
    from sealmarket_enclave.protocol.codec import Address

    receiver, paid = account_option(to), amount(value)
    account = load_key(key_file, passphrase_file)
    with market(book, rpc) as (chain, *_):
        sender = Sender(chain, account, development=development_chain, sending=sending(max_fee, priority_fee))
        own = chain.balance(Address.parse(account.address.lower()), chain.head())
        if own < paid:
            raise Usage(f"the account owns {coins(own)}, and {coins(paid)} are to be sent", remedy="send less")
        mined = sender.transfer(receiver, int(paid))
    payload = {"to": receiver.checksum, "amount": str(int(paid)), "transaction": str(mined.transaction)}
    answer(payload, [f"{coins(paid)} sent to {receiver.checksum}: {mined.transaction}"], as_json)


def _require_absent(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise Usage(f"{file} exists", remedy="choose another path: keys are never overwritten")


def _new_passphrase(file: Path, passphrase_file: Path | None, *, plain: bool) -> str | None:
    return None if plain else read_passphrase(passphrase_file, f"Passphrase for {file}", confirm=True)


def _tell(file: Path, account: Signer, as_json: bool, *, next_step: str) -> None:
    payload = {"address": account.address, "file": str(file)}
    answer(payload, [account.address, f"kept in {file}", f"next: {next_step}"], as_json)
