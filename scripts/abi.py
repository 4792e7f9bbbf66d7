"""The contracts' ABIs as the Python library carries them: `sealmarket/chain/abi/NAME.json`.

Each file holds `{"abi": […], "bytecode": "0x…", "deployedBytecode": "0x…"}`, canonical (sorted keys, no
spaces), with the places of immutable values and linked libraries, if any; interfaces have no code.
Tests, mocks, abstract parts and the libraries of others are left out.

The bytecode of the optimizer's newer pipeline depends on which files are compiled together, so an incremental
build may differ from a whole one. The export therefore builds everything from nothing, in a folder of its own,
whenever a source changed: what it writes depends on the tree alone.

    scripts/export_abi            write them
    scripts/export_abi --check    compare, and fail when a file is missing, old or left over
    scripts/export_abi --test     run the Solidity tests against this same build
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts import toolchain
from scripts.toolchain import BUILD, ROOT

BUILT = BUILD / "export"
ARTIFACTS = BUILT / "artifacts" / "contracts"
BUILT_FROM = BUILT / "sources.sha256"
EXPORTED = ROOT / "sealmarket" / "chain" / "abi"
NOT_OURS_TO_DEPLOY = {"mocks", "test", "testing", "tests"}


def exported(artifacts: Path = ARTIFACTS) -> dict[str, str]:
    """What the files should hold: name of the contract -> canonical JSON, from Hardhat's artifacts."""
    files: dict[str, str] = {}
    for path in sorted(artifacts.rglob("*.json")):
        folders = path.relative_to(artifacts).parts[:-1]
        if NOT_OURS_TO_DEPLOY & set(folders) or folders[-1].endswith(".t.sol"):
            continue
        artifact = json.loads(path.read_text())
        # An abstract part of a contract is neither deployed nor called by its name.
        if artifact["abi"] and (artifact["bytecode"] != "0x" or "interfaces" in folders):
            if artifact["contractName"] in files:
                raise SystemExit(f"two contracts are named {artifact['contractName']}: {path.relative_to(ROOT)}")
            files[artifact["contractName"]] = _canonical(artifact, _promised(path, artifacts))
    return files


def _promised(path: Path, artifacts: Path) -> list[dict[str, Any]]:
    """The entries of the contract's own interface, if it has one: what it answers by way of another's code too."""
    interface = artifacts / "interfaces" / f"I{path.stem}.sol" / f"I{path.stem}.json"
    return json.loads(interface.read_text())["abi"] if interface.is_file() else []


def _canonical(artifact: dict[str, Any], promised: list[dict[str, Any]]) -> str:
    entries = [_without_names_of_types(entry) for entry in (*artifact["abi"], *promised)]
    apart = {json.dumps(entry, sort_keys=True): entry for entry in entries}
    document = {"abi": [entry for _, entry in sorted(apart.items())]}
    for name in ("bytecode", "deployedBytecode"):
        if artifact[name] != "0x":
            document[name] = artifact[name]
    for name in ("linkReferences", "deployedLinkReferences", "immutableReferences"):
        if artifact.get(name):
            document[name] = artifact[name]
    return json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"


def _without_names_of_types(value: Any) -> Any:
    """An ABI entry without `internalType`, which names Solidity's types and says nothing about the bytes."""
    if isinstance(value, dict):
        return {key: _without_names_of_types(inner) for key, inner in value.items() if key != "internalType"}
    return [_without_names_of_types(inner) for inner in value] if isinstance(value, list) else value


def differences(wanted: dict[str, str], folder: Path = EXPORTED) -> list[str]:
    """How the folder differs from what it should hold, one sentence each."""
    found = {path.stem: path.read_text() for path in folder.glob("*.json")}
    said = [f"{name}.json is missing" for name in sorted(wanted.keys() - found.keys())]
    said += [f"{name}.json is left over: no such contract" for name in sorted(found.keys() - wanted.keys())]
    both = sorted(wanted.keys() & found.keys())
    return said + [f"{name}.json is not what the contract says" for name in both if wanted[name] != found[name]]


def write(wanted: dict[str, str], folder: Path = EXPORTED) -> None:
    """Make the folder hold exactly this."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.stem not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / f"{name}.json").write_text(text)


def build() -> None:
    """Compile everything, unless the last build was of the same sources; the compiler says what is wrong."""
    with _alone():
        sources = _digest_of_sources()
        if BUILT_FROM.exists() and BUILT_FROM.read_text() == sources:
            return
        shutil.rmtree(BUILT, ignore_errors=True)
        if _hardhat("build", "--quiet", "--no-tests") != 0:
            raise SystemExit("the contracts do not compile; nothing was exported or compared")
        # Sources edited while the compiler ran are for the next build.
        BUILT_FROM.write_text(sources)


def built(source: str, name: str) -> dict[str, Any] | None:
    """The artifact of one contract (``source``: its file under `contracts`), once a build that runs has ended.

    None where none was built: this builds nothing.
    """
    with _alone():
        path = ARTIFACTS / source / f"{name}.json"
        return json.loads(path.read_text()) if BUILT_FROM.exists() and path.is_file() else None


@contextmanager
def _alone() -> Iterator[None]:
    """One process builds at a time, and none reads what is half built; a process that ends lets the others in."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "export.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hardhat(*arguments: str) -> int:
    """Run Hardhat over the build; its exit status."""
    command = toolchain.hardhat_command(*arguments)
    environment = toolchain.node_environment() | {"SEALMARKET_BUILD_FOLDER": str(BUILT)}
    return subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def _digest_of_sources() -> str:
    contracts = sorted(path for path in (ROOT / "contracts").rglob("*.sol") if not path.name.endswith(".t.sol"))
    digest = hashlib.sha256()
    for path in [ROOT / "hardhat.config.js", ROOT / "package-lock.json", *contracts]:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def main(arguments: list[str]) -> int:
    """Export or compare; 1 when the comparison fails."""
    parser = argparse.ArgumentParser(prog="scripts/export_abi", description="Export the contracts' ABIs.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--test", action="store_true", help="run the Solidity tests against the same build")
    options = parser.parse_args(arguments)
    build()
    if options.test:
        return _hardhat("test", "solidity")
    wanted = exported()
    if not options.check:
        write(wanted)
        print(f"wrote {len(wanted)} files to {EXPORTED.relative_to(ROOT)}")
        return 0
    said = differences(wanted)
    for line in said:
        print(line)
    print("run scripts/export_abi" if said else f"{len(wanted)} ABIs are as the contracts say")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
