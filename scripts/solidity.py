"""Compile the contracts again, independently of Hardhat, to compare what is on a chain with these sources.

The compiler's newer pipeline numbers what it reads, so the input has to be the one that was built from: every
contract but the tests, under the names that Hardhat gives them, with the settings of `hardhat.config.js`. A native
compiler is used where py-solc-x finds or can fetch one; otherwise npm's, behind the same command line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts import toolchain
from scripts.toolchain import BUILD, NODE_MODULES, ROOT
from sealmarket.chain.bytecode import CONTRACTS, Compiled, code_of
from sealmarket.operate.verify import CompilerChoice
from sealmarket_enclave.protocol.errors import SealmarketError

OURS, THEIRS = "project/contracts", "npm"
_PREFIX = "@openzeppelin/contracts"
_IMPORT = re.compile(r'^\s*import\b[^;"\']*["\']([^"\']+)["\']\s*;', re.MULTILINE)
WRAPPER = Path(__file__).with_name("solc_stdin.mjs")


class NotCompiled(SealmarketError):
    """The contracts could not be compiled again."""

    def __init__(self, why: str, remedy: str = "run `scripts/setup`, then try again") -> None:
        super().__init__(f"the contracts could not be compiled again: {why}", remedy=remedy)
        self.why = why


def compile_again(choice: CompilerChoice = "auto") -> Compiled:
    """Compile the sources of this repository.

    Raises:
        NotCompiled: no compiler, or sources that do not compile.
    """
    wanted = {
        f"{OURS}/{name}.sol": {
            name: ["evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"],
            "": ["ast"],
        }
        for name in CONTRACTS
    }
    title, given, output = compile_sources(wanted, choice)
    names = _names_of_immutables(output)
    codes = {}
    for name in CONTRACTS:
        made = output["contracts"][f"{OURS}/{name}.sol"][name]["evm"]["deployedBytecode"]
        codes[name] = code_of(made["object"], made.get("immutableReferences", {}), names)
    return Compiled(f"{title} over {len(given['sources'])} sources", codes)


def compile_sources(
    wanted: Mapping[str, Mapping[str, Sequence[str]]], choice: CompilerChoice = "auto"
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Compile with the settings of `hardhat.config.js`; ``wanted`` is the compiler's output selection, by unit.

    Returns:
        The compiler's name, what it was given, and what it answered.

    Raises:
        NotCompiled: no compiler, or sources that do not compile.
    """
    configuration = _configuration()
    given = standard_input(configuration["settings"], wanted)
    version = configuration["version"]
    # py-solc-x keeps compilers in the home directory by default, and fails at import where it cannot.
    os.environ.setdefault("SOLCX_BINARY_PATH", str(BUILD / "solc"))
    (BUILD / "solc").mkdir(parents=True, exist_ok=True)
    from solcx import compile_standard
    from solcx.exceptions import SolcError

    with tempfile.TemporaryDirectory() as folder:
        title, binary = _compiler(choice, version, Path(folder))
        try:
            return f"{title} {version}", given, compile_standard(given, solc_binary=binary)
        except (SolcError, OSError, ValueError) as error:
            raise NotCompiled(str(error).strip()[:2000]) from error


# --- input --------------------------------------------------------------------------------------------------


def standard_input(settings: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, Any]:
    """The compiler's input: what Hardhat gives it, but for the outputs."""
    version = json.loads((NODE_MODULES / _PREFIX / "package.json").read_text())["version"]
    theirs = f"{THEIRS}/{_PREFIX}@{version}"
    sources = dict(sorted(_sources(theirs)))
    return {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {
            **settings,
            "remappings": [f"project/:{_PREFIX}/={theirs}/"],
            "outputSelection": {"*": {"": ["ast"]}, **wanted},
        },
    }


def _sources(theirs: str) -> Iterator[tuple[str, str]]:
    """Every contract but the tests, and what they import from others, each once."""
    folder = ROOT / "contracts"
    waiting = [
        (f"{OURS}/{path.relative_to(folder).as_posix()}", path)
        for path in folder.rglob("*.sol")
        if not path.name.endswith(".t.sol")
    ]
    seen: set[str] = set()
    while waiting:
        name, path = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise NotCompiled(f"{path} cannot be read: {error.strerror}") from error
        yield name, text
        waiting += [_found(imported, name, path, theirs) for imported in _IMPORT.findall(text)]


def _found(imported: str, name: str, path: Path, theirs: str) -> tuple[str, Path]:
    """The unit name and the file behind an import."""
    if imported.startswith("."):
        return os.path.normpath(f"{Path(name).parent.as_posix()}/{imported}"), path.parent / imported
    rest = imported.removeprefix(f"{_PREFIX}/")
    if rest == imported:
        raise NotCompiled(f"{path} imports {imported}, which is neither ours nor of {_PREFIX}")
    return f"{theirs}/{rest}", NODE_MODULES / imported


def _configuration() -> dict[str, Any]:
    """Version and settings of `hardhat.config.js`, as Node reads it: the only file that states them."""
    script = (
        'import config from "./hardhat.config.js"; const [one] = config.solidity.compilers;'
        "console.log(JSON.stringify({version: one.version, settings: one.settings}));"
    )
    command = [str(toolchain.node().node), "--input-type=module", "--eval", script]
    done = subprocess.run(
        command, cwd=ROOT, env=toolchain.node_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise NotCompiled(f"hardhat.config.js cannot be read: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- compiler -----------------------------------------------------------------------------------------------


def _compiler(choice: CompilerChoice, version: str, folder: Path) -> tuple[str, Path]:
    """A title for people, and a program with a native compiler's command line."""
    if choice in ("auto", "native"):
        try:
            return "native solc", _native(version)
        except NotCompiled:
            if choice == "native":
                raise
    package = NODE_MODULES / "solc"
    if not (package / "soljson.js").is_file():
        raise NotCompiled(f"{package} has no compiler")
    program = folder / "solc"
    command = " ".join(f"'{part}'" for part in (str(toolchain.node().node), str(WRAPPER), str(package)))
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o700)
    return "npm's solc", program


def _native(version: str) -> Path:
    """The compiler that py-solc-x has, or can fetch with its hash checked."""
    import requests
    import solcx
    from solcx.exceptions import SolcInstallationError

    try:
        solcx.install_solc(version)
        return Path(solcx.install.get_executable(version))
    except (SolcInstallationError, requests.RequestException, OSError, ValueError) as error:
        remedy = "leave the choice to `auto`: npm's compiler gives the same code"
        raise NotCompiled(f"no native solc {version} is available: {error}", remedy) from error


# --- output -------------------------------------------------------------------------------------------------


def _names_of_immutables(output: Mapping[str, Any]) -> dict[str, str]:
    """Number in the syntax tree -> name of the variable."""
    found = {}
    for source in output["sources"].values():
        for contract in source["ast"]["nodes"]:
            for part in contract.get("nodes", ()):
                if part.get("mutability") == "immutable":
                    found[str(part["id"])] = str(part["name"])
    return found
