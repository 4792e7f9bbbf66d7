"""How the settle window is divided: its first half is for finality and release, its second for the enclave.

The window is the consumer's choice, and a provider whose job does not end within it pays with its stake. So two
parties hold the halves: an oracle node releases nothing in the second half, and an enclave runs no workload
that could take longer than it (docs/spec/enclave.md, "Time").
"""

from __future__ import annotations


def after_release(settle_window: int) -> int:
    """Seconds of a settle window that are left for the enclave, however late the shares are released."""
    return settle_window // 2


def last_release(deadline: int, settle_window: int) -> int:
    """The last second at which a share is released. ``deadline`` ends the settle window; both in the chain's time."""
    return deadline - after_release(settle_window)
