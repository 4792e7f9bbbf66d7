"""What this machine has for enclaves: TEE kinds, device files, kernel, memory. Reads files, and changes nothing.

For each kind of TEE a machine needs flags of its processor, a parameter of a kernel module, and device files. What a
machine says here proves nothing: that is the evidence's part. It says why a launch would fail, before it does.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sealmarket.files import read_file
from sealmarket_enclave.protocol.numbers import Tee

_ON = frozenset({"Y", "y", "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a host needs to launch enclaves of one kind. ``flag`` stands in `/proc/cpuinfo`."""

    machine: str
    flag: str = ""
    parameter: str = ""
    devices: tuple[str, ...]
    enable: str


NEEDS: Mapping[Tee, Needs] = {
    Tee.TDX: Needs(
        machine="x86_64",
        flag="tdx_host_platform",
        parameter="/sys/module/kvm_intel/parameters/tdx",
        devices=("/dev/kvm", "/dev/vhost-vsock"),
        enable="enable TME-MT and TDX in the firmware, boot Linux 6.16 or later with kvm_intel.tdx=1",
    ),
    Tee.SNP: Needs(
        machine="x86_64",
        flag="sev_snp",
        parameter="/sys/module/kvm_amd/parameters/sev_snp",
        devices=("/dev/kvm", "/dev/sev", "/dev/vhost-vsock"),
        enable="enable SEV-SNP and the RMP in the firmware, boot Linux 6.11 or later with kvm_amd.sev_snp=1",
    ),
    Tee.CCA: Needs(
        machine="aarch64",
        devices=("/dev/kvm", "/dev/vhost-vsock"),
        enable="boot a kernel whose KVM launches realms, on a processor with RME",
    ),
    Tee.SGX: Needs(
        machine="x86_64",
        flag="sgx",
        devices=("/dev/sgx_enclave", "/dev/sgx_provision"),
        enable="enable SGX with flexible launch control in the firmware, and let the worker's user open its devices",
    ),
    Tee.NITRO: Needs(
        machine="",
        devices=("/dev/nitro_enclaves",),
        enable="start an instance with enclaves enabled, and its allocator service",
    ),
}


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that a machine lacks, and how to get it."""

    found: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, seen through its files below ``root``. ``kind`` is the processor's, as `uname -m` names it."""

    root: Path = Path("/")
    kind: str = field(default_factory=platform.machine)

    def lacks(self, tee: Tee) -> Iterator[Lack]:
        """What keeps this machine from launching enclaves of one kind; nothing where all is there."""
        needs = NEEDS.get(tee)
        if needs is None:
            yield Lack(f"{tee.slug} is no kind of enclave", f"name one of {', '.join(one.slug for one in NEEDS)}")
            return
        if needs.machine and self.kind != needs.machine:
            yield Lack(f"the processor is {self.kind}, {tee.slug} needs {needs.machine}", "use another machine")
            return
        if needs.flag and needs.flag not in self.flags():
            yield Lack(f"the processor does not show {needs.flag}", needs.enable)
        if needs.parameter and self.text(needs.parameter) not in _ON:
            yield Lack(f"{needs.parameter} is not Y", needs.enable)
        for device in needs.devices:
            if not self.at(device).exists():
                yield Lack(f"no {device} here", needs.enable)

    def kinds(self) -> tuple[Tee, ...]:
        """The kinds of TEE that this machine can launch."""
        return tuple(tee for tee in NEEDS if not any(True for _ in self.lacks(tee)))

    def flags(self) -> frozenset[str]:
        """The features that the processor shows; of the first one."""
        for line in self.text("/proc/cpuinfo").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
        return frozenset()

    def memory(self) -> int:
        """Bytes of memory that processes here may use: the machine's, or less where a control group says so."""
        total = next(
            (
                int(line.split()[1]) * 1024
                for line in self.text("/proc/meminfo").splitlines()
                if line.startswith("MemTotal:")
            ),
            0,
        )
        limits = [text for text in map(self.text, self._limits()) if text.isascii() and text.isdigit()]
        return min([total, *map(int, limits)])

    def _limits(self) -> Iterator[str]:
        """Where the memory limits of this process's control group and its parents stand."""
        for line in self.text("/proc/self/cgroup").splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" and not controllers:
                base, name = "/sys/fs/cgroup", "memory.max"
            elif "memory" in controllers.split(","):
                base, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
            else:
                continue
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(parts) + 1):
                yield "/".join([base, *parts[:depth], name])

    def text(self, path: str) -> str:
        """A small file without its last line end; empty where it cannot be read."""
        try:
            return read_file(self.at(path)).decode("ascii", "replace").strip()
        except OSError:
            return ""

    def at(self, path: str) -> Path:
        """Where a path of this machine lies."""
        return self.root / path.lstrip("/")
