"""`scripts/bench NAME [option …]`: run one measurement; `scripts/bench` alone lists them."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path


def described() -> dict[str, str]:
    """Name of each measurement -> the first line of its docstring, read without importing it."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        documentation = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.stem.replace("_", "-")] = documentation.partition("\n")[0]
    return found


def main(arguments: Sequence[str]) -> int:
    """Run the measurement that was named; its exit status, or 2 when there is none of that name."""
    known = described()
    if arguments and arguments[0] in known:
        module = importlib.import_module(f"scripts.benchmarks.{arguments[0].replace('-', '_')}")
        status: int = module.main(list(arguments[1:]))
        return status
    asked = not arguments or arguments[0] in {"-h", "--help"}
    if not asked:
        print(f"no measurement is named {arguments[0]}; there are:", file=sys.stderr)
    else:
        print("usage: scripts/bench NAME [--json] [option of NAME ...]; `scripts/bench NAME --help` says which\n")
    for name, description in known.items():
        print(f"{name:16} {description}", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
