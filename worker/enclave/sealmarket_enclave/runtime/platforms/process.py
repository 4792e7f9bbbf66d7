"""What an enclave does to its own process first: others of the same user can neither trace it nor find its core."""

from __future__ import annotations

import ctypes
import os
import resource

from sealmarket_enclave.runtime.platforms.interface import PlatformLost

_PR_SET_DUMPABLE = 4


def close_to_others() -> None:
    """Raises :class:`PlatformLost` where the kernel does not allow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise PlatformLost(f"the process cannot be closed to tracing: {os.strerror(ctypes.get_errno())}")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
