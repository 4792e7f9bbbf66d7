"""The set-up that every script runs first, on Python 3.11+ with venv and a network to PyPI and npm.

The steps, each of which is skipped while what it depends on is unchanged (a stamp in `.venv` records it):

1. a virtual environment in `.venv`
2. the Python packages of `requirements/*.txt`, every file checked against its hash
3. the distributions of this repository, editable
4. the npm packages of `package-lock.json`, checked likewise; nothing of theirs runs at installation

Nothing is compiled: the library carries the contracts' ABIs and bytecode, which `scripts/test` holds against a build
of the sources.

Standard library only. Its messages go to the error stream, so that a script's own output stays clean.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import toolchain
from scripts.toolchain import BUILD, NODE_MODULES, ROOT, VENV

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PYTHON = VENV / "bin" / "python"
STAMP = VENV / "sealmarket-setup.json"
LOG = BUILD / "setup.log"
DISTRIBUTIONS = toolchain.DISTRIBUTIONS
TAIL_LINES = 25

NETWORK_REMEDY = (
    "This step downloads. It needs PyPI and the npm registry, or mirrors named in the tools' own settings\n"
    "(PIP_INDEX_URL, UV_DEFAULT_INDEX, `npm config set registry`); behind a proxy set HTTPS_PROXY.\n"
    "Run the same command again: what is already there is kept."
)
HASH_REMEDY = "A file that arrived is not the file that was locked. Do not work around this; see SECURITY.md."
VENV_REMEDY = "On Debian and Ubuntu: `apt install python3-venv`. Elsewhere, install a Python that has venv and pip."


class SetupFailed(RuntimeError):
    """A step of the set-up failed."""

    def __init__(self, step: str, detail: str, remedy: str) -> None:
        super().__init__(f"{step} failed: {detail}\n{remedy}")
        self.step, self.detail, self.remedy = step, detail, remedy


def run_module(module: str, arguments: Sequence[str] = ()) -> None:
    """Set up, then become `python -m module` of the virtual environment; does not return."""
    run_alone()
    os.execv(PYTHON, [str(PYTHON), "-P", "-m", module, *arguments])  # noqa: S606 - the same person's own command


def run_alone() -> None:
    """Set up; what goes wrong ends the program with its remedy instead of a traceback."""
    os.environ.update(toolchain.cache_environment(os.environ))
    try:
        prepare()
    except (SetupFailed, toolchain.ProgramNotFound) as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit("\nset-up interrupted; run the same command again to go on")


def prepare() -> None:
    """Bring everything to the state that the locks describe; silent when it already is.

    `SEALMARKET_SETUP=off` uses `.venv` and `node_modules` as they are.
    """
    if os.environ.get("SEALMARKET_SETUP") == "off" or not _stale_parts():
        return
    with _only_one():
        started = time.monotonic()
        stale = _stale_parts()
        if not stale:
            return
        _say(f"Setting up in {ROOT}")
        for part in stale:
            _PARTS[part]()
            _write_stamp(part)
        _say(f"Set up in {time.monotonic() - started:.1f} s\n")


# --- what is stale ------------------------------------------------------------------------------------------


def _stale_parts() -> list[str]:
    """The parts to do, in their order; a part that is done again makes those after it due as well."""
    done = _read_stamp()
    for position, part in enumerate(_PARTS):
        if done.get(part) != _key(part) or not all(path.exists() for path in _PRODUCTS[part]):
            return list(_PARTS)[position:]
    return []


def _key(part: str) -> str:
    """A digest of everything that the part depends on."""
    digest = hashlib.sha256(f"{part} 1 {ROOT} {sys.version_info[:3]}".encode())
    for path in _inputs(part):
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _inputs(part: str) -> list[Path]:
    if part == "python":
        projects = [ROOT / folder / "pyproject.toml" for folder in DISTRIBUTIONS]
        return [*sorted((ROOT / "requirements").glob("*.txt")), *projects]
    return [ROOT / name for name in ("package.json", "package-lock.json", ".npmrc")]


def _read_stamp() -> dict[str, str]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(part: str) -> None:
    stamp = _read_stamp() | {part: _key(part)}
    partial = STAMP.with_suffix(".partial")
    partial.write_text(json.dumps(stamp, indent=1, sort_keys=True))
    partial.replace(STAMP)


# --- the parts ----------------------------------------------------------------------------------------------


def _python_part() -> None:
    foreign = PYTHON.exists() and not STAMP.exists()
    if not PYTHON.exists():
        _check_venv()
        with _step("Virtual environment in .venv"):
            shutil.rmtree(VENV, ignore_errors=True)
            _run("venv", [sys.executable, "-m", "venv", "--prompt", "sealmarket", str(VENV)], VENV_REMEDY)
            # From here on it is ours, also when the next step fails.
            STAMP.write_text("{}")
    requirements = ROOT / "requirements"
    with _step("Installer uv, by hash"):
        pip = [
            str(PYTHON),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--no-deps",
            "--require-hashes",
        ]
        _run("pip", [*pip, "--requirement", str(requirements / "bootstrap.txt")], NETWORK_REMEDY)
    locks = [requirements / "dev.txt", requirements / "bootstrap.txt"]
    if toolchain.system_node() is None:
        locks.append(requirements / "node.txt")
    uv = [str(PYTHON.with_name("uv")), "pip"]
    # An environment that the set-up did not create keeps its other packages; our own holds exactly the lock.
    verb = ["install", "--no-deps", *_each("--requirement", locks)] if foreign else ["sync", *map(str, locks)]
    common = ["--python", str(PYTHON), "--compile-bytecode"]
    count = sum(_count_packages(lock) for lock in locks)
    with _step(f"{count} Python packages, by hash"):
        _run("uv pip", [*uv, *verb, *common, "--require-hashes"], NETWORK_REMEDY)
    with _step("The distributions of this repository"):
        # By relative paths: in an absolute one, uv takes what follows a `#` for a comment.
        editables = _each("--editable", DISTRIBUTIONS)
        command = [*uv, "install", "--offline", "--no-deps", "--no-build-isolation", "--python", str(PYTHON)]
        _run("uv pip install", [*command, *editables], "Read the log above: a pyproject.toml is at fault.")


def _node_part() -> None:
    toolchain.node.cache_clear()
    node = toolchain.node()
    with _step(f"npm packages, by hash (Node {node.version[0]}.{node.version[1]} at {node.node})"):
        command = toolchain.npm_command("ci", "--ignore-scripts", "--no-audit", "--no-fund")
        _run("npm ci", command, NETWORK_REMEDY, toolchain.node_environment())


_PARTS = {"python": _python_part, "node": _node_part}
_PRODUCTS: dict[str, tuple[Path, ...]] = {
    "python": (PYTHON,),
    "node": (NODE_MODULES / ".package-lock.json",),
}


def _check_venv() -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetupFailed("venv", f"this Python {version} ({sys.executable}) comes without venv", VENV_REMEDY)


def _count_packages(lock: Path) -> int:
    return sum("==" in line and not line.startswith((" ", "#")) for line in lock.read_text().splitlines())


def _each(option: str, values: Sequence[Path | str]) -> list[str]:
    return [word for value in values for word in (option, str(value))]


# --- saying, running, locking -------------------------------------------------------------------------------


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    _say(f"  {what} ... ", end="")
    started = time.monotonic()
    try:
        yield
    except BaseException:
        _say("failed")
        raise
    _say(f"{time.monotonic() - started:.1f} s")


def _run(step: str, command: Sequence[str], remedy: str, environment: dict[str, str] | None = None) -> None:
    """Run one command of the set-up; its output goes to the log, whose end is quoted when it fails."""
    env = dict(os.environ if environment is None else environment)
    # The caller's active environment or Python path must not decide what is installed where.
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "NODE_OPTIONS"):
        env.pop(name, None)
    BUILD.mkdir(exist_ok=True)
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        begin = log.tell()
        done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        with LOG.open("rb") as written:
            written.seek(begin)
            said = written.read().decode(errors="replace")
        tail = "\n".join(said.splitlines()[-TAIL_LINES:])
        mismatch = "EINTEGRITY" in said or "hash mismatch" in said.lower() or "do not match the hashes" in said.lower()
        raise SetupFailed(step, f"exit status {done.returncode}\n{tail}\n", HASH_REMEDY if mismatch else remedy)


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold the set-up's lock: a second script that starts meanwhile waits and then finds the work done."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another set-up is at work here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
