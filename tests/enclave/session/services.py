"""A service for tests: a runtime in a thread with real sandboxed processes, nodes that sign, accounts that ask.

Only chain and host are the test's own: whoever has a service can lie as a host would.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import coincurve
import msgspec

from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import (
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    Uint64,
    Wei,
    decode,
    decode_canonical,
)
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId, Kind
from sealmarket_enclave.protocol.policy import OutputRules, Serving
from sealmarket_enclave.protocol.session import (
    Abort,
    Grant,
    Refusal,
    Renewal,
    Royalty,
    SessionHeader,
    SessionTerms,
    SignedReceipt,
    SignedStatement,
    TabState,
    weights_hash,
)
from sealmarket_enclave.protocol.signing import address_of, recover, sign
from sealmarket_enclave.runtime.channel import (
    Answer,
    Ask,
    Drop,
    End,
    Evidence,
    Nonce,
    OpenNonce,
    Part,
    Refused,
    Renew,
    Renewed,
    Stage,
    State,
    Stated,
    Unopened,
    Want,
)
from sealmarket_enclave.runtime.kinds import session
from sealmarket_enclave.sealed.contexts import SessionInfo
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.session import AnswerReader, Frame, FrameKind, seal_request, signed_request
from sealmarket_enclave.workload.bundle import pack
from tests.enclave.runtime.twins import EnclaveTwin, Said, deliver, load_of, serve
from tests.enclave.scene import CHAIN_ID, MARKET, Scene, StepBundle
from tests.patience import PATIENCE

MANIFEST = """\
schema = 1
kind = "session"
name = "echo"
version = "1.0.0"
summary = "Answers requests."
entry_point = "count:serve"

[[inputs]]
name = "weights"
media_type = "application/octet-stream"

[limits]
cpu_seconds = 20
wall_seconds = {load}
memory_bytes = 1073741824

[session]
processes = {processes}
request_seconds = {seconds}
"""
ECHO = """\
def serve(session):
    weights = bytes(session.inputs["weights"])
    mine = []
    for request in session.requests():
        mine.append(request.body)
        if request.endpoint == "models":
            request.send(weights)
            request.done(0, 0)
            continue
        request.send(b"|".join(mine))
        request.done(len(request.body), 2, {"engine": "echo"})
"""
METER = """\
schema = 1
kind = "session"
name = "meter"
version = "1.0.0"
summary = "Counts."
entry_point = "meter:serve"

[[inputs]]
name = "counted"
media_type = "application/octet-stream"

[limits]
cpu_seconds = 20
wall_seconds = 60
memory_bytes = 1073741824

