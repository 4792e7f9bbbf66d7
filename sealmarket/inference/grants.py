"""Grants on disk: session keys and request numbers, written before they are used.

One folder for each service, held by one process. A grant's file (mode 0600) says ``asked`` and the request's number
before the request is sent, and ``idle`` after its receipt was kept. A process that is killed in between finds ``asked``
when it starts again and retires the grant: no number is used twice, and what the lost answer may have cost counts as
spent.

States: ``idle -> asked -> idle`` (a receipt, or a refusal, which leaves the number free), ``-> retired`` (an answer was
lost, or the service takes the grant no more). A request that was refused counts at its most until the next receipt: its
host can have lied, or deliver it later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import coincurve
from msgspec.structs import replace

from sealmarket.private_files import read_private, replace_private, write_private
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes, Shape, decode_canonical
from sealmarket_enclave.protocol.session import Grant
from sealmarket_enclave.protocol.signing import address_of

_FOLDER = "grants"
_SUFFIX = ".json"
_NAMED_BY = 16


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
    state: Literal["idle", "asked", "retired"] = "idle"
    why: str = ""

    def __repr__(self) -> str:
        return f"GrantFile({self.grant.struct_hash()}, {self.state}, number {self.number})"

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


class GrantShelf:
    """The grants of one service. The caller holds the folder (:func:`sealmarket.serving.lock.only_process`)."""

    def __init__(self, folder: Path) -> None:
        """Read what is there; a grant whose answer is missing is retired."""
        self._folder = folder / _FOLDER
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.grants = {grant.grant.struct_hash(): grant for grant in read_grants(folder)}
        for grant in list(self.grants.values()):
            if grant.state == "asked":
                self.retire(grant, "the process ended before its answer")

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
        return self._keep(replace(grant, state="asked", number=grant.number + 1, reserved=reserved))

    def answered(self, grant: GrantFile, receipt: Bytes32, units: int) -> GrantFile:
        """The receipt of the request under way was checked and kept."""
        return self._keep(replace(grant, state="idle", acknowledged=receipt, spent=grant.spent + units, reserved=0))

    def refused(self, grant: GrantFile, reserved: int) -> GrantFile:
        """The request under way was refused: its number is free. ``reserved``: what may be charged all the same."""
        return self._keep(replace(grant, state="idle", number=grant.number - 1, reserved=reserved))

    def retire(self, grant: GrantFile, why: str) -> GrantFile:
        """Use a grant no further. What a request under way may have cost stays counted."""
        return self._keep(replace(grant, state="retired", why=why[:200]))

    @property
    def committed(self) -> int:
        """Units of the user's budget that all grants together hold."""
        return sum(grant.committed for grant in self.grants.values())

    def _keep(self, grant: GrantFile) -> GrantFile:
        replace_private(self._path(grant), grant.canonical())
        return self._known(grant)

    def _known(self, grant: GrantFile) -> GrantFile:
        self.grants[grant.grant.struct_hash()] = grant
        return grant

    def _path(self, grant: GrantFile) -> Path:
        return self._folder / f"{grant.grant.struct_hash().hex()[:_NAMED_BY]}{_SUFFIX}"


def new_grant(key: coincurve.PrivateKey, job_id: Bytes32, workload: Bytes32, weights: Bytes32) -> dict[str, object]:
    """The members of a grant that follow from the service and the session key."""
    return {"job_id": job_id, "workload": workload, "weights": weights, "session_key": address_of(key.public_key)}


def read_grants(folder: Path) -> Iterator[GrantFile]:
    """The grants of a service's folder, as they are.

    Raises:
        NotPrivate, MalformedDocument: a file that others may read, or that is no grant.
    """
    for path in sorted((folder / _FOLDER).glob(f"*{_SUFFIX}")):
        yield decode_canonical(GrantFile, read_private(path))
