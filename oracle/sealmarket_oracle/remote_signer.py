"""A node's signing key that another program holds: Web3Signer, Clef, or one that speaks as wallets do.

    dialect       statements (EIP-712)      releases (EIP-191)
    web3signer    eth_signTypedData         eth_sign
    clef          account_signTypedData     account_signData
    ethereum      eth_signTypedData_v4      personal_sign

1. The program is shown typed data, never a bare digest.
2. Nothing that it answers is believed: each signature is recovered, and must be the node's account's.
3. Answers are bounded in bytes and time. Off this machine only https.
4. What was signed is kept in memory by its digest, so that readers of one job cost one signature.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import OrderedDict
from typing import Any, Literal

import msgspec

from sealmarket.http import NO_URL, HttpClient, HttpError, is_loopback, redacted
from sealmarket.protocol.signatures import require_signer
from sealmarket.protocol.typed_data import typed_data
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, parse_json
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.signing import SignatureRefused, personal_digest
from sealmarket_oracle.errors import SignerFailed

Dialect = Literal["web3signer", "clef", "ethereum"]
DIALECTS: tuple[Dialect, ...] = ("web3signer", "clef", "ethereum")
SIGNING_SECONDS = 10.0
"""For one signature: it holds the thread that decides."""
_MAXIMUM_ANSWER = 1 << 16
_KEPT = 4096
_METHODS: dict[Dialect, tuple[str, str]] = {
    "web3signer": ("eth_signTypedData", "eth_sign"),
    "clef": ("account_signTypedData", "account_signData"),
    "ethereum": ("eth_signTypedData_v4", "personal_sign"),
}


class SignerFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in place of a keystore: the program, and the account that it signs with."""

    signer: str
    address: str
    dialect: Dialect = "web3signer"


class _Answer(msgspec.Struct, frozen=True):
    result: Any = None
    error: Any = None


class RemoteSigner:
    """One account of a program that signs. Threads may share it."""

    def __init__(self, url: str, address: Address, dialect: Dialect, *, seconds: float = SIGNING_SECONDS) -> None:
        """Raises :class:`SignerFailed` for a URL over which others could read along."""
        private = url.startswith("https://") or (url.startswith("http://") and is_loopback(url))
        if not private or redacted(url) == NO_URL or not url.isprintable():
            raise SignerFailed("the signer's URL", "https://, or http:// on this machine", redacted(url))
        self.address, self._url, self._dialect, self._seconds = address, url, dialect, seconds
        self._ids = itertools.count(1)
        self._made: OrderedDict[Bytes32, HexBytes] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def file(self) -> SignerFile:
        """What names this signer in a node's folder."""
        return SignerFile(signer=self._url, address=self.address.checksum, dialect=self._dialect)

    def sign_statement(self, statement: TypedShape, chain_id: int, market: Address) -> HexBytes:
        """65 bytes over a structure for one market. Raises :class:`SignerFailed`."""
        data = typed_data(statement, chain_id, market)
        shown = data if self._dialect == "clef" else json.dumps(data)
        digest = statement.digest(chain_id, market)
        return self._signed(digest, _METHODS[self._dialect][0], [self.address.checksum, shown])

    def sign_text(self, message: bytes) -> HexBytes:
        """65 bytes over a message by EIP-191. Raises :class:`SignerFailed`."""
        account, text = self.address.checksum, "0x" + message.hex()
        parameters = {
            "web3signer": [account, text],
            "clef": ["text/plain", account, text],
            "ethereum": [text, account],
        }[self._dialect]
        return self._signed(personal_digest(message), _METHODS[self._dialect][1], parameters)

    def _signed(self, digest: Bytes32, method: str, parameters: list[Any]) -> HexBytes:
        with self._lock:
            held = self._made.get(digest)
        if held is not None:
            return held
        signature = _signature(self._ask(method, parameters))
        try:
            require_signer(digest, signature, self.address, method)
        except SignatureRefused as error:
            raise SignerFailed("the signature", f"one by {self.address}", error.message) from error
        with self._lock:
            self._made[digest] = signature
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return signature

    def _ask(self, method: str, parameters: list[Any]) -> Any:
        question = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": parameters}
        client = HttpClient(seconds=self._seconds)
        try:
            with client.ask(
                "POST",
                self._url,
                limit=_MAXIMUM_ANSWER,
                content=json.dumps(question).encode(),
                headers={"content-type": "application/json"},
            ) as response:
                answer = parse_json(response.body(), _Answer)
        except HttpError as error:
            raise SignerFailed(f"the answer to {method}", "one within its time", error.message) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SignerFailed(f"the answer to {method}", "JSON-RPC", "something else") from error
        finally:
            client.close()
        if answer.error is not None or answer.result is None:
            raise SignerFailed(f"the answer to {method}", "a result", _reason(answer.error))
        return answer.result

    def __repr__(self) -> str:
        return f"RemoteSigner({self.address}, {redacted(self._url)})"


def signer_of(raw: bytes) -> RemoteSigner | None:
    """The signer that a file names; None for a file that names none.

    Raises:
        SignerFailed: it names one that cannot be used.
    """
    if b'"signer"' not in raw:
        return None
    try:
        named = parse_json(raw, SignerFile)
        return RemoteSigner(named.signer, Address.parse(named.address.lower()), named.dialect)
    except (msgspec.MsgspecError, UnicodeDecodeError, MalformedDocument) as error:
        raise SignerFailed("the file that names a signer", "its URL, address and dialect", str(error)) from error


def _signature(value: Any) -> HexBytes:
    try:
        found = HexBytes.parse(value.lower() if isinstance(value, str) else "")
    except MalformedDocument:
        found = HexBytes()
    if len(found) != 65:
        raise SignerFailed("the signature", "0x and 65 bytes in hex", f"{str(value)[:80]!r}")
    # Some hardware counts from 0.
    return HexBytes(found[:-1] + bytes([found[-1] + 27])) if found[-1] in (0, 1) else found


def _reason(error: Any) -> str:
    said = error.get("message") if isinstance(error, dict) else None
    return f"{said!s:.200}" if said else "none"
