"""The system call filter, interpreted step by step for both machines: no kernel needed."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.sandbox import seccomp
from sealmarket_enclave.sandbox.syscalls import MACHINES, NUMBERS

ALLOW, KILL, EPERM = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 4711
PROGRAMS = {machine: seccomp.program(machine, NUMBERS, PID) for machine in MACHINES}
machines = pytest.mark.parametrize("machine", MACHINES)


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel's BPF machine would answer."""
    data = struct.pack("=IIQ6Q", number, arch or ARCH[machine], 0, *(*arguments, *[0] * (6 - len(arguments))))
    steps = list(struct.iter_unpack("=HBBI", PROGRAMS[machine]))
    at = register = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        if code == 0x20:
            (register,) = struct.unpack_from("=I", data, operand)
        elif code == 0x54:
            register &= operand
        elif code == 0x15:
            at += if_true if register == operand else if_false
        elif code == 0x35:
            at += if_true if register >= operand else if_false
        else:
            assert code == 0x06
            return int(operand)


def number(machine: str, name: str) -> int | None:
    return NUMBERS[name][MACHINES.index(machine)]


@machines
def test_another_architecture_is_killed(machine: str) -> None:
    other = ARCH["aarch64" if machine == "x86_64" else "x86_64"]
    assert verdict(machine, 0, arch=other) == KILL
    assert verdict(machine, 0, arch=0x40000003) == KILL


@machines
@pytest.mark.parametrize("name", seccomp.KILLED)
def test_what_only_an_attacker_asks_for_is_killed(machine: str, name: str) -> None:
    found = number(machine, name)
    assert found is None or verdict(machine, found) == KILL


@machines
@pytest.mark.parametrize("flags", [0, 17, 0x01200011, 0x4111, 0x3D0F00 | 0x10000000, 0x3D0F00 | 0x20000, 0x10000])
def test_a_clone_that_is_no_thread_is_refused(machine: str, flags: int) -> None:
    found = number(machine, "clone")
    assert found is not None
    assert verdict(machine, found, flags) == EPERM


@machines
def test_a_thread_as_the_c_library_makes_it_is_allowed(machine: str) -> None:
    found, hidden = number(machine, "clone"), number(machine, "clone3")
    assert found is not None
    assert hidden is not None
    assert verdict(machine, found, 0x3D0F00) == ALLOW
    assert verdict(machine, hidden) == 0x00050000 | errno.ENOSYS


@machines
@pytest.mark.parametrize("name", ["kill", "tgkill"])
@given(target=st.integers(0, 2**32 - 1))
def test_signals_reach_this_process_only(machine: str, name: str, target: int) -> None:
    found = number(machine, name)
    assert found is not None
    assert verdict(machine, found, target) == (ALLOW if target == PID else EPERM)


@machines
@given(call=st.integers(0, 2**32 - 1), arguments=st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6))
def test_a_call_that_is_not_on_a_list_is_refused(machine: str, call: int, arguments: list[int]) -> None:
    listed = {number(machine, name) for name in NUMBERS}
    if call not in listed:
        assert verdict(machine, call, *arguments) == (KILL if call >= 0x40000000 else EPERM)


@machines
def test_every_rule_names_a_call_of_the_table(machine: str) -> None:
    names = {*seccomp.ALLOWED, *seccomp.KILLED, *seccomp.ABSENT, *seccomp.conditions(PID)}
    assert names <= NUMBERS.keys()
    assert not set(seccomp.ALLOWED) & {*seccomp.KILLED, *seccomp.ABSENT, *seccomp.conditions(PID)}
    for name in ("socket", "connect", "sendto", "bind", "shmget", "msgget", "fork", "vfork"):
        assert name not in seccomp.ALLOWED
    assert len(PROGRAMS[machine]) // 8 < 4096


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(ValueError):
        seccomp.program("riscv64", NUMBERS, PID)
