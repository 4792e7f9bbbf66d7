"""Statements about platforms as files: how an operator's folder of them is read, and how an issuer signs one."""

from __future__ import annotations

from pathlib import Path

import coincurve

from sealmarket.advisory_file import AdvisoryRefused
from sealmarket.attestation.registry import MODULES
from sealmarket.files import read_file
from sealmarket.protocol.advisories import MAXIMUM_ADVISORY, PARTS, Advisory, SignedAdvisory, Target
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.protocol.signing import sign
from sealmarket_oracle.errors import AdvisoriesRefused, AdvisoriesUnlisted

MOST_ADVISORIES = 256
"""Files that are read. With more a node decides nothing: one that is left out would let its machines pass."""
_GENERATIONS = {
    Tee.SNP.slug: ("Milan", "Genoa", "Bergamo/Siena", "Turin"),
    Tee.NVIDIA.slug: ("Hopper", "Blackwell", "NVSwitch"),
}
"""Which generations evidence of a TEE shows, as it spells them."""
_State = tuple[str, int, int, int]
"""Name, time of the last change of content or mode, size, mode."""


class AdvisoryFolder:
    """The files ``*.json`` of a folder, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[_State, ...] | None = None
        self._found: tuple[_State, ...] = ()

    def changed(self) -> list[Path] | None:
        """Its files by name, where one changed since :meth:`done` was called; else None.

        Raises:
            AdvisoriesUnlisted: it is there, and its names cannot be read: what they mean must not pass for nothing.
            AdvisoriesRefused: there are more than :data:`MOST_ADVISORIES`: none is left out in silence.
        """
        files = sorted(path for path in self._all() if path.name.endswith(".json"))
        if len(files) > MOST_ADVISORIES:
            raise AdvisoriesRefused(self.path, len(files), MOST_ADVISORIES)
        self._found = tuple(map(_state_of, files))
        return None if self._found == self._read else files

    def done(self) -> None:
        """What :meth:`changed` found last is read, and need not be read again."""
        self._read = self._found

    def forget(self) -> None:
        """What was read before does not stand any more: the next :meth:`changed` gives all files, changed or not."""
        self._read = None

    def _all(self) -> list[Path]:
        try:
            return list(self.path.iterdir())
        except FileNotFoundError as error:
            if self.path.is_symlink():
                raise AdvisoriesUnlisted(self.path, error) from error
            return []
        except OSError as error:
            raise AdvisoriesUnlisted(self.path, error) from error


def _state_of(path: Path) -> _State:
    """What changes with a file and with who may read it; of one that is gone by now, its name alone."""
    try:
        found = path.stat()
    except OSError:
        return path.name, 0, 0, 0
    return path.name, found.st_ctime_ns, found.st_size, found.st_mode


def sign_advisory(path: Path, key: coincurve.PrivateKey) -> SignedAdvisory:
    """Sign the statement in a file.

    Raises:
        AdvisoryRefused: it is none, or a target of it is :func:`mistaken`.
        OSError: the file cannot be read.
    """
    try:
        advisory = decode(Advisory, read_file(path, MAXIMUM_ADVISORY))
    except MalformedDocument as error:
        raise AdvisoryRefused(path, error.message) from error
    require_meant(path, advisory)
    return SignedAdvisory(advisory=advisory, signature=sign(advisory.digest(), key))


def require_meant(path: Path, advisory: Advisory) -> None:
    """Refuse the statement in a file if a target of it is :func:`mistaken`. Raises :class:`AdvisoryRefused`."""
    for number, target in enumerate(advisory.targets):
        if (why := mistaken(target)) is not None:
            raise AdvisoryRefused(path, f"target {number}: {why}")


def mistaken(target: Target) -> str | None:
    """Why a target means no machine at all, or all of its TEE by a floor that no evidence reaches; None for others."""
    tees, floor = [tee.slug for tee in MODULES], target.floor
    if target.tee not in tees:
        return f"tee is {target.tee!r}, expected one of {', '.join(tees)}"
    known = _GENERATIONS.get(target.tee, ())
    if target.generation and target.generation not in known:
        expected = f"one of {', '.join(known)}" if known else "none: this TEE's evidence shows none"
        return f"generation is {target.generation!r}, expected {expected}"
    if floor is None:
        return None
    if not floor.levels and not floor.level_date:
        return "a floor that names nothing, below which no machine is: leave it out to mean all"
    if floor.levels and target.tee != Tee.SNP.slug:
        return f"a floor of levels for {target.tee}, whose evidence shows none: name levelDate, or snp"
    if unknown := sorted(set(floor.levels) - set(PARTS)):
        return f"a floor of {unknown[0]!r}, expected parts out of {', '.join(PARTS)}"
    if floor.level_date and target.tee not in (Tee.SGX.slug, Tee.TDX.slug):
        return f"a levelDate for {target.tee}, whose evidence shows none: name levels"
    return None
