"""What this host promises of its platform and enclave: the document that a compute order names by its hash.

An operator writes the document, or takes what the host's own configuration gives: the measurement of its image, this
machine's memory and threads, its prepared environments if it promises only those, and the operator's limit for inputs.
``sealmarket worker capability`` prints it for
``sealmarket provider offer``; a host that starts puts it into the store, where oracle nodes look for it.
"""

from __future__ import annotations

import os
from pathlib import Path

from sealmarket.files import read_file
from sealmarket.protocol.capability import Capability
from sealmarket_enclave.protocol.codec import Uint64, decode, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_worker.config import WorkerConfig
from sealmarket_worker.drivers.installed import driver_named
from sealmarket_worker.errors import ConfigInvalid
from sealmarket_worker.image import base_interpreter
from sealmarket_worker.limits import half_of_memory
from sealmarket_worker.preparing import prepared_environments


def of(config: WorkerConfig, image: Path) -> Capability:
    """The promise of a configuration. ``image`` is the enclave's.

    Raises:
        ConfigInvalid: the named document cannot be read, or promises another TEE.
        DriverMissing: the driver that measures the image is not installed.
    """
    if config.capability is not None:
        return _written(config, config.capability)
    measured = driver_named(config.driver, config.tee).expected_measurement(config.tee, image, base_interpreter())
    return Capability(
        tee=config.tee,
        measurements=(to_builtins(measured),),
        platform_classes=(),
        memory_bytes=Uint64(half_of_memory()),
        threads=os.cpu_count() or 1,
        environments=_environments(config),
        ciphertext_bytes=Uint64(config.limits.max_input_bytes),
    )


def _environments(config: WorkerConfig) -> tuple[str, ...]:
    """The environments that are promised: none is named where any will do."""
    if not config.prepared_only:
        return ()
    if not (prepared := prepared_environments(config.state)):
        detail = 'environments is "prepared", and none is'
        raise ConfigInvalid(config.state, detail, "sealmarket worker prepare WORKLOAD --config FILE")
    return prepared


def _written(config: WorkerConfig, path: Path) -> Capability:
    try:
        document = decode(Capability, read_file(path))
    except (OSError, MalformedDocument) as error:
        raise ConfigInvalid(path, f"capability: {error}", "see docs/spec/schemas/capability.json") from error
    if document.tee != config.tee:
        raise ConfigInvalid(path, f"capability: it promises {document.tee.slug}, this host is {config.tee.slug}")
    return document
