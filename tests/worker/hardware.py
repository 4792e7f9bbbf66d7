"""Machines with TEEs, as files below a folder, and a guest image whose monitor is a program of the test."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.machine import NEEDS, Machine

MONITOR = """
import socket, sys
from sealmarket_enclave.runtime.channel import Load, Refused, enclave_side

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + "/vsock.sock")
listener.listen(1)
print("the guest boots", flush=True)
kept = []
while True:
    stream, _ = listener.accept()
    line = bytearray()
    while not line.endswith(b"\\n"):
        line += stream.recv(1)
    if sys.argv[2] == "deaf":
        stream.close()
        continue
    if sys.argv[2] == "silent":
        kept.append(stream)
        continue
    assert line == b"CONNECT 4050\\n", line
    stream.sendall(b"OK 1073741824\\n")
    channel = enclave_side(stream)
    load = channel.expect(Load)
    channel.send(Refused(code="spec_malformed", message=f"environment at {load.environment}", remedy=""))
"""
"""A monitor with a guest's vsock as a Unix socket. Its enclave refuses the job, and names the environment it saw."""


def machine(root: Path, tee: Tee | None, *, without: str = "") -> Machine:
    """A machine that launches enclaves of one kind, or of none; ``without`` names what is left out."""
    needs = NEEDS[tee] if tee is not None else None
    flags = needs.flag if needs is not None and needs.flag != without else ""
    files = {"proc/cpuinfo": f"processor : 0\nflags : fpu {flags}\n", "proc/meminfo": "MemTotal: 4194304 kB\n"}
    if needs is not None:
        if needs.parameter and needs.parameter != without:
            files[needs.parameter] = "Y\n"
        files |= {device: "" for device in needs.devices if device != without}
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root=root, kind=(needs.machine or "x86_64") if needs is not None else "x86_64")


def toml(values: dict[str, Any]) -> str:
    """TOML of strings, numbers, lists of strings, and one level of tables."""
    plain = [f"{name} = {json.dumps(value)}" for name, value in values.items() if not isinstance(value, dict)]
    tables = [f"\n[{name}]\n{toml(value)}" for name, value in values.items() if isinstance(value, dict)]
    return "\n".join([*plain, *tables]) + "\n"


def guest_image(folder: Path, *, mode: str = "answers", **changes: Any) -> Path:
    """The folder of a guest: its file, with the program above as its monitor, and files that stand for the image's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "monitor.py").write_text(MONITOR)
    for name in ("firmware", "kernel", "initial_disk"):
        (folder / name).write_bytes(name.encode() * 100)
    (folder / "collateral.json").write_text("{}")
    values = {
        "command": [sys.executable, "{image}/monitor.py", "{run}", mode],
        "channel": "unix",
        "start_seconds": 60,
        "firmware": "firmware",
        "kernel": "kernel",
        "initial_disk": "initial_disk",
        "command_line": "console=none",
        "endorsements": "collateral.json",
    }
    (folder / "guest.toml").write_text(toml({**values, **changes}))
    return folder
