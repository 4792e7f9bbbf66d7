"""Stands in a workload's place in the sandbox of a local run, and tells what an enclave would not.

The local run copies this file into its private copy of the bundle, beside ``sealmarket_trial.json``, which holds
``entry_point``, ``report`` and ``outputs`` (``max_bytes`` by name). Beside the workload's outputs it returns the
report: one JSON file with the failure's kind and text, what was returned by name and size, and the end of what was
printed. The data is the user's own, so its text may be shown. Standard library only.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import traceback
from pathlib import Path
from typing import Any

SETTINGS = "sealmarket_trial.json"
_SHOWN_CHARACTERS = 16_384
_SHOWN_NAMES = 256


class _Tail(io.TextIOBase):
    """Keeps the end of what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def write(self, text: str, /) -> int:
        self.text = (self.text + text)[-_SHOWN_CHARACTERS:]
        return len(text)


class _Stand:
    """The workload, loaded or with the reason why it did not load."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._report, self._declared = settings["report"], settings["outputs"]
        self._printed = _Tail()
        self._entry, self._failure = None, ("", "")
        sys.stdout = sys.stderr = self._printed
        module, _, function = settings["entry_point"].partition(":")
        try:
            self._entry = getattr(importlib.import_module(module), function)
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001 - reported, as the sandbox reports its kind
            self._failure = ("not_loaded", _text(error))

    def run(self, inputs: Any, parameters: Any) -> dict[str, bytes]:
        """What the workload returns, and the report; the report alone where nothing would leave."""
        if self._entry is None:
            return self._reported({}, {}, *self._failure)
        try:
            returned = self._entry(inputs, parameters)
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001 - reported, as the sandbox reports its kind
            return self._reported({}, {}, "raised", _text(error))
        try:
            outputs = {str(name): bytes(memoryview(returned[name])) for name in sorted(returned)}
        except MemoryError:
            raise
        except BaseException as error:  # noqa: BLE001 - reported, as the sandbox reports its kind
            return self._reported({}, {}, "output_invalid", _text(error))
        sizes = {name[:100]: len(data) for name, data in list(outputs.items())[:_SHOWN_NAMES]}
        if not all(name in self._declared and len(data) <= self._declared[name] for name, data in outputs.items()):
            outputs = {}
        return self._reported(outputs, sizes, "", "")

    def _reported(self, outputs: dict[str, bytes], sizes: dict[str, int], kind: str, text: str) -> dict[str, bytes]:
        report = {"kind": kind, "printed": self._printed.text, "returned": sizes, "text": text}
        # Lone surrogates are no text that JSON's readers take.
        spelled = json.dumps(report, ensure_ascii=False).encode("utf-8", "replace")
        return outputs | {self._report: spelled}


def _text(error: BaseException) -> str:
    """The traceback, without the frames of this file."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))[-_SHOWN_CHARACTERS:]


if Path(__file__).with_name(SETTINGS).exists():
    run = _Stand(json.loads(Path(__file__).with_name(SETTINGS).read_text(encoding="utf-8"))).run
