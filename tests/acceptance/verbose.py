"""``python -m tests.acceptance.verbose MODULE …``: a party's program, every logger at its chattiest."""

from __future__ import annotations

import logging
import runpy
import sys

if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    logging.basicConfig = lambda **_: None
    logging.Logger.setLevel = lambda self, _level: None  # type: ignore[method-assign,assignment]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
