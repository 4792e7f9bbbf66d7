"""Everything that is wrong with a workload's folder, at once. No line of the workload runs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealmarket.workloads.errors import LockRefused
from sealmarket.workloads.folders import read_files
from sealmarket.workloads.measure import Measured, measure
from sealmarket.workloads.resolve import pins, requirements
from sealmarket.workloads.strays import strays
from sealmarket_enclave.protocol.codec import decode_canonical
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.workload.bundle import CODE, ENVIRONMENT, LOCK, MANIFEST, BundleFile, bundle_of
from sealmarket_enclave.workload.environment import Environment, Interpreter
from sealmarket_enclave.workload.manifest import Manifest, parse_manifest

_LOCK_AGAIN = "run `sealmarket workload lock`"
Files = Mapping[str, BundleFile]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what, and what to do."""

    path: str
    found: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Findings, empty for a sound bundle, and then its digest."""

    findings: tuple[Finding, ...]
    measured: Measured | None


def check(directory: Path, keep: Collection[str] = ()) -> Checked:
    """Hold a folder against every rule of a bundle. ``keep`` names paths that look stray and are meant."""
    found = [
        Finding(_shown(stray.path), stray.what, "move it out of the folder, or say --keep if the workload reads it")
        for stray in strays(directory, keep)
    ]
    if found:
        # A folder of a thousand strays says nothing useful about its other files.
        return Checked(tuple(found), None)
    try:
        files = read_files(directory)
    except SealmarketError as error:
        return Checked((_of_error(str(directory), error),), None)
    found = [*_manifest(files), *_lock(files), *_environment(files)]
    if found:
        return Checked(tuple(found), None)
    return Checked((), measure(bundle_of(dict(files))))


def _shown(path: str) -> str:
    """A path without characters that a terminal obeys or that are no text."""
    return path if path.isprintable() else ascii(path)


def _of_error(path: str, error: SealmarketError) -> Finding:
    return Finding(path, error.message, error.remedy)


def _manifest(files: Files) -> Iterator[Finding]:
    """The manifest, and the code that it names."""
    if MANIFEST not in files:
        yield Finding(MANIFEST, "missing", "write one, or start with `sealmarket workload new`")
        return
    try:
        manifest = parse_manifest(files[MANIFEST].data)
    except SealmarketError as error:
        yield _of_error(MANIFEST, error)
        return
    trees: dict[str, ast.Module] = {}
    for path, file in files.items():
        if path.endswith(".py"):
            try:
                trees[path] = ast.parse(file.data, path)
            except (SyntaxError, ValueError) as error:
                line = getattr(error, "lineno", None) or 1
                yield Finding(f"{path}:{line}", "it does not parse as Python", "mend the syntax")
    yield from _entry_point(manifest, files, trees)
    yield from _imports(files, trees)


def _entry_point(manifest: Manifest, files: Files, trees: Mapping[str, ast.Module]) -> Iterator[Finding]:
    module, _, name = manifest.entry_point.partition(":")
    path = next((p for p in _places(module) if p in files), None)
    if path is None:
        yield Finding(f"{CODE}/{module.replace('.', '/')}.py", "missing", "entry_point in workload.toml names it")
        return
    count, taken = (1, "session") if manifest.kind == "session" else (2, "inputs, parameters")
    defined = {bound: node for node in (trees[path].body if path in trees else []) for bound in _bound(node)}
    if path in trees and name not in defined:
        yield Finding(path, f"it defines no {name}", f"write def {name}({taken}), as entry_point says")
    node = defined.get(name)
    if isinstance(node, ast.FunctionDef) and not _takes(count, node.args):
        what = f"{name} does not take {'one argument' if count == 1 else 'two arguments'}"
        yield Finding(f"{path}:{node.lineno}", what, f"write ({taken})")
    if isinstance(node, ast.AsyncFunctionDef):
        yield Finding(f"{path}:{node.lineno}", f"{name} is asynchronous", "write a plain function")


def _places(module: str) -> tuple[str, str]:
    path = f"{CODE}/{module.replace('.', '/')}"
    return f"{path}.py", f"{path}/__init__.py"


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _takes(count: int, arguments: ast.arguments) -> bool:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    needs_names = any(default is None for default in arguments.kw_defaults)
    return required <= count and (len(positional) >= count or arguments.vararg is not None) and not needs_names


def _imports(files: Files, trees: Mapping[str, ast.Module]) -> Iterator[Finding]:
    """What is imported when a module loads, and neither the standard library, the bundle nor the lock brings."""
    if ENVIRONMENT not in files:
        return
    try:
        environment = decode_canonical(Environment, files[ENVIRONMENT].data)
    except SealmarketError:
        return  # _environment() says so
    own = {path.removeprefix(f"{CODE}/").partition("/")[0] for path in files if path.startswith(f"{CODE}/")}
    brought = {path.partition("/")[0] for path in environment.files()}
    known = {name.partition(".")[0] for name in own | brought} | sys.stdlib_module_names
    for path, tree in sorted(trees.items()):
        for node in tree.body:
            for name in _imported(node):
                if path.startswith(f"{CODE}/") and name not in known:
                    yield Finding(
                        f"{path}:{node.lineno}",
                        f"it imports {name}, which no locked wheel brings",
                        f"name its package in requirements.in and {_LOCK_AGAIN}",
                    )


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    return []


def _lock(files: Files) -> Iterator[Finding]:
    """Each requirement is pinned with a hash, and no address is named."""
    if LOCK not in files:
        yield Finding(LOCK, "missing", _LOCK_AGAIN)
        return
    text = files[LOCK].data.decode("utf-8", "replace")
    found = list(_unpinned(text))
    yield from found
    if not found:
        try:
            list(pins(text))
        except LockRefused as error:
            yield _of_error(LOCK, error)


def _unpinned(text: str) -> Iterator[Finding]:
    for line in requirements(text.replace("\\\n", " ")):
        pin = line.partition(";")[0].partition(" ")[0]
        if line.startswith("-") or "://" in line:
            yield Finding(LOCK, f"{line[:60]!r} is an option or an address", "keep nothing but pinned packages in it")
        elif "==" not in pin or "--hash=sha256:" not in line:
            yield Finding(LOCK, f"{pin[:60]!r} is not pinned with == and a SHA-256", _LOCK_AGAIN)


def _environment(files: Files) -> Iterator[Finding]:
    """``environment.json`` is there, of this lock, and for this interpreter."""
    if ENVIRONMENT not in files:
        yield Finding(ENVIRONMENT, "missing: the workload is not locked for an interpreter", _LOCK_AGAIN)
        return
    try:
        environment = decode_canonical(Environment, files[ENVIRONMENT].data)
        environment.files()
    except SealmarketError as error:
        yield _of_error(ENVIRONMENT, error)
        return
    locked = files[LOCK].data if LOCK in files else b""
    for wheel in environment.wheels:
        if f"--hash=sha256:{wheel.sha256.hex()}".encode() not in locked:
            yield Finding(ENVIRONMENT, f"{wheel.filename} is not of requirements.lock", _LOCK_AGAIN)
    if environment.interpreter != (current := Interpreter.current()):
        found = f"it is for {environment.interpreter}, this is {current}"
        yield Finding(ENVIRONMENT, found, f"{_LOCK_AGAIN} with the interpreter of the enclave that will run it")
