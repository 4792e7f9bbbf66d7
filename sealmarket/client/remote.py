"""An account whose key another program holds: a hardware wallet's bridge, Clef, Web3Signer, asked by JSON-RPC.

    {"signer": "http://127.0.0.1:8550", "dialect": "clef", "address": "0x…"}     # the account's file

1. The program is asked to sign, never to send: a transaction is written down here before any node sees it.
2. A statement goes to it as typed data, so that it can show what is signed; never as a bare digest.
3. Nothing that it answers is believed: a statement's signature is recovered, and a signed transaction is compared
   with the one that was asked for, field by field (:mod:`transactions`).
4. Answers are bounded in bytes, and in time by what a person takes to press a button. Off this machine only https.

    dialect      accounts        typed data               transactions              texts (EIP-191)
    ethereum     eth_accounts    eth_signTypedData_v4     eth_signTransaction       eth_sign
    clef         account_list    account_signTypedData    account_signTransaction   account_signData
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from sealmarket.client.errors import SignerRefused, SignerUnavailable
from sealmarket.client.transactions import MAXIMUM_BYTES, require_signed
from sealmarket.http import HttpClient, HttpError, is_loopback, redacted
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument

Dialect = Literal["ethereum", "clef"]
SIGNING_SECONDS = 300.0
"""For one answer: a person may have to find the device first."""
MAXIMUM_ANSWER = 4 * MAXIMUM_BYTES
MOST_ACCOUNTS = 1024
_METHODS: Mapping[Dialect, tuple[str, str, str, str]] = {
    "ethereum": ("eth_accounts", "eth_signTypedData_v4", "eth_signTransaction", "eth_sign"),
    "clef": ("account_list", "account_signTypedData", "account_signTransaction", "account_signData"),
}
_SIGNATURE_BYTES = 65


class SignerFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account's file that names a program instead of holding a key."""

    signer: str
    address: str
    dialect: Dialect = "ethereum"


class _Answer(msgspec.Struct, frozen=True):
    result: Any = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction, as ``eth_account`` returns it."""

    raw_transaction: bytes
    hash: Bytes32


@dataclass(frozen=True, slots=True)
class RemoteSigner:
    """One account of a program that signs. Threads may share it."""

    url: str = field(repr=False)
    account: Address
    dialect: Dialect = "ethereum"
    seconds: float = SIGNING_SECONDS
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def __post_init__(self) -> None:
        """Raises :class:`SignerRefused` for a URL over which others could read along."""
        if not self.url.startswith("https://") and not (self.url.startswith("http://") and is_loopback(self.url)):
            raise SignerRefused("the signer's URL", "https://, or http:// on this machine", redacted(self.url))

    @property
    def address(self) -> str:
        """The account, with its checksum."""
        return self.account.checksum

    def accounts(self) -> tuple[Address, ...]:
        """The accounts that the program says it has.

        Raises:
            SignerUnavailable, SignerRefused: no answer, or none that is a list of accounts.
        """
        found = self._ask(0, [])
        try:
            return tuple(Address.parse(str(one).lower()) for one in found[:MOST_ACCOUNTS])
        except (TypeError, MalformedDocument) as error:
            raise SignerRefused("the signer's list", "accounts", f"{str(found)[:80]}") from error

    def sign_statement(self, typed_data: Mapping[str, Any]) -> bytes:
        """65 bytes over typed data; the caller recovers the account. Raises as :meth:`accounts`."""
        as_asked = typed_data if self.dialect == "clef" else json.dumps(typed_data)
        return _signature(self._ask(1, [self.address, as_asked]))

    def sign_text(self, text: str) -> bytes:
        """65 bytes over a text under EIP-191; the caller recovers the account. Raises as :meth:`accounts`."""
        shown = "0x" + text.encode().hex()
        return _signature(self._ask(3, ["text/plain"] * (self.dialect == "clef") + [self.address, shown]))

    def sign_transaction(self, transaction_dict: Mapping[str, Any], /) -> Signed:
        """The transaction, signed as it was asked for and not otherwise. Raises as :meth:`accounts`."""
        body = {name: hex(value) if isinstance(value, int) else value for name, value in transaction_dict.items()}
        answer = self._ask(2, [{"from": self.address, **body}])
        raw = _hex(answer.get("raw") if isinstance(answer, dict) else answer, "a signed transaction", MAXIMUM_BYTES)
        return Signed(raw, require_signed(raw, transaction_dict, self.account))

    def _ask(self, method: int, parameters: list[Any]) -> Any:
        name = _METHODS[self.dialect][method]
        question = {"jsonrpc": "2.0", "id": next(self._ids), "method": name, "params": parameters}
        client = HttpClient(seconds=self.seconds)
        try:
            with client.ask(
                "POST",
                self.url,
                limit=MAXIMUM_ANSWER,
                content=json.dumps(question).encode(),
                headers={"content-type": "application/json"},
            ) as response:
                answer = msgspec.json.decode(response.body(), type=_Answer)
        except HttpError as error:
            raise SignerUnavailable(self.url, error.message) from error
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise SignerRefused(f"the answer to {name}", "JSON-RPC", "something else") from error
        finally:
            client.close()
        if answer.error is not None or answer.result is None:
            raise SignerRefused(f"the answer to {name}", "a result", _reason(answer.error))
        return answer.result


def _signature(answer: Any) -> bytes:
    signature = _hex(answer, "a signature", _SIGNATURE_BYTES)
    if len(signature) != _SIGNATURE_BYTES:
        raise SignerRefused("the signature", f"{_SIGNATURE_BYTES} bytes", str(len(signature)))
    # Some hardware counts from 0.
    return signature[:-1] + bytes([signature[-1] + 27]) if signature[-1] in (0, 1) else signature


def _reason(error: Any) -> str:
    said = error.get("message") if isinstance(error, dict) else None
    return f"{said!s:.200}" if said else "none"


def _hex(value: Any, what: str, most: int) -> bytes:
    if isinstance(value, str) and value.startswith("0x") and len(value) <= 2 + 2 * most:
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    raise SignerRefused(f"{what} of the signer", f"0x hex of at most {most} bytes", f"{str(value)[:80]!r}")
