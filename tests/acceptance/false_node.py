"""An oracle node with real keys that decides honestly and releases false shares.

``python -m tests.acceptance.false_node --config node.toml``: the real node's program, one function of it replaced.
"""

from __future__ import annotations

import secrets
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sealmarket_enclave.sealed.shares import Share
from sealmarket_oracle import release
from sealmarket_oracle.gate.document_rules import open_own_share
from sealmarket_oracle.main import serve


def _false_share(*arguments: object) -> Share:
    """Another value under the right index: only the enclave's check against the commitment can tell."""
    share: Share = open_own_share(*arguments)  # type: ignore[arg-type]
    return replace(share, value=secrets.token_bytes(len(share.value)))


if __name__ == "__main__":
    pytest.MonkeyPatch().setattr(release, "open_own_share", _false_share)  # fails if the node does it elsewhere
    serve(Path(sys.argv[sys.argv.index("--config") + 1]))
