"""Prepare a host for workloads before it offers compute: wheels are fetched or named, environments installed.

A wheel that is missing once a job is matched costs the job. What is prepared is in the state folder already, and a host
that promises only that (`environments = "prepared"`) is matched with nothing else.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sealmarket.store.blobs import Store
from sealmarket.workloads.fetch import fetch_wheels
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.workload.bundle import ENVIRONMENT, LOCK, Bundle
from sealmarket_worker.config import WorkerConfig
from sealmarket_worker.environments import Environments
from sealmarket_worker.errors import ConfigInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One workload on this host. ``missing`` are the wheels that it lacks; without any it can run here."""

    workload: Bytes32
    environment: Bytes32
    missing: tuple[str, ...]


def prepare(config: WorkerConfig, workload: str, *, fetch: bool) -> Prepared:
    """Install the environment of a workload: a bundle's folder, or the digest of one that is in the store.

    Args:
        fetch: download missing wheels by the hashes of the workload's lock, into the configured folder.

    Raises:
        ServiceError: the store has no such workload, or does not answer.
        FetchFailed: a wheel cannot be downloaded.
        InputMissing: all wheels are here, and the environment cannot be installed.
        ConfigInvalid: neither a folder nor a digest.
    """
    with closing(Store(config.store_url)) as store:
        bundle = _bundle(store, workload)
        if (missing := missing_wheels(bundle, config.wheels)) and fetch:
            _fetch(bundle, config.wheels)
            missing = missing_wheels(bundle, config.wheels)
        if not missing:
            Environments(config.state / "environments", config.wheels).hold(bundle.environment)
    return Prepared(workload=bundle.digest, environment=environment_name(bundle), missing=missing)


def missing_wheels(bundle: Bundle, wheels: Path) -> tuple[str, ...]:
    """The wheels that a bundle's environment lists and the folder does not have, by their file names."""
    return tuple(wheel.filename for wheel in bundle.environment.wheels if not (wheels / wheel.filename).is_file())


def environment_name(bundle: Bundle) -> Bytes32:
    """How a capability document names a bundle's environment: the SHA-256 of its file."""
    return next(file.sha256 for file in bundle.digest_manifest().files if file.path == ENVIRONMENT)


def prepared_environments(state: Path) -> tuple[str, ...]:
    """The names of all environments that are installed in a state folder, as a capability document spells them."""
    folder = state / "environments"
    names = (path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else iter(())
    return tuple(sorted(f"0x{name}" for name in names if not name.startswith(".")))


def _bundle(store: Store, workload: str) -> Bundle:
    if Path(workload).is_dir():
        return read_bundle(Path(workload))
    try:
        return store.workload(Bytes32.parse(workload))
    except MalformedDocument as error:
        remedy = "name the folder of a bundle, or the digest of a workload in the store"
        raise ConfigInvalid("WORKLOAD", f"{workload[:80]} is neither a folder nor a digest", remedy) from error


def _fetch(bundle: Bundle, wheels: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / LOCK).write_bytes(bundle.files[LOCK].data)
        fetch_wheels(Path(folder), wheels)
