"""A signed statement about platforms that are not to be trusted any more: a leaked identity, a firmware floor.

The issuer is an account; what it signs is EIP-191 over :meth:`Advisory.digest`. Whose statements count is each
operator's choice. The name of a machine is its platform digest, as policies list it: a public statement names no
hardware to those who do not have its evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from msgspec import Meta, field

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Timestamp
from sealmarket_enclave.protocol.signing import personal_digest, recover

MAXIMUM_ADVISORY = 256 << 10
"""Bytes of a signed statement."""
DOMAIN = b"sealmarket/advisory/1\0"
PARTS = ("fmc", "bootloader", "tee", "snp", "microcode")
"""The parts of AMD's reported TCB, which a floor may name."""
_Name = Annotated[str, Meta(max_length=64)]
_Date = Annotated[str, Meta(pattern=r"^(20[0-9]{2}-[01][0-9]-[0-3][0-9])?$", max_length=10)]
_Levels = Annotated[
    Mapping[Annotated[str, Meta(max_length=32)], Annotated[int, Meta(ge=0, le=255)]], Meta(max_length=16)
]


class Floor(Shape, frozen=True, kw_only=True):
    """The lowest firmware that a target leaves alone: of Intel by the date of the TCB level, of AMD by its parts.

    ``levels`` names parts of the reported TCB (``bootloader``, ``tee``, ``snp``, ``microcode``, ``fmc``). A part or a
    date that evidence does not show is below every floor.
    """

    level_date: _Date = ""
    levels: _Levels = field(default_factory=dict)


class Target(Shape, frozen=True, kw_only=True):
    """The machines that are meant: of a TEE, of one generation (AMD's: of one root, ARK), one alone by its platform
    digest (of a PPID or chip id). Empty fields mean all. With a floor only those below it."""

    tee: _Name
    generation: _Name = ""
    platform: Bytes32 | None = None
    floor: Floor | None = None


class Advisory(Shape, frozen=True, kw_only=True):
    """What an issuer states. It counts for jobs that are matched after its hash was anchored on chain, and at
    ``applies_from`` (seconds since 1970 UTC) or later."""

    version: Literal["sealmarket/advisory/1"] = "sealmarket/advisory/1"
    title: Annotated[str, Meta(max_length=200)]
    applies_from: Timestamp
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=1024)]

    def name(self) -> Bytes32:
        """Keccak-256 of the canonical statement."""
        return keccak(self.canonical())

    def digest(self) -> Bytes32:
        """What the issuer signs."""
        return personal_digest(DOMAIN + bytes(self.name()))


class SignedAdvisory(Shape, frozen=True, kw_only=True):
    """A statement with its issuer's signature."""

    advisory: Advisory
    signature: HexBytes

    def issuer(self) -> Address:
        """The account that signed it. Raises :class:`SignatureRefused`."""
        return recover(self.advisory.digest(), self.signature)


class PlatformSeen(Shape, frozen=True, kw_only=True):
    """What a statement is held against: what proven evidence shows of its machine. ``platform``: None if masked."""

    tee: _Name
    generation: _Name = ""
    platform: Bytes32 | None = None
    level_date: _Date = ""
    levels: Mapping[str, int] = field(default_factory=dict)


def counts_from(advisory: Advisory, anchored_at: int) -> int:
    """The first second at which a job is matched under a statement; 0: no job is, since its hash is not anchored.

    ``anchored_at``: the time of the block in which its hash came on chain first, 0 for none. A job that is matched in
    that very second is not under it: its match may stand in the same block, before the anchor.
    """
    return max(advisory.applies_from, anchored_at + 1) if anchored_at else 0


def counts_for(advisory: Advisory, anchored_at: int, matched_at: int) -> bool:
    """Whether a statement counts for a job that was matched at this time."""
    since = counts_from(advisory, anchored_at)
    return since != 0 and matched_at >= since


def touched(seen: PlatformSeen, advisory: Advisory) -> Target | None:
    """The first target of a statement that a machine is, or None."""
    return next((target for target in advisory.targets if _is_meant(seen, target)), None)


def names_one(machines: Iterable[PlatformSeen], advisory: Advisory) -> bool:
    """Whether a statement names one of these machines."""
    return any(touched(machine, advisory) is not None for machine in machines)


def _is_meant(seen: PlatformSeen, target: Target) -> bool:
    if target.tee != seen.tee or target.generation not in ("", seen.generation):
        return False
    if target.platform is not None and target.platform != seen.platform:
        return False
    return target.floor is None or not _reaches(seen, target.floor)


def _reaches(seen: PlatformSeen, floor: Floor) -> bool:
    levels = all(seen.levels.get(part, -1) >= least for part, least in floor.levels.items())
    return levels and (not floor.level_date or seen.level_date >= floor.level_date)
