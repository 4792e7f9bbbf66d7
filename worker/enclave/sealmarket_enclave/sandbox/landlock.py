"""Landlock: the sandboxed process reads its own code and libraries, and no other file; no TCP, no signals
out.

Rules (docs/spec/workload.md, "Sandbox"):

1. Every access that this kernel's Landlock knows is denied, then reading is granted for single paths.
2. No path may be written or executed: programs do not start, libraries are only mapped.
3. What an older kernel cannot deny (TCP before ABI 4, abstract sockets and signals before ABI 6) is reported
   as absent, not passed over; seccomp denies the same.

Standard library only: this module runs inside the sandboxed process before the workload.
Source: Linux ``Documentation/userspace-api/landlock.rst``, ``include/uapi/linux/landlock.h``.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_ALL, _SCOPE_ALL = 0b11, 0b11
_NET_ABI, _SCOPE_ABI = 4, 6
_NEWEST_FS_ABI = 5

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The Landlock version of this kernel, 0 when it has none."""
    found = int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG))
    return max(found, 0)


def enforce(files: Iterable[str], trees: Iterable[str], listings: Iterable[str]) -> tuple[str, ...]:
    """Deny everything but reading; returns the layers in force. Needs ``no_new_privs``.

    Args:
        files: single files that may be read.
        trees: folders in which every file may be read and listed.
        listings: folders that may be listed, with no right to read what is in them.

    Raises:
        OSError: no Landlock, or the kernel refuses a rule.
    """
    version = abi()
    if version < 1:
        raise OSError("no Landlock")
    handled = (1 << _FS_BITS[min(version, _NEWEST_FS_ABI)]) - 1
    network = _NET_ALL if version >= _NET_ABI else 0
    scope = _SCOPE_ALL if version >= _SCOPE_ABI else 0
    size = 24 if scope else 16 if network else 8
    ruleset = _call(_CREATE, struct.pack("=QQQ", handled, network, scope)[:size], ctypes.c_size_t(size), 0)
    try:
        for path in files:
            _grant(ruleset, path, _READ_FILE)
        for path in trees:
            _grant(ruleset, path, _READ_FILE | _READ_DIR)
        for path in listings:
            _grant(ruleset, path, _READ_DIR)
        _call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
    named = (("landlock-files", True), ("landlock-tcp", bool(network)), ("landlock-scope", bool(scope)))
    return tuple(name for name, held in named if held)


def _grant(ruleset: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= ~_READ_DIR
        if access:
            _call(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    found = int(_libc.syscall(number, *arguments))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found
