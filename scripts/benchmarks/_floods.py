"""One stranger who sends the worst that a stranger may send, as fast as the listeners let it.

    python -m scripts.benchmarks._floods NAME SETTINGS.json

``SETTINGS`` is a :class:`Settings` as JSON. The process runs until it is stopped, at the lowest priority, from a peer
address of its own, and keeps what it was answered in the file ``counts``: HTTP status (0: no answer) or ``mined`` ->
how many.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import coincurve
import httpx
from eth_account import Account
from msgspec.structs import replace

from sealmarket.chain import Chain
from sealmarket.chain.calls import Call
from sealmarket.client.books import load_book
from sealmarket.protocol.orders import EvidenceSeal, asset_id
from sealmarket.protocol.wire import LeafList, PostedRequest, SignedComputeOrder, SignedRequest
from sealmarket.sealing.evidence import About, EvidenceSealer
from sealmarket_enclave.protocol.codec import (
    Bytes32,
    HexBytes,
    Shape,
    Wei,
    canonical_json,
    decode,
)
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.protocol.terms import Seal, Terms
from sealmarket_enclave.sealed.hpke import PublicKey

PEER = "127.0.0.2"
"""Where the flood comes from: a peer of its own for every listener, as any other machine is."""
NETWORK = tuple(f"127.0.1.{number}" for number in range(1, 17))
"""Sixteen peers, which together may hold more connections than one listener has places."""
THREADS = 16
HELD = 600
"""Connections of one thread; four threads hold more than all listeners together have places."""
BODY = 4 << 20
ENVELOPES = 16
CONNECTIONS_PER_SECOND = 1000
"""All places of all listeners, twice in four seconds. What more of them cost is for a firewall to stop."""
OPENERS = 4
EVENTS_PER_SECOND = 250
"""Half of what the blocks of the local chain hold: more would raise the chain's fees for all, itself included."""
LOWEST_PRIORITY = 19


class Settings(Shape, frozen=True, kw_only=True):
    """What a flooder knows: public matters, a key of its own with coin, and a published version as a pattern."""

    rpc: str
    book: str
    counts: str
    key: HexBytes
    request: PostedRequest
    compute: SignedComputeOrder
    seal: Seal
    terms: Terms


