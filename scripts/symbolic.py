"""The arithmetic of the contracts for every value: Halmos over `contracts/testing/Arithmetic.sol`.

    python -m scripts.symbolic              every check
    python -m scripts.symbolic --function check_a_claim_empties_one_counter

Halmos reads what `forge build` leaves. The compiler here is npm's, so this writes the same files from its answer and
lets Halmos find them built. Halmos itself is installed by hash into `build/symbolic`, apart from everything else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts import solidity
from scripts.isolated import install
from scripts.toolchain import BUILD, ROOT

LOCK = ROOT / "requirements" / "symbolic.txt"
HOME = BUILD / "symbolic"
UNIT = f"{solidity.OURS}/testing/Arithmetic.sol"
NAME = "Arithmetic"
MOST_MEMBERS = 12
"""Times that a loop is unrolled: once more than a committee has members."""
DECIDED_WITHIN = 1200
"""Seconds for one question to the solver: a product of two unknowns takes minutes of a free processor."""


def write_forge_output(folder: Path) -> None:
    """Leave in ``folder`` what `forge build` would: `out/Arithmetic.sol/Arithmetic.json`. Raises NotCompiled."""
    outputs = ["abi", "metadata", "storageLayout", "evm.bytecode", "evm.deployedBytecode", "evm.methodIdentifiers"]
    _, _, answer = solidity.compile_sources({UNIT: {NAME: outputs, "": ["ast"]}})
    made = answer["contracts"][UNIT][NAME]
    source = answer["sources"][UNIT]
    document = {
        "abi": made["abi"],
        "bytecode": _code(made["evm"]["bytecode"]),
        "deployedBytecode": _code(made["evm"]["deployedBytecode"]),
        "methodIdentifiers": made["evm"]["methodIdentifiers"],
        "metadata": json.loads(made["metadata"]),
        "storageLayout": made["storageLayout"],
        "ast": source["ast"],
        "id": source["id"],
    }
    target = folder / "out" / f"{NAME}.sol"
    target.mkdir(parents=True)
    (target / f"{NAME}.json").write_text(json.dumps(document))


def _code(made: dict[str, Any]) -> dict[str, Any]:
    return {
        "object": f"0x{made['object']}",
        "sourceMap": made["sourceMap"],
        "linkReferences": made["linkReferences"],
        "immutableReferences": made.get("immutableReferences", {}),
    }


def main(arguments: Sequence[str]) -> int:
    """Run the checks; 1 when one has a counterexample or was not decided."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--function", default="check_", help="which, by how its name begins")
    chosen = parser.parse_args(arguments)
    program = install(LOCK, HOME) / "halmos"
    with tempfile.TemporaryDirectory(prefix="sealmarket-symbolic-") as name:
        folder = Path(name)
        write_forge_output(folder)
        built = folder / "bin" / "forge"
        built.parent.mkdir()
        built.write_text("#!/bin/sh\nexit 0\n")
        built.chmod(0o700)
        # The solver is installed beside Halmos, which looks for it on the path and fetches it where it is not there.
        path = os.pathsep.join((str(built.parent), str(program.parent), os.environ["PATH"]))
        command = [str(program), "--root", str(folder), "--contract", NAME, "--function", chosen.function]
        bounds = ["--loop", str(MOST_MEMBERS), "--solver-timeout-assertion", f"{DECIDED_WITHIN}s"]
        return subprocess.run([*command, *bounds], env=os.environ | {"PATH": path}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
