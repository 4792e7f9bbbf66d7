"""The table of platforms. A launch names one in its measured arguments; another name is another measurement."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.platforms import device, gramine, guest
from sealmarket_enclave.runtime.platforms.interface import Platform, PlatformUnknown


@dataclass(frozen=True, slots=True)
class PlatformEntry:
    """``attach`` returns the host's channel and the platform; ``title`` is what receipts say of a kind of TEE."""

    attach: Callable[[], tuple[socket.socket, Platform]]
    title: Callable[[Tee], str]


def _guest_title(tee: Tee) -> str:
    return f"{tee.name} guest with Linux TSM reports"


PLATFORMS: Mapping[str, PlatformEntry] = {
    "cca-guest": PlatformEntry(partial(guest.attach, Tee.CCA), _guest_title),
    "gramine": PlatformEntry(gramine.attach, lambda tee: f"{tee.name} enclave under Gramine"),
    "snp-guest": PlatformEntry(partial(guest.attach, Tee.SNP), _guest_title),
    "tdx-guest": PlatformEntry(partial(guest.attach, Tee.TDX), _guest_title),
    "virtual": PlatformEntry(device.attach, lambda tee: f"virtual {tee.name} device (simulated)"),
}


def platform_entry(name: str) -> PlatformEntry:
    """The platform of that name. Raises :class:`PlatformUnknown`."""
    if name not in PLATFORMS:
        raise PlatformUnknown(f"no platform {name!r} in this image, expected one of {', '.join(sorted(PLATFORMS))}")
    return PLATFORMS[name]
