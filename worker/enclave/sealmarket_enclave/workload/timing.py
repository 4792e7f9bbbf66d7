"""How long a workload may keep its job from ending, by what its manifest declares (docs/spec/enclave.md, "Time")."""

from __future__ import annotations

from sealmarket_enclave.protocol.windows import after_release
from sealmarket_enclave.workload.errors import WindowTooShort
from sealmarket_enclave.workload.manifest import Manifest

BYTES_PER_SECOND = 64 << 20
"""At which inputs are read, checked and opened, and outputs sealed: a fraction of what one core does."""
FIXED_SECONDS = 120
"""For passing shares, starting, ending, uploading, and for the last transaction to get into a block."""


def seconds_for_bytes(size: int) -> int:
    """How long it may take to move ``size`` bytes into an enclave or out of it."""
    return -(-size // BYTES_PER_SECOND)


def seconds_needed(manifest: Manifest) -> int:
    """From the release of the shares to the end of the job on chain, at most, in seconds."""
    moved = manifest.limits.memory_bytes + sum(output.max_bytes for output in manifest.outputs)
    return manifest.limits.wall_seconds + seconds_for_bytes(moved) + FIXED_SECONDS


def require_time(manifest: Manifest, settle_window: int) -> None:
    """Hold a workload against a settle window in seconds. Raises :class:`WindowTooShort`."""
    needed = seconds_needed(manifest)
    if needed > after_release(settle_window):
        raise WindowTooShort(settle_window, 2 * needed)
