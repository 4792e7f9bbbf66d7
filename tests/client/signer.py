"""A program that holds a key and signs by JSON-RPC, as Clef and Web3Signer do; a test makes it lie."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_account.signers.local import LocalAccount

Lie = Callable[[str, Any], Any]
"""Called with the method and the honest result; returns what is answered."""


class FakeSigner:
    """The program. ``asked`` holds what it was asked for."""

    def __init__(self, account: LocalAccount, lie: Lie) -> None:
        self.account, self.lie = account, lie
        self.asked: list[tuple[str, Any]] = []
        self.tamper: Callable[[dict[str, Any]], dict[str, Any]] = lambda fields: fields
        """What becomes of a transaction before it is signed."""
        self.raw_answer: bytes | None = None
        """What is answered whatever was asked."""

    def answer(self, method: str, parameters: list[Any]) -> Any:
        """The result of one call."""
        self.asked.append((method, parameters))
        if method in ("eth_accounts", "account_list"):
            honest: Any = [self.account.address]
        elif method in ("eth_signTypedData_v4", "account_signTypedData"):
            data = json.loads(parameters[1]) if isinstance(parameters[1], str) else parameters[1]
            honest = "0x" + bytes(self.account.sign_message(encode_typed_data(full_message=data)).signature).hex()
        elif method in ("eth_sign", "account_signData"):
            text = encode_defunct(hexstr=parameters[-1])
            honest = "0x" + bytes(self.account.sign_message(text).signature).hex()
        else:
            fields = {n: v if n in ("to", "data") else int(v, 16) for n, v in parameters[0].items() if n != "from"}
            signed = self.account.sign_transaction(self.tamper(fields))
            raw = "0x" + bytes(signed.raw_transaction).hex()
            honest = {"raw": raw, "tx": {}} if method.startswith("account_") else raw
        return self.lie(method, honest)


@contextmanager
def serving(signer: FakeSigner) -> Iterator[str]:
    """Serve it on this machine; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = signer.raw_answer
            if body is None:
                result = signer.answer(asked["method"], asked["params"])
                body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def new_account() -> LocalAccount:
    """A fresh account."""
    account: LocalAccount = Account.create()
    return account