[session]
processes = 1
request_seconds = 60
"""
WEIGHTS = b"the weights"
LEASE = 1000
RULES = Serving(
    per_unit=Wei(1),
    max_lease=Uint64(LEASE),
    max_prompt_units=Uint64(400),
    max_answer_units=Uint64(100),
    unit_bytes=64,
    endpoints=("chat", "models"),
)
OUTPUT = OutputRules(media_types=("application/json",), max_outputs=1, max_bytes=1 << 14, bucket_bytes=4096)
M = TypeVar("M")


def terms_of(asset_id: AssetId) -> SessionTerms:
    """The terms of a service over one asset."""
    return SessionTerms(
        sessions=Address(b"\x05" * 20),
        lease=Uint64(LEASE),
        lease_seconds=600,
        redemption_window=6000,
        end=2_000_000_000,
        bucket=Uint64(10),
        unit_price=Wei(2),
        least_tab=Wei(1),
        renewal_fee=Wei(0),
        royalties=(Royalty(asset_id=asset_id, per_unit=Wei(1)),),
    )


def meter_bundle(folder: Path, code: str, manifest: str = METER) -> StepBundle:
    """A meter of the standard library alone, in a new folder."""
    bundle, environment = folder / "bundle", folder / "environment"
    (bundle / "code").mkdir(parents=True)
    (bundle / "workload.toml").write_text(manifest)
    (bundle / "code" / "meter.py").write_text(code)
    (bundle / "requirements.lock").write_text("")
    (bundle / "environment.json").write_bytes(build(b"", []).canonical())
    environment.mkdir()
    read = read_bundle(bundle)
    return StepBundle(read.digest, pack(read), environment)


def service_scene(
    folder: Path,
    code: str = ECHO,
    *,
    processes: int = 2,
    load: int = 60,
    seconds: int = 60,
    serving: Serving = RULES,
    meter: StepBundle | None = None,
) -> Scene:
    """One asset, its owner's serving rules, perhaps with a meter, and a workload of kind session."""
    if meter is not None:
        serving = msgspec.structs.replace(serving, meter=meter.digest)
    scene = Scene(
        folder,
        rules=OUTPUT,
        plaintexts=(WEIGHTS,),
        manifest=MANIFEST.format(processes=processes, load=load, seconds=seconds),
        code=code,
        serving=serving,
        price=Wei(LEASE),
        steps=() if meter is None else (meter,),
    )
    scene.parameters = msgspec.structs.replace(scene.parameters, values={})
    use = scene.assets[0].use
    scene.changes = {
        "kind": Kind.SESSION,
        "extension_hash": terms_of(use.asset_id).struct_hash(),
        "compute_price": Wei(0),
        "run_seconds": 600,
        "settle_window": 1 << 20,
    }
    return scene


class Account:
    """An account with a wallet; its grants have session keys of their own."""

    def __init__(self, seed: int) -> None:
        self.wallet = coincurve.PrivateKey(bytes([seed]) * 32)

    @property
    def address(self) -> Address:
        return address_of(self.wallet.public_key)


@dataclass
class Session:
    """One grant of an account, with its session key, the next number and the last receipt."""

    grant: Grant
    key: coincurve.PrivateKey
    signature: HexBytes
    number: int = 0
    last: Bytes32 = ZERO_HASH


@dataclass
class Got:
    """An answer as its user read it."""

    frames: list[Frame]
    response_hash: Bytes32
    sealed: bytes

    @property
    def text(self) -> bytes:
        return b"".join(frame.payload for frame in self.frames[:-1])

    @property
    def receipt(self) -> SignedReceipt:
        assert self.frames[-1].kind is FrameKind.RECEIPT, self.frames[-1]
        return decode_canonical(SignedReceipt, self.frames[-1].payload)

    @property
    def refusal(self) -> Refusal:
        assert self.frames[-1].kind is FrameKind.REFUSAL, self.frames[-1]
        return decode_canonical(Refusal, self.frames[-1].payload)

    @property
    def abort(self) -> Abort:
        assert self.frames[-1].kind is FrameKind.ABORT, self.frames[-1]
        return decode_canonical(Abort, self.frames[-1].payload)


@dataclass
class Pending:
    """A request that was given to the enclave, and what came back so far."""

    stream: int
    session: Session
    secret: bytes
    sealed: bytes
    data: bytearray = field(default_factory=bytearray)
    over: bool = False
    unopened: bool = False


