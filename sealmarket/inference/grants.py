"""Grants on disk: session keys and request numbers, written before they are used.

One folder for each service, held by one process. A grant has a file (mode 0600), and beside it a log of the steps
since that file was written, a line each:

1. A step to ``asked``, with the request's number, is on disk before the request is sent: one line, one flush. A process
   that ends in between finds ``asked`` when it starts again and retires the grant: no number is used twice, and what
   the lost answer may have cost counts as spent.
2. A step that ends a request is written when its receipt is kept, and reaches the disk with the next one. Where the
   machine loses it, the grant is retired, and its request counts at the most that it could cost.
3. A line that a crash or a full disk cut is the last one, and says nothing: its request was never sent, or its answer
   is lost. A process that starts writes what the log says into the grant's file, and begins a new log.

States: ``idle -> asked -> idle`` (a receipt, or a refusal, which leaves the number free), ``-> retired`` (an answer was
lost, or the service takes the grant no more). A request that was refused counts at its most until the next receipt: its
host can have lied, or deliver it later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal

import coincurve
from msgspec.structs import replace

from sealmarket.private_files import MAXIMUM_BYTES, read_private, remove, replace_private, write_private
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes, Shape, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.session import Grant
from sealmarket_enclave.protocol.signing import address_of

_FOLDER = "grants"
_SUFFIX, _LOG_SUFFIX = ".json", ".log"
_NAMED_BY = 16
_MOST_LOG = MAXIMUM_BYTES - 1024
"""Bytes of a log before a step is written into the grant's file, and a new log begins."""
State = Literal["idle", "asked", "retired"]


@lru_cache(maxsize=256)
def _name(grant: Grant) -> Bytes32:
    return grant.struct_hash()


class GrantFile(Shape, frozen=True, kw_only=True):
    """One grant with its session key. ``number`` is that of the last request, ``acknowledged`` the last receipt's hash.

    ``spent`` counts the units of receipts, ``reserved`` the most that a request without receipt may cost: the one under
    way, or one that was refused under the next number, which the host can still deliver in its place.
    """

    version: Literal["sealmarket/grant/1"] = "sealmarket/grant/1"
    grant: Grant
    signature: HexBytes
    session_key: HexBytes
    number: int = 0
    acknowledged: Bytes32 = ZERO_HASH
    spent: int = 0
    reserved: int = 0
    state: State = "idle"
    why: str = ""

    def __repr__(self) -> str:
        return f"GrantFile({self.name}, {self.state}, number {self.number})"

    @property
    def name(self) -> Bytes32:
        """``hashStruct`` of the grant."""
        return _name(self.grant)

    @property
    def key(self) -> coincurve.PrivateKey:
        """The session key."""
        return coincurve.PrivateKey(bytes(self.session_key))

    @property
    def left(self) -> int:
        """Units that the next request may cost. It and those that were refused have one number: one of them counts."""
        return int(self.grant.cap) - self.spent - (self.reserved if self.state == "asked" else 0)

    @property
    def committed(self) -> int:
        """Units of the user's budget that this grant holds: its cap while it lives, then what it may have cost."""
        return self.spent + self.reserved if self.state == "retired" else int(self.grant.cap)


class Step(Shape, frozen=True, kw_only=True):
    """What changes of a grant: a line of its log."""

    number: int
    acknowledged: Bytes32
    spent: int
    reserved: int
    state: State
    why: str

    @classmethod
    def of(cls, grant: GrantFile) -> Step:
        """Where a grant stands."""
        return cls(**{name: getattr(grant, name) for name in cls.__struct_fields__})

    def taken_by(self, grant: GrantFile) -> GrantFile:
        """A grant that stands here."""
        return replace(grant, **{name: getattr(self, name) for name in self.__struct_fields__})


class _Log:
    """The steps of one grant since its file was written. Made anew, with mode 0600."""

    def __init__(self, path: Path) -> None:
        write_private(path, b"")
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._size, self._is_cut = 0, False

    def write(self, line: bytes, *, sync: bool) -> bool:
        """Append a line, and have it on disk where that is asked for. False where the log, or the disk, is full: no
        line comes behind one that may be cut."""
        if self._is_cut or self._size + len(line) > _MOST_LOG:
            return False
        self._is_cut = True
        with suppress(OSError):
            self._is_cut = os.write(self._descriptor, line) != len(line)
            if sync and not self._is_cut:
                self._is_cut = True
                os.fdatasync(self._descriptor)
                self._is_cut = False
        self._size += len(line)
        return not self._is_cut

    def close(self) -> None:
        os.close(self._descriptor)


