"""Stands in a served workload's place in the sandbox of a local session, and says what an enclave would not.

The local session copies this file into its private copy of the bundle, beside ``sealmarket_trial.json``, which holds
``entry_point``. Where the workload raises, this ends the request under way, or the next one, with the text of the
error. The data is the user's own, so its text may be shown. Standard library only.
"""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SETTINGS = "sealmarket_trial.json"
FAILED = "sealmarket.trial"
"""The name in ``engine`` under which an answer that failed has the text of its error."""
_SHOWN_BYTES = 8192
"""Of that text in JSON: what ends a request is bounded by the sandbox."""


class _Watched:
    """A session that remembers the request under way."""

    def __init__(self, session: Any) -> None:
        self._session: Any = session
        self.current: Any = None
        self.inputs: Mapping[str, memoryview] = session.inputs
        self.parameters: Mapping[str, Any] = session.parameters

    def path(self, name: str) -> str:
        """As the session's own."""
        return str(self._session.path(name))

    def requests(self) -> Iterator[Any]:
        """As the session's own."""
        for request in self._session.requests():
            self.current = request
            yield request


def serve(session: Any) -> None:
    """Serve as the workload does, until it raises; then say what it raised."""
    watched = _Watched(session)
    try:
        module, _, function = json.loads(Path(__file__).with_name(SETTINGS).read_text(encoding="utf-8"))[
            "entry_point"
        ].partition(":")
        getattr(importlib.import_module(module), function)(watched)
        text = "the entry point returned while requests could come"
    except BaseException as error:  # noqa: BLE001 - reported, as the sandbox reports its kind
        text = "".join(traceback.format_exception(error))
    request = watched.current
    if request is None or request.over:
        request = next(session.requests())
    shown = text.encode("utf-8", "replace").decode()[-_SHOWN_BYTES:]
    while len(json.dumps(shown)) > _SHOWN_BYTES:
        shown = shown[len(shown) // 8 + 1 :]
    request.done(0, 0, {FAILED: shown})
