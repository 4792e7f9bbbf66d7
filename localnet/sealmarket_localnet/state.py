"""The folder of a local market that is kept: what lies where, and which processes run.

localnet.json     the chain's port, and until when the provider's offer stands
chain.json        the chain, after its last block
running.json      the processes, while they run
lock              held by the process that keeps them (:mod:`keeper`)
market/           the address book, keys, and each party's own state
logs/             one file for each process
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from sealmarket.private_files import replace_private
from sealmarket.serving.lock import LOCK_FILE
from sealmarket_enclave.protocol.codec import Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_localnet.processes import free_port


class LocalnetRefused(SealmarketError):
    """The local market is not in the state that was asked for."""

    def __init__(self, folder: Path, found: str, remedy: str) -> None:
        super().__init__(f"the local market in {folder} {found}", remedy=remedy)
        self.folder, self.found = folder, found


class Kept(Shape, frozen=True, kw_only=True):
    """What the keeper has to know of the last time."""

    chain_port: int
    offered_until: int = 0
    """Chain time, in seconds since 1970, until which the provider's offer stands."""


class Running(Shape, frozen=True, kw_only=True):
    """What runs, for those who ask."""

    keeper: int
    rpc: str
    backend: str
    processes: dict[str, int]
    """Process ids by party."""


def default_folder() -> Path:
    """``$XDG_DATA_HOME/sealmarket/localnet``, or below ``~/.local/share``."""
    named = os.environ.get("XDG_DATA_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "share"
    return base / "sealmarket" / "localnet"


class Folder:
    """The files of one local market."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.chain, self.logs, self.market = (self.path / name for name in ("chain.json", "logs", "market"))
        self.book = self.market / "market.json"
        self.keeper_log = self.logs / "keeper.log"
        self._kept, self._running = self.path / "localnet.json", self.path / "running.json"

    def exists(self) -> bool:
        """Whether a market was made here: one whose making was cut off counts as none."""
        return self.book.exists() and self.chain.exists() and self._kept.exists()

    def make_anew(self) -> Kept:
        """Remove what a making that was cut off has left, and choose the chain's port."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self.market, ignore_errors=True)
        self.chain.unlink(missing_ok=True)
        kept = Kept(chain_port=free_port())
        self.keep(kept)
        return kept

    def kept(self) -> Kept:
        """Raises :class:`LocalnetRefused` for a file that is damaged."""
        try:
            return decode(Kept, self._kept.read_bytes())
        except (OSError, MalformedDocument) as error:
            raise LocalnetRefused(
                self.path, f"cannot be read: {error}", "delete it: `sealmarket localnet down --delete`"
            ) from error

    def keep(self, kept: Kept) -> None:
        """Write it down."""
        replace_private(self._kept, kept.canonical())

    def report(self, running: Running | None) -> None:
        """Say what runs; None: nothing does."""
        if running is None:
            self._running.unlink(missing_ok=True)
        else:
            replace_private(self._running, running.canonical())

    def reported(self) -> Running | None:
        """What was said last; what it names may have been killed since."""
        try:
            return decode(Running, self._running.read_bytes())
        except (OSError, MalformedDocument):
            return None

    def keeper(self) -> int | None:
        """The process that keeps this market now; the kernel knows, whatever files say."""
        try:
            handle = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 20, 0).decode("ascii", "replace")
            return int(text) if text.isdecimal() else None
        finally:
            os.close(handle)
        return None

    def delete(self) -> None:
        """Remove everything, keys included; only what this program made."""
        for part in (self.market, self.logs):
            shutil.rmtree(part, ignore_errors=True)
        for file in (self.chain, self._kept, self._running, self.path / LOCK_FILE):
            file.unlink(missing_ok=True)
        for rest in self.path.glob(".chain.json.*"):
            rest.unlink()
        if not any(self.path.iterdir()):
            self.path.rmdir()
