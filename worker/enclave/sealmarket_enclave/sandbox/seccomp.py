"""The system call filter of the sandbox: what numerical Python needs, and nothing else.

Rules, in this order (docs/spec/workload.md, "Sandbox"):

1. A call under another machine's numbering (another architecture, x32) kills the process.
2. What only an attacker asks for (tracing, reading other processes, programs, namespaces, mounts, keys, BPF,
   io_uring) kills the process.
3. ``clone`` makes threads of this process only; ``clone3``, whose arguments a filter cannot see, "does not
   exist", on which the C library falls back to ``clone``. Signals go to this process only, and the group
   of no other process shows. Limits cannot be raised.
4. What is on the list is allowed.
5. Everything else, sockets of every family included, is refused with EPERM, which libraries handle.

Standard library only: this module runs inside the sandboxed process before the workload.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LD, _AND, _JEQ, _JGE, _RET = 0x20, 0x54, 0x15, 0x35, 0x06
_OFFSET_NR, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16
_X32_BIT = 0x40000000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1

_ALLOWED_NAMES = """
    read write close fstat newfstatat statx stat lstat lseek mmap mprotect munmap mremap madvise brk
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall pread64 readv writev preadv
    access faccessat faccessat2 open openat readlink readlinkat getdents64 getdents getcwd
    dup dup2 dup3 pipe pipe2 close_range fadvise64
    futex futex_waitv set_robust_list set_tid_address rseq membarrier arch_prctl sched_yield sched_getaffinity
    gettid getpid getppid getuid geteuid getgid getegid getpgrp exit exit_group
    nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time getrandom
    uname sysinfo getrlimit getrusage times getcpu memfd_create
    poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2
"""
_KILLED_NAMES = """
    ptrace process_vm_readv process_vm_writev process_madvise pidfd_open pidfd_getfd pidfd_send_signal kcmp
    keyctl add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    mount umount2 move_mount open_tree fsopen fsconfig fsmount fspick pivot_root chroot unshare setns
    execve execveat init_module finit_module delete_module kexec_load kexec_file_load
    reboot swapon swapoff open_by_handle_at name_to_handle_at personality acct quotactl settimeofday clock_settime
    ioperm iopl modify_ldt
"""
ALLOWED = tuple(_ALLOWED_NAMES.split())
KILLED = tuple(_KILLED_NAMES.split())
ABSENT = ("clone3", "openat2")

_CLONE_THREAD_GROUP = 0x00000100 | 0x00000800 | 0x00010000  # CLONE_VM | CLONE_SIGHAND | CLONE_THREAD
_CLONE_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_TCGETS, _FIOCLEX, _FIONCLEX, _FIONREAD, _FIONBIO = 0x5401, 0x5451, 0x5450, 0x541B, 0x5421
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 1030


@dataclass(frozen=True, slots=True)
class Check:
    """One argument, after ``mask``, must be one of ``values``. Arguments are compared in their low 32 bits."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


def conditions(pid: int) -> dict[str, tuple[Check, ...]]:
    """Calls that are allowed with certain arguments only, for a process with this id (rule 3)."""
    return {
        "clone": (Check(0, (_CLONE_THREAD_GROUP,), _CLONE_THREAD_GROUP | _CLONE_NAMESPACES),),
        "getpgid": (Check(0, (0, pid)),),
        "kill": (Check(0, (pid,)),),
        "tgkill": (Check(0, (pid,)),),
        "ioctl": (Check(1, (_TCGETS, _FIOCLEX, _FIONCLEX, _FIONREAD, _FIONBIO)),),
        "prctl": (Check(0, (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)),),
        "prlimit64": (Check(0, (0, pid)),),
        "fcntl": (Check(1, (_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC)),),
    }


def program(machine: str, numbers: dict[str, tuple[int | None, int | None]], pid: int) -> bytes:
    """The filter as BPF instructions.

    Raises:
        KeyError: a machine that this filter does not know.
    """
    column = ("x86_64", "aarch64").index(machine)

    def number(name: str) -> Iterable[int]:
        found = numbers[name][column]
        return () if found is None else (found,)

    code = [_step(_LD, _OFFSET_ARCH), _step(_JEQ, _AUDIT_ARCH[machine], 1, 0), _step(_RET, _KILL)]
    code += [_step(_LD, _OFFSET_NR), _step(_JGE, _X32_BIT, 0, 1), _step(_RET, _KILL)]
    for names, verdict in ((ALLOWED, _ALLOW), (KILLED, _KILL), (ABSENT, _ERRNO | errno.ENOSYS)):
        for name in names:
            for value in number(name):
                code += [_step(_JEQ, value, 0, 1), _step(_RET, verdict)]
    for name, checks in conditions(pid).items():
        for value in number(name):
            block = _conditional(checks)
            code += [_step(_JEQ, value, 0, len(block)), *block]
    code.append(_step(_RET, _ERRNO | errno.EPERM))
    return b"".join(code)


def _conditional(checks: tuple[Check, ...]) -> list[bytes]:
    block: list[bytes] = []
    for check in checks:
        block += [_step(_LD, _OFFSET_ARGS + 8 * check.argument), _step(_AND, check.mask)]
        last = len(check.values) - 1
        for position, value in enumerate(check.values):
            # On a match jump over the remaining comparisons and the refusal.
            block.append(_step(_JEQ, value, last - position + 1, 0))
        block.append(_step(_RET, _ERRNO | errno.EPERM))
    block.append(_step(_RET, _ALLOW))
    return block


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def enforce(numbers: dict[str, tuple[int | None, int | None]]) -> None:
    """Put the filter in force for this process, all its threads and for good. Needs ``no_new_privs``.

    Raises:
        OSError: the kernel has no seccomp filters or refuses this one.
        KeyError, ValueError: a machine that this filter does not know.
    """
    machine = os.uname().machine
    code = program(machine, numbers, os.getpid())
    libc = ctypes.CDLL(None, use_errno=True)
    call = numbers["seccomp"][("x86_64", "aarch64").index(machine)]
    held = _Program(len(code) // 8, code)
    if libc.syscall(call, _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(held)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
