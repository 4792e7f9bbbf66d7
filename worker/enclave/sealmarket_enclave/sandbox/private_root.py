"""A root of its own: what the workload may not read has no name either.

Landlock lets ``stat``, ``readlink`` and ``access`` through for every path, so a workload could still learn which files
and processes there are. In a mount namespace of its own the process sees an empty tree with only the folders and files
that it needs, bound in from outside; there is no ``/proc`` in it. A process without the right to mount gets that right
in a user namespace; where the kernel grants neither, the layer is absent, and the receipt says so.

Standard library only: this module runs inside the sandboxed process before the workload.
Source: mount_namespaces(7), user_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_BIND, _MOVE, _RECURSIVE, _PRIVATE = 1 << 12, 1 << 13, 1 << 14, 1 << 18
_NO_SUID, _NO_DEVICES = 1 << 1, 1 << 2
_DETACH = 2
_PLACES = ("/mnt", "/media", "/srv", "/opt", "/sys", "/proc")
"""Folders of which one is covered by the new tree while it is built."""

_libc = ctypes.CDLL(None, use_errno=True)


def enforce(paths: Iterable[str], pivot_root: int) -> None:
    """Move this process to a root that holds nothing but ``paths``. Call it while there is one thread.

    Args:
        paths: folders and files; those that do not exist are left out, links on the way are made again.
        pivot_root: the number of that system call on this machine.

    Raises:
        OSError: the kernel grants no such namespace, or a mount in it. Files are then where they were.
    """
    wanted = [path for path in paths if Path(path).exists()]
    place = next(path for path in _PLACES if Path(path).is_dir() and not _covers(path, wanted))
    _unshare()
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _mount("tmpfs", place, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=0755")
    real = {_reached(place, path) for path in wanted}
    for path in sorted(real):
        if not any(str(parent) in real for parent in Path(path).parents):
            _bind(path, place + path)
    os.chdir(place)
    if _libc.syscall(pivot_root, b".", b".") == 0:
        _checked(_libc.umount2(b".", _DETACH))
    else:
        # The root of an initial RAM disk cannot be pivoted away; it is covered.
        _mount(".", "/", None, _MOVE)
        os.chroot(".")
    os.chdir("/")


def _covers(place: str, wanted: Iterable[str]) -> bool:
    resolved = (os.path.realpath(path) for path in wanted)
    return any(path == place or path.startswith(place + "/") for path in resolved)


def _unshare() -> None:
    """A mount namespace, by this process's own right or by that of a user namespace in which it stays itself."""
    if _libc.unshare(_NEW_MOUNTS) == 0:
        return
    user, group = os.geteuid(), os.getegid()
    _checked(_libc.unshare(_NEW_USER | _NEW_MOUNTS))
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(line, encoding="ascii")


def _reached(root: str, path: str) -> str:
    """The real path of ``path``, with every link on the way to it made again under ``root``."""
    for parent in reversed([Path(path), *Path(path).parents]):
        if parent.is_symlink():
            link = Path(root + str(parent))
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(parent.readlink())
            rest = Path(path).relative_to(parent)
            return _reached(root, os.path.normpath(parent.parent / parent.readlink() / rest))
    return path


def _bind(source: str, target: str) -> None:
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    _mount(source, target, None, _BIND | _RECURSIVE)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _checked(_libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]))


def _checked(found: int) -> None:
    if found != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
