"""Find drivers by their entry points."""

from __future__ import annotations

from importlib import metadata

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.drivers.interface import DriverFactory, DriverMissing
from sealmarket_worker.errors import ConfigInvalid

GROUP = "sealmarket.drivers"


def driver_named(name: str, tee: Tee) -> DriverFactory:
    """The installed driver of that name, for a kind of TEE.

    Raises:
        DriverMissing: no installed distribution provides it.
        ConfigInvalid: it gives no evidence of that kind.
    """
    entries = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if name not in entries:
        raise DriverMissing(name, sorted(entries))
    factory: DriverFactory = entries[name].load()
    if tee not in factory.tees:
        choices = ", ".join(sorted(one.name.lower() for one in factory.tees))
        raise ConfigInvalid("tee", f"the driver {name!r} has no {tee.name.lower()}", f"choose one of {choices}")
    return factory