class Users:
    """Who asks a service: grants, and requests sealed to the enclave of ``evidence``."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.terms = terms_of(scene.assets[0].use.asset_id)
        self.evidence: Evidence | None = None
        self.sealed_to: tuple[bytes, Bytes32] | None = None
        """The enclave's HPKE key and evidence hash, for users that have no evidence."""

    @property
    def spec(self) -> JobSpec:
        return self.scene.spec

    @property
    def job_id(self) -> JobId:
        return self.spec.job_id(CHAIN_ID, MARKET)

    def session(self, account: Account, cap: int = 1000, until: int = 2_000_000_000, **changes: object) -> Session:
        """A new grant with a session key of its own."""
        key = coincurve.PrivateKey()
        grant = Grant(
            job_id=self.job_id,
            workload=self.spec.workload_digest,
            weights=weights_hash(asset.seal.content_root for asset in self.scene.assets),
            session_key=address_of(key.public_key),
            cap=Uint64(cap),
            until=until,
        )
        grant = msgspec.structs.replace(grant, **changes)
        return Session(grant, key, sign(grant.digest(CHAIN_ID, MARKET), account.wallet))

    def seal(
        self, given: Session, body: bytes, most: int = 64, endpoint: str = "chat", **changes: object
    ) -> tuple[bytes, bytes]:
        """The next request of a grant, sealed, and its secret."""
        assert self.sealed_to is not None
        key, secret = PublicKey(self.sealed_to[0]), secrets.token_bytes(32)
        header = SessionHeader(
            grant=given.grant,
            grant_signature=given.signature,
            number=Uint64(given.number + 1),
            most_units=Uint64(most),
            acknowledged=given.last,
            endpoint=endpoint,
            signature=HexBytes(bytes(65)),
        )
        header = msgspec.structs.replace(header, **changes)
        if "signature" not in changes:
            digest = signed_request(header, secret, body).digest(CHAIN_ID, MARKET)
            header = msgspec.structs.replace(header, signature=sign(digest, given.key))
        info = SessionInfo(
            chain_id=CHAIN_ID,
            market=MARKET,
            job_id=self.job_id,
            evidence_hash=self.sealed_to[1],
            enclave_key=key.digest,
        )
        return seal_request(key, info, secret=secret, header=header, body=body), secret


