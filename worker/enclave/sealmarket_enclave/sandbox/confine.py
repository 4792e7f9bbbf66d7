"""What the launcher does to its own process before any workload code is loaded: one function for each layer.

Standard library only. Every function raises when its layer cannot be put in force; :func:`enforce` turns that
into the list of layers that are.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_GET_DUMPABLE = 1, 4, 3
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_DESCRIPTORS = 256
_LIBRARY_FOLDERS = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
)
_SINGLE_FILES = ("/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_OWN_DESCRIPTORS = ("/proc/self/fd",)
"""What a service sees of /proc: names of its own descriptors, by which a library maps an input that is a path to it."""
_FOREIGN = ("site-packages", "dist-packages")

_libc = ctypes.CDLL(None, use_errno=True)


def enforce(settings: dict[str, Any], modules: dict[str, ModuleType]) -> tuple[list[str], list[str]]:
    """Put every layer in force, seccomp last. Returns the layers in force, and what went wrong with others.

    ``modules``: ``landlock``, ``private_root``, ``seccomp`` and ``syscalls``.
    """
    landlock, seccomp, syscalls = modules["landlock"], modules["seccomp"], modules["syscalls"]
    held: list[str] = []
    failed: list[str] = []

    def attempt(name: str, action: Callable[[], Sequence[str] | None]) -> None:
        try:
            held.extend(action() or [name])
        except (OSError, ValueError, KeyError) as error:
            failed.append(f"{name}: {error}")

    files, trees, listings = readable(settings)
    seen = visible(files, trees, listings) + (list(_OWN_DESCRIPTORS) if settings["service"] else [])
    # First: a new user namespace would undo what ends this process with its parent.
    attempt("private-root", lambda: modules["private_root"].enforce(seen, _pivot(syscalls)))
    attempt("parent-death", lambda: _die_with(settings["parent"]))
    attempt("limits", lambda: _limit(settings["limits"]))
    attempt("no-new-privileges", _no_new_privileges)
    attempt("capabilities", lambda: _drop_capabilities(syscalls))
    attempt("not-dumpable", _not_dumpable)
    attempt("landlock-files", lambda: landlock.enforce(files, trees, listings))
    attempt("seccomp", lambda: seccomp.enforce(syscalls.NUMBERS))
    return held, failed


def readable(settings: dict[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Files, whole folders, and folders to list only, that the workload needs: its own, the standard
    library's and shared libraries. Packages that happen to be installed beside the standard library are left
    out.
    """
    files, trees, listings = list(_SINGLE_FILES), [settings["code"], settings["environment"]], []
    for entry in map(Path, sys.path):
        if not entry.is_dir():
            files.append(str(entry))
            continue
        listings.append(str(entry))
        for path in entry.iterdir():
            if path.name not in _FOREIGN:
                (trees if path.is_dir() else files).append(str(path))
    for folder in map(Path, _LIBRARY_FOLDERS):
        if folder.is_dir():
            files += [str(path) for path in folder.iterdir() if ".so" in path.name]
    with Path("/proc/self/maps").open(encoding="utf-8") as maps:
        files += sorted({line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line})
    return files, trees, listings


def visible(files: list[str], trees: list[str], listings: list[str]) -> list[str]:
    """Folders and files that must have a name: of a shared library its folder, since it may need its neighbours."""
    libraries = [folder for folder in _LIBRARY_FOLDERS if Path(folder).is_dir()]
    others = [file for file in files if file not in _SINGLE_FILES]
    beside = {str(Path(file).parent) for file in others if ".so" in Path(file).name}
    return [*trees, *listings, *libraries, *beside, *_SINGLE_FILES, *others]


def _pivot(syscalls: ModuleType) -> int:
    return int(syscalls.NUMBERS["pivot_root"][syscalls.MACHINES.index(os.uname().machine)])


def _die_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        # The parent ended before the line was attached.
        os._exit(113)


def _limit(limits: dict[str, int]) -> None:
    wanted = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NOFILE: (_MAX_DESCRIPTORS, _MAX_DESCRIPTORS),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_AS: (limits["memory_bytes"], limits["memory_bytes"]),
        # The soft limit sends SIGXCPU; the hard one kills a workload that ignores it.
        resource.RLIMIT_CPU: (limits["cpu_seconds"], limits["cpu_seconds"] + 1),
    }
    for kind, (soft, hard) in wanted.items():
        # What the runtime inherited may be stricter, and stays.
        held = resource.getrlimit(kind)
        value = (_stricter(soft, held[0]), _stricter(hard, held[1]))
        resource.setrlimit(kind, value)
        if resource.getrlimit(kind) != value:
            raise OSError(f"limit {kind} did not hold")
    # A write over the limit shall be an error to the workload, not a signal.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _schedule(limits["threads"])


def _stricter(wanted: int, inherited: int) -> int:
    return wanted if inherited == resource.RLIM_INFINITY else min(wanted, inherited)


def _schedule(threads: int) -> None:
    """Run on as many processors as there are declared threads; several sandboxes spread over the machine."""
    allowed = sorted(os.sched_getaffinity(0))
    first = os.getpid() % len(allowed)
    chosen = set((allowed * 2)[first : first + min(threads, len(allowed))])
    os.sched_setaffinity(0, chosen)
    if os.sched_getaffinity(0) != chosen:
        raise OSError("the choice of processors did not hold")


def _no_new_privileges() -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        raise OSError("no_new_privs did not hold")


def _drop_capabilities(syscalls: ModuleType) -> None:
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
        # Without CAP_SETPCAP the bounding set stays, which no_new_privs makes harmless.
        _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
        number += 1
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    call = syscalls.NUMBERS["capset"][syscalls.MACHINES.index(os.uname().machine)]
    if _libc.syscall(call, header, nothing) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _not_dumpable() -> None:
    _prctl(_PR_SET_DUMPABLE, 0)
    if _libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError("the process stayed dumpable")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
