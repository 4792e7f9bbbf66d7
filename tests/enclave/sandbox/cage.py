"""Put a few lines of workload into the sandbox and see what comes out."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from sealmarket.workloads.trial import run_workload
from sealmarket_enclave.sandbox import STRICT, Outputs, SandboxProfile
from sealmarket_enclave.workload.manifest import InputSlot, Limits, Manifest, Output

PRELUDE = """
import ctypes, errno, json, os, sys

libc = ctypes.CDLL(None, use_errno=True)

def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def say(value):
    return {"said.json": json.dumps(value).encode()}
"""


class Cage:
    """A folder with a bundle and an empty environment."""

    def __init__(self, folder: Path) -> None:
        self.bundle, self.environment = folder / "bundle", folder / "environment"
        (self.bundle / "code").mkdir(parents=True)
        self.environment.mkdir()

    def run(
        self,
        body: str,
        *,
        inputs: dict[str, bytes] | None = None,
        parameters: dict[str, Any] | None = None,
        profile: SandboxProfile = STRICT,
        top: str = "",
        **limits: int,
    ) -> Outputs:
        """Run ``body`` as the body of ``run(inputs, parameters)``; ``top`` stands before it in the module."""
        source = PRELUDE + textwrap.dedent(top) + "\ndef run(inputs, parameters):\n"
        (self.bundle / "code/job.py").write_text(source + textwrap.indent(textwrap.dedent(body), "    "))
        return run_workload(self.bundle, self.environment, manifest(**limits), inputs or {}, parameters or {}, profile)

    def said(self, body: str, **options: Any) -> Any:
        """What ``body`` said by ``return say(...)``."""
        return json.loads(self.run(body, **options).files["said.json"])


def manifest(**limits: int) -> Manifest:
    """A manifest with one output of at most 10,000 bytes."""
    given = {"cpu_seconds": 20, "wall_seconds": 120, "memory_bytes": 1 << 30, "threads": 1, "seed": 7, **limits}
    return Manifest(
        schema=1,
        name="cage",
        version="1.0.0",
        summary="A test.",
        entry_point="job:run",
        inputs=(InputSlot(name="rows", media_type="text/csv"),),
        outputs=(Output(name="said.json", media_type="application/json", max_bytes=10_000),),
        limits=Limits(**given),
    )
