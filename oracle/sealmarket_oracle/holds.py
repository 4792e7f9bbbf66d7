"""What an operator holds back: machines to which this node gives nothing from now on, because its operator says so.

1. A hold is a statement about platforms in a file (``holds/*.json`` in the state folder). It needs no signature, and
   its ``appliesFrom`` is not looked at: it is about the operator's own node, and no decision.
2. A job whose proven evidence is of a machine that a hold names is not accepted, no share is released for it, a release
   that was promised before is not served, and no renewal is signed for a service on it. Refusals and promises to stop
   go on.
3. A file that is no statement, or one of whose targets names no machine by a slip, and a folder that is there and
   cannot be listed end every decision until that is mended: what it meant to stop might pass. Each look reads anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from sealmarket.advisory_file import AdvisoryRefused, read_advisory
from sealmarket.protocol.advisories import Advisory, PlatformSeen, names_one
from sealmarket_oracle.advisory_files import AdvisoryFolder, require_meant

_log = logging.getLogger("sealmarket.oracle")


class Holds:
    """The holds of one node. One thread calls :meth:`look`, any the rest."""

    def __init__(self, folder: Path) -> None:
        self._folder = AdvisoryFolder(folder)
        self.statements: tuple[Advisory, ...] = ()
        self._unread = "the operator's holds are not read yet"
        """Why nothing is known of the folder, and so nothing is given to any machine; empty once it is read."""

    def look(self) -> None:
        """Read the folder, if it changed.

        Raises:
            AdvisoriesRefused, AdvisoriesUnlisted: there are more statements than are read, or none can be listed.
            AdvisoryRefused: a file is no statement, means no machine by a slip, or cannot be read.
        """
        try:
            if (files := self._folder.changed()) is None:
                return
            found = {statement.name(): statement for statement in map(_read, files)}
        except Exception:
            self._unread = "the operator's holds do not read"
            self._folder.forget()
            raise
        for name in found.keys() - {statement.name() for statement in self.statements}:
            _log.warning("hold %s: nothing is given to the machines that it names: %s", name, found[name].title)
        self.statements = tuple(found.values())
        self._unread = ""  # after the statements: a thread that finds it empty finds them
        self._folder.done()

    @property
    def unread(self) -> str:
        """Why nothing is given to any machine; empty where the folder is read."""
        return self._unread

    def names(self, machines: Iterable[PlatformSeen]) -> str | None:
        """Why nothing may be given to one of these machines, without which one it is; None where no hold names any."""
        if self._unread:
            return self._unread
        seen = tuple(machines)
        held = next((one for one in self.statements if names_one(seen, one)), None)
        return None if held is None else f"the operator holds platforms back by statement {held.name()}: {held.title}"


def _read(path: Path) -> Advisory:
    try:
        statement = read_advisory(path)
    except OSError as error:
        raise AdvisoryRefused(path, f"it cannot be read: {error.strerror}") from error
    require_meant(path, statement)
    return statement
