"""What a job brought to its consumer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sealmarket.client.jobs import JobRecord
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.outputs import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job brought: ``outputs`` by name, opened; and what the chain says of the job."""

    job_id: JobId
    outputs: Mapping[str, bytes]
    record: JobRecord

    def save(self, folder: Path) -> list[Path]:
        """Write each output into a folder, which is made if it is not there; what is there by its name is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, data in self.outputs.items():
            # Names were checked when the result was opened; a file outside `folder` must stay impossible.
            assert NAME.fullmatch(name)
            (folder / name).write_bytes(data)
            paths.append(folder / name)
        return paths