class Service(Users):
    """An enclave that serves, seen by its host, its nodes and its users."""

    def __init__(self, scratch: Path, scene: Scene, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(scene)
        self.enclave = EnclaveTwin(scratch, strict=True, kind=session.KIND, clock=clock)
        self.host = self.enclave.host
        self.pending: dict[int, Pending] = {}
        self.statements: list[SignedStatement] = []
        self.streams = self.block = 0
        self.said: list[str] = []

    def quote(self, **changes: object) -> Evidence | Refused:
        """Load the job; with the terms, unless ``changes`` say otherwise."""
        self.host.send(load_of(self.scene, **{"extension": self.terms.canonical(), **changes}))
        answer = self.host.receive()
        if isinstance(answer, Evidence):
            self.evidence = answer
            self.sealed_to = (answer.enclave_key, Bytes32(answer.evidence_hash))
        assert isinstance(answer, Evidence | Refused)
        return answer

    def open(self) -> None:
        """From the load to the stage in which it serves."""
        assert isinstance(self.quote(), Evidence)
        assert self.evidence is not None
        deliver(self.scene, self.enclave, self.evidence)
        held = {asset.seal.content_root: asset.container for asset in self.scene.assets}
        while True:
            message = self.host.receive()
            match message:
                case Stage(name="serving"):
                    return
                case Want():
                    part = held[Bytes32(message.content_root)]
                    self.host.send(Part(data=part[message.offset : message.offset + message.length]))
                case Refused():
                    raise AssertionError(message)

    def nonce(self) -> Nonce:
        self.host.send(OpenNonce())
        return self.wait(Nonce)

    def renewal(self, nonce: bytes, *tabs: TabState, block: int = 10, at: int = 1000, redeemed: int = 0) -> Renewal:
        return Renewal(
            job_id=self.job_id,
            nonce=Bytes32(nonce),
            block_number=Uint64(block),
            block_time=at,
            redeemed=Uint64(redeemed),
            tabs=tabs,
        )

    def renew(self, renewal: Renewal, nodes: tuple[int, ...] = (0, 1)) -> str:
        """Have nodes sign it and deliver it; what the enclave says against it, or nothing."""
        digest = renewal.digest(CHAIN_ID, MARKET)
        signatures = tuple(sign(digest, self.scene.nodes[node].signing) for node in nodes)
        self.host.send(Renew(renewal=renewal.canonical(), signatures=signatures))
        return self.wait(Renewed).refused

    def lease(self, *accounts: Account, units: int = 500, **changes: int) -> None:
        """A lease in which these accounts have tabs."""
        self.block += 1
        tabs = [TabState(account=one.address, units=Uint64(units), closing=False) for one in accounts]
        renewal = self.renewal(self.nonce().nonce, *tabs, **{"block": self.block, **changes})
        assert self.renew(renewal) == ""

    def ask(self, given: Session, body: bytes, **options: object) -> Pending:
        """Give the enclave a request of a grant."""
        sealed, secret = self.seal(given, body, **options)  # type: ignore[arg-type]
        return self.send(given, sealed, secret)

    def send(self, given: Session, sealed: bytes, secret: bytes) -> Pending:
        """Give the enclave a sealed request, perhaps again."""
        self.streams += 1
        self.pending[self.streams] = Pending(self.streams, given, secret, sealed)
        self.host.send(Ask(stream=self.streams, sealed=sealed))
        return self.pending[self.streams]

    def read(self, pending: Pending) -> Got:
        """Wait for the whole answer; a receipt is checked and counts for the grant."""
        self.until(lambda: pending.over)
        assert not pending.unopened
        reader = AnswerReader(pending.secret, sha256(pending.sealed))
        frames = list(reader.feed(bytes(pending.data)))
        reader.close()
        got = Got(frames, reader.response_hash, pending.sealed)
        if frames[-1].kind is not FrameKind.REFUSAL:
            signed = got.receipt if frames[-1].kind is FrameKind.RECEIPT else got.abort
            assert self.evidence is not None
            assert recover(signed.receipt.digest(CHAIN_ID, MARKET), signed.signature) == self.evidence.signer
            assert signed.receipt.response_hash == got.response_hash
            pending.session.number += 1
            pending.session.last = signed.receipt.struct_hash()
        return got

    def answer(self, given: Session, body: bytes, **options: object) -> Got:
        """Ask and read."""
        return self.read(self.ask(given, body, **options))

    def drop(self, pending: Pending) -> None:
        """The peer of a request is gone."""
        self.host.send(Drop(stream=pending.stream))

    def state(self, *accounts: Account) -> SignedStatement:
        self.host.send(State(accounts=tuple(one.address for one in accounts)))
        self.wait(Stated)
        return self.statements[-1]

    def wait(self, kind: type[M]) -> M:
        """The next message of a kind; what comes before is kept."""
        while True:
            message = self.host.receive()
            self._keep(message)
            if isinstance(message, kind):
                return message
            assert not isinstance(message, Refused), message

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline
            self._keep(self.host.receive())

    def finish(self) -> Said:
        """Everything up to the end."""
        self.host.send(End())
        return self.rest()

    def rest(self) -> Said:
        return serve(self.scene, _Kept(self))  # type: ignore[arg-type]

    def close(self) -> None:
        self.enclave.close()

    def _keep(self, message: object) -> None:
        self.said.append(type(message).__name__)
        match message:
            case Answer():
                pending = self.pending[message.stream]
                pending.data += message.data
                pending.over = message.last
            case Unopened():
                self.pending[message.stream].over = self.pending[message.stream].unopened = True
            case Stated():
                signed = decode(SignedStatement, message.statement)
                digest = signed.statement.digest(CHAIN_ID, MARKET)
                assert self.evidence is not None
                assert recover(digest, signed.signature) == self.evidence.signer
                self.statements.append(signed)


class _Kept:
    """A host's channel that keeps what a service says on the way to its end."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def send(self, message: object) -> None:
        self._service.host.send(message)  # type: ignore[arg-type]

    def receive(self) -> object:
        while True:
            message = self._service.host.receive()
            if not isinstance(message, Answer | Unopened | Stated):
                return message
            self._service._keep(message)


def scratch(folder: Path) -> Path:
    """A folder of the enclave's own."""
    return folder / f"scratch-{os.urandom(4).hex()}"
