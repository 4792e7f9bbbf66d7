"""Compare a market on a chain with these sources, compiled again: `scripts/verify_deployment`."""

from __future__ import annotations

import sys

from scripts import solidity
from sealmarket.operate import verify

if __name__ == "__main__":
    sys.exit(verify.main(sys.argv[1:], solidity.compile_again))