class GrantShelf:
    """The grants of one service. The caller holds the folder (:func:`sealmarket.serving.lock.only_process`)."""

    def __init__(self, folder: Path) -> None:
        """Read what is there; a grant whose answer is missing is retired."""
        self._folder = folder / _FOLDER
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._logs: dict[Path, _Log] = {}
        self.grants = {grant.name: grant for grant in read_grants(folder)}
        for grant in list(self.grants.values()):
            if grant.state == "asked":
                self.retire(grant, "the process ended before its answer")
            elif self._path(grant).with_suffix(_LOG_SUFFIX).exists():
                self._fold(grant)

    def make(self, grant_of: Callable[[coincurve.PrivateKey], Grant], sign: Callable[[Grant], HexBytes]) -> GrantFile:
        """Sign a grant to a fresh session key, and keep it."""
        key = coincurve.PrivateKey()
        grant = grant_of(key)
        made = GrantFile(grant=grant, signature=sign(grant), session_key=HexBytes(key.secret))
        write_private(self._path(made), made.canonical())
        return self._known(made)

    def ask(self, grant: GrantFile, most_units: int) -> GrantFile:
        """Take the next number for a request that may cost ``most_units``; on disk when this returns."""
        if grant.state != "idle":
            raise ValueError(f"a grant that is {grant.state} is asked under no number")
        reserved = max(grant.reserved, most_units)
        return self._keep(replace(grant, state="asked", number=grant.number + 1, reserved=reserved), sync=True)

    def answered(self, grant: GrantFile, receipt: Bytes32, units: int) -> GrantFile:
        """The receipt of the request under way was checked and kept."""
        return self._keep(replace(grant, state="idle", acknowledged=receipt, spent=grant.spent + units, reserved=0))

    def refused(self, grant: GrantFile, reserved: int) -> GrantFile:
        """The request under way was refused: its number is free. ``reserved``: what may be charged all the same."""
        return self._keep(replace(grant, state="idle", number=grant.number - 1, reserved=reserved))

    def retire(self, grant: GrantFile, why: str) -> GrantFile:
        """Use a grant no further. What a request under way may have cost stays counted."""
        return self._fold(replace(grant, state="retired", why=why[:200]))

    def close(self) -> None:
        """Ask under none of them any more."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()

    @property
    def committed(self) -> int:
        """Units of the user's budget that all grants together hold."""
        return sum(grant.committed for grant in self.grants.values())

    def _keep(self, grant: GrantFile, *, sync: bool = False) -> GrantFile:
        """Write a step down (rules 1 and 2)."""
        path = self._path(grant).with_suffix(_LOG_SUFFIX)
        if path not in self._logs:
            if path.exists():  # where a log could not be opened, or not be ended
                return self._fold(grant)
            self._logs[path] = _Log(path)
        if not self._logs[path].write(Step.of(grant).canonical() + b"\n", sync=sync):
            return self._fold(grant)
        return self._known(grant)

    def _fold(self, grant: GrantFile) -> GrantFile:
        """Write a grant into its file, and end its log; both on disk before anything is sent.

        A process that ends in between finds the log's last step when it starts again. If that is ``asked``, the grant
        is retired; if it is ``idle``, no request was sent after it.
        """
        path = self._path(grant)
        log = path.with_suffix(_LOG_SUFFIX)
        replace_private(path, grant.canonical())
        if (opened := self._logs.pop(log, None)) is not None:
            opened.close()
        remove(log)
        return self._known(grant)

    def _known(self, grant: GrantFile) -> GrantFile:
        self.grants[grant.name] = grant
        return grant

    def _path(self, grant: GrantFile) -> Path:
        return self._folder / f"{grant.name.hex()[:_NAMED_BY]}{_SUFFIX}"


def new_grant(key: coincurve.PrivateKey, job_id: Bytes32, workload: Bytes32, weights: Bytes32) -> dict[str, object]:
    """The members of a grant that follow from the service and the session key."""
    return {"job_id": job_id, "workload": workload, "weights": weights, "session_key": address_of(key.public_key)}


def read_grants(folder: Path) -> Iterator[GrantFile]:
    """The grants of a service's folder, as they are.

    Raises:
        NotPrivate, MalformedDocument: a file that others may read, that is no grant, or no log that a crash may leave.
    """
    for path in sorted((folder / _FOLDER).glob(f"*{_SUFFIX}")):
        grant = decode_canonical(GrantFile, read_private(path))
        with suppress(FileNotFoundError):
            grant = _stepped(grant, read_private(path.with_suffix(_LOG_SUFFIX)))
        yield grant


def _stepped(grant: GrantFile, log: bytes) -> GrantFile:
    """A grant where the last whole line of its log says that it stands (rule 3)."""
    lines = log.split(b"\n")[:-1]
    for line in lines:
        try:
            grant = decode_canonical(Step, line).taken_by(grant)
        except MalformedDocument:
            if line is not lines[-1]:
                raise
    return grant
