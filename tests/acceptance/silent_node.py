"""An oracle node with real keys that decides honestly and then neither releases nor promises anything.

``python -m tests.acceptance.silent_node --config node.toml``: the real node's program, one function of it replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sealmarket_oracle import releasing
from sealmarket_oracle.gate.inputs import Defer
from sealmarket_oracle.main import serve


def _silence(*_arguments: object) -> Defer:
    return Defer("silent")


if __name__ == "__main__":
    pytest.MonkeyPatch().setattr(releasing, "judge", _silence)  # fails if the node does it elsewhere
    serve(Path(sys.argv[sys.argv.index("--config") + 1]))
