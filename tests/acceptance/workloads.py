"""Workloads for the acceptance tests: trained in milliseconds, with one dependency of a single line."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import Bytes32
from tests.enclave.scene import write_workload

MANIFEST = """\
schema = 1
name = "pooled-line"
version = "1.0.0"
summary = "Fits one line through the rows of all owners together."
entry_point = "line:run"

[[inputs]]
name = "rows"
media_type = "text/csv"
minimum = 1
maximum = 4

[[outputs]]
name = "model.json"
media_type = "application/json"
max_bytes = 65536

[limits]
cpu_seconds = 20
wall_seconds = 20
memory_bytes = 1073741824
"""
CODE = """\
import json
import tiny

def run(inputs, parameters):
    points = []
    for name in sorted(inputs):
        lines = bytes(inputs[name]).decode().splitlines()[1:]
        points += [tuple(float(value) for value in line.split(",")[:2]) for line in lines]
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    model = {"rows": n, "slope": round(slope, 6), "offset": round(mean_y - slope * mean_x, 6), "word": tiny.WORD}
    return {"model.json": json.dumps(model).encode()}
"""
REACH = """\
import ctypes, errno, glob, json, os, socket, sys

libc = ctypes.CDLL(None, use_errno=True)

def attempt(action):
    try:
        found = action()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    except Exception as error:
        return type(error).__name__
    return "REACHED " + repr(found)[:200]

def sent(number):
    if libc.send(number, b"rows", 4, 0) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return number

def read(path):
    with open(path, "rb") as file:
        return file.read(64)

def listed(path):
    return os.listdir(path)

def written(path):
    with open(path, "wb") as file:
        return file.write(b"rows")

def run(inputs, parameters):
    rows = {name: bytes(data) for name, data in inputs.items()}
    here = os.path.dirname(os.path.abspath(__file__))
    jobs = os.path.dirname(os.path.dirname(here))
    parent = os.getppid()
    found = {}
    # The enclave's own descriptors: 3 is the host's channel, 4 the quote interface.
    for number in range(3, 64):
        found[f"send {number}"] = attempt(lambda: sent(number))
        found[f"socket {number}"] = attempt(lambda: socket.socket(fileno=number).send(b"rows"))
    for name in ("/sys/kernel/config/tsm/report", "/dev/tdx_guest", "/dev/sev-guest", "/dev/sgx_enclave",
                 "/dev/attestation/quote"):
        found["open " + name] = attempt(lambda: read(name))
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 40, 16):
        found[f"family {family}"] = attempt(lambda: socket.socket(family, socket.SOCK_STREAM))
    for who in (parent, 1):
        for what in ("mem", "environ", "maps", "cmdline", "fd"):
            found[f"proc {who if who == 1 else 'parent'} {what}"] = attempt(lambda: read(f"/proc/{who}/{what}"))
        found[f"signal {who if who == 1 else 'parent'}"] = attempt(lambda: os.kill(who, 0))
    for name in (jobs, os.path.dirname(jobs), "/tmp", "/dev/shm", "/proc", "/", os.path.expanduser("~")):
        found["list " + ("jobs" if name == jobs else name[-20:])] = attempt(lambda: listed(name))
    for name in ("/tmp/rows", "/dev/shm/rows", os.path.join(here, "rows")):
        found["write " + name[-20:]] = attempt(lambda: written(name))
    found["earlier jobs"] = "REACHED" if glob.glob(os.path.join(jobs, "*", "bundle", "*")) else "nothing"
    return {"model.json": json.dumps(found).encode()}
"""
GREEDY = CODE.replace('"rows": n,', '"rows": n, "first": points[:5],')


@dataclass(frozen=True, slots=True)
class Workload:
    """A bundle, the folder with its one wheel, and that wheel installed."""

    bundle: Path
    wheels: Path
    environment: Path
    digest: Bytes32


def pooled_line(folder: Path) -> Workload:
    """The honest workload."""
    bundle, wheels, environment = folder / "line", folder / "wheels", folder / "environment"
    write_workload(bundle, wheels, environment, manifest=MANIFEST.replace("line:run", "count:run"), code=CODE)
    (bundle / "workload.toml").write_text(MANIFEST)
    (bundle / "code" / "count.py").unlink()
    (bundle / "code" / "line.py").write_text(CODE)
    return Workload(bundle, wheels, environment, read_bundle(bundle).digest)


def other(honest: Workload, folder: Path, code: str) -> Workload:
    """The same bundle with other code, and so with another digest."""
    shutil.copytree(honest.bundle, folder)
    (folder / "code" / "line.py").write_text(code)
    return Workload(folder, honest.wheels, honest.environment, read_bundle(folder).digest)