class Flooder:
    """Sends, and counts the answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.book = load_book(Path(settings.book))
        self.answers: Counter[str] = Counter()
        transport = httpx.HTTPTransport(local_address=PEER, limits=httpx.Limits(max_connections=THREADS))
        self._http = httpx.Client(transport=transport, base_url=self.book.backend, timeout=60, trust_env=False)

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One request; what is answered is counted, and no failure ends the flood."""
        try:
            answer = self._http.request(method, path, content=body)
        except httpx.HTTPError:
            self.answers["0"] += 1
            return b""
        self.answers[str(answer.status_code)] += 1
        return answer.content if answer.is_success else b""

    def sign(self, statement: TypedShape, key: coincurve.PrivateKey) -> HexBytes:
        """A signature for this market."""
        return sign(statement.digest(self.book.chain_id, self.book.market), key)

    # --- orders -----------------------------------------------------------------------------------------------

    def order(self) -> None:
        """A request, or a cheaper offer than any other, of an account that has nothing; then all that lists them."""
        key = coincurve.PrivateKey()
        if random.random() < 0.5:
            request = replace(
                self.settings.request.request.request,
                consumer=address_of(key.public_key),
                payer=address_of(key.public_key),
            )
            signed = SignedRequest(request=request, signature=self.sign(request, key))
            posted = PostedRequest(request=signed, parameters=self.settings.request.parameters)
            self.ask("POST", "/v1/requests", canonical_json(posted))
        else:
            offer = replace(self.settings.compute.order, provider=address_of(key.public_key), price=Wei(1))
            signature = self.sign(offer, key)
            self.ask("POST", "/v1/compute-orders", canonical_json(SignedComputeOrder(order=offer, signature=signature)))
        for path in ("/v1/compute-orders", "/v1/catalogue", "/v1/jobs", "/"):
            self.ask("GET", path)

    # --- evidence ---------------------------------------------------------------------------------------------

    def evidence(self) -> None:
        """As much as is read of a package, under no party's signature, for each job that is not ended."""
        jobs = json.loads(self.ask("GET", "/v1/jobs") or b"[]")
        for one in jobs[:4]:
            job_id = JobId(Bytes32.parse(one["jobId"]))
            about = About(
                chain_id=self.book.chain_id,
                market=self.book.market,
                job_id=job_id,
                evidence_hash=keccak(secrets.token_bytes(8)),
                epoch=1,
            )
            readers = [PublicKey(member.hpke_public_key) for member in self.book.committees[0].members]
            sealed = EvidenceSealer(bytes(BODY), about).wrapped(readers, partial(self.seal, about))
            self.ask("PUT", f"/v1/evidence/{job_id}/{about.evidence_hash}", sealed.raw)
            self.ask("GET", f"/v1/evidence/{job_id}/{about.evidence_hash}")

    def seal(self, about: About, sealed_hash: Bytes32) -> HexBytes:
        """A stranger's signature over a sealed package."""
        seal = EvidenceSeal(job_id=about.job_id, evidence_hash=about.evidence_hash, sealed_hash=sealed_hash)
        return self.sign(seal, coincurve.PrivateKey())

    # --- uploads ----------------------------------------------------------------------------------------------

    def upload(self) -> None:
        """What costs most to check for each of its bytes, under names that are not its own, and one under its own."""
        other = Bytes32(secrets.token_bytes(32))
        leaves = tuple(Bytes32(index.to_bytes(32)) for index in range(BODY // 69 - 8))
        self.ask("PUT", f"/v1/lists/{other}", canonical_json(LeafList(leaves=leaves)))
        self.ask("PUT", f"/v1/workloads/{other}", secrets.token_bytes(BODY))
        self.ask("PUT", f"/v1/containers/{other}", secrets.token_bytes(BODY))
        document = secrets.token_bytes(2 * BODY)
        self.ask("PUT", f"/v1/documents/{keccak(document)}", document)

    # --- connections ------------------------------------------------------------------------------------------

    def connections(self) -> None:
        """Opens connections of sixteen peers to every listener, half of them with a request's beginning, for ever."""
        urls = [self.book.backend, *(member.url for member in self.book.committees[0].members)]
        addresses = [(parts.hostname or "", parts.port or 0) for parts in map(urlsplit, urls)]
        held: list[socket.socket] = []
        began = time.monotonic()
        for number, (address, peer) in enumerate(zip(cycle(addresses), cycle(NETWORK + NETWORK[:1]), strict=False)):
            held.append(self._connection(address, peer, half=bool(number % 2)))
            if len(held) > HELD:
                held.pop(0).close()
            _keep_to(began, number, CONNECTIONS_PER_SECOND / OPENERS)

    def _connection(self, address: tuple[str, int], peer: str, *, half: bool) -> socket.socket:
        made = socket.socket()
        made.settimeout(1)
        try:
            made.bind((peer, 0))
            made.connect(address)
            if half:
                made.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")
            self.answers["opened"] += 1
        except OSError:
            self.answers["0"] += 1
        return made

    # --- events -----------------------------------------------------------------------------------------------

    def events(self) -> None:
        """A version with a long location, then its allow-list replaced without end, each a transaction of its own."""
        settings, account = self.settings, Account.from_key(bytes(self.settings.key))
        chain = Chain(self.book, settings.rpc)
        nonce = int(chain.rpc.call("eth_getTransactionCount", account.address, "latest"), 16)
        salt = Bytes32(secrets.token_bytes(32))
        calls = [chain.registry.publish(salt, settings.seal, settings.terms, "x" * 1024)]
        creator = address_of(coincurve.PrivateKey(bytes(settings.key)).public_key)
        asset = asset_id(self.book.chain_id, self.book.registry, creator, salt)
        began = time.monotonic()
        for number in range(sys.maxsize):
            call = calls[0] if number == 0 else chain.registry.replace_allow_list(asset, 1, _random_root())
            self._transaction(chain, account, call, nonce + number)
            _keep_to(began, number, EVENTS_PER_SECOND)

    def _transaction(self, chain: Chain, account: object, call: Call, nonce: int) -> None:
        fields = {"to": call.to.checksum, "data": call.data, "nonce": nonce, "gas": 600_000, "value": 0}
        fees = {"maxFeePerGas": 10**12, "maxPriorityFeePerGas": 1, "chainId": self.book.chain_id}
        signed = account.sign_transaction(fields | fees)  # type: ignore[attr-defined]
        chain.rpc.call("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
        self.answers["sent"] += 1


def _keep_to(began: float, number: int, per_second: float) -> None:
    """Wait until it is time for the next one."""
    time.sleep(max(0.0, began + number / per_second - time.monotonic()))


def _random_root() -> Bytes32:
    return Bytes32(secrets.token_bytes(32))


FLOODS: dict[str, tuple[Callable[[Flooder], None], int]] = {
    "orders": (Flooder.order, THREADS),
    "connections": (Flooder.connections, OPENERS),
    "evidence": (Flooder.evidence, THREADS),
    "uploads": (Flooder.upload, THREADS),
    "events": (Flooder.events, 1),
}
"""What one thread of each flood does again and again, and how many there are."""


def main(name: str, settings_file: str) -> None:
    """Flood until the process is stopped."""
    os.nice(LOWEST_PRIORITY)
    flooder = Flooder(decode(Settings, Path(settings_file).read_bytes()))
    step, threads = FLOODS[name]

    def run() -> None:
        while True:
            step(flooder)

    for _ in range(threads):
        threading.Thread(target=run, daemon=True).start()
    counts = Path(flooder.settings.counts)
    while True:
        time.sleep(1)
        beside = counts.with_suffix(".new")
        beside.write_text(json.dumps(dict(flooder.answers)))
        beside.rename(counts)


if __name__ == "__main__":
    main(*sys.argv[1:])
