"""The command line that the virtual devices share: where the state lies, where to listen."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sealmarket_devices.device import Device, VirtualTee
from sealmarket_devices.trees import TreeStore

if TYPE_CHECKING:
    from sealmarket_devices.gpu import VirtualGpus

MAXIMUM_GPUS = 8
MakeTee = Callable[[Path, Callable[[], datetime]], VirtualTee]


def serve(
    make: MakeTee, state: Path, socket_path: Path, *, debug: bool = False, gpus: int = 0, root: Path | None = None
) -> None:
    """Run a virtual device until SIGTERM or SIGINT. Call it in the main thread of a process of its own.

    Args:
        make: builds the TEE over a state folder and a clock.
        state: where the development root's keys are kept; made with mode 0700.
        socket_path: the control socket, see :mod:`sealmarket_devices.wire`.
        debug: show the enclaves' output; their evidence then says that it comes from a debug enclave.
        gpus: how many virtual GPUs the machine has.
        root: where the development root goes (DER), for those who are to accept this device.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if state.stat().st_uid != os.geteuid():
        raise PermissionError(f"{state} belongs to another user")
    state.chmod(0o700)
    tee = make(state, lambda: datetime.now(UTC))
    if root is not None:
        root.write_bytes(tee.root)
    device = Device(tee, TreeStore(state), socket_path, debug=debug, gpus=_gpus(state, gpus))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: device.stop())
    print(f"SIMULATED {tee.name.upper()} device: its evidence proves nothing about hardware. Ready.", flush=True)
    device.run()


def _gpus(state: Path, count: int) -> VirtualGpus | None:
    if not count:
        return None
    from sealmarket_devices.gpu import VirtualGpus

    return VirtualGpus(state, count, lambda: datetime.now(UTC))


def main(make: MakeTee, name: str) -> None:
    """``python -m sealmarket_devices.NAME --state DIR --socket PATH [--debug] [--gpus N] [--root FILE]``."""
    parser = argparse.ArgumentParser(description=f"A virtual {name} device. Its evidence is simulated and says so.")
    parser.add_argument("--state", type=Path, required=True, help="folder of the development root")
    parser.add_argument("--socket", type=Path, required=True, help="path of the control socket")
    parser.add_argument("--debug", action="store_true", help="show the enclaves' output; evidence says debug")
    parser.add_argument("--gpus", type=int, choices=range(MAXIMUM_GPUS + 1), default=0, help="virtual GPUs beside it")
    parser.add_argument("--root", type=Path, help="write the development root certificate (DER) there")
    options = parser.parse_args()
    state, socket = options.state.absolute(), options.socket.absolute()
    try:
        serve(make, state, socket, debug=options.debug, gpus=options.gpus, root=options.root)
    except OSError as error:
        sys.exit(f"the virtual {name} device cannot start: {error}")
