"""Gather everything that a job names, and check it without any key, before an enclave is started.

A missing or false input is a fault of the input. A host that quotes all the same makes it its own: after the quote an
altered container is the host's word against a Merkle root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from sealmarket.chain import Block
from sealmarket.client.store import Store
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.codec import Bytes32
from sealmarket.protocol.job import JobSpec
from sealmarket.protocol.orders import Seal
from sealmarket.sealed.container import ContainerReader
from sealmarket.sealed.errors import ContainerError
from sealmarket.workload.bundle import Bundle, pack
from sealmarket.workload.environment import Environment, install
from sealmarket.workload.errors import WorkloadError
from sealmarket_worker.enclave.channel import Load
from sealmarket_worker.host.errors import InputMissing


@dataclass(frozen=True, slots=True)
class Materials:
    """A job with everything that it names, checked as far as one can without a key."""

    spec: JobSpec
    seals: tuple[Seal, ...]
    policies: tuple[bytes, ...]
    share_sets: tuple[bytes, ...]
    parameters: bytes
    result_key: bytes
    bundle: Bundle
    environment: Path
    containers: dict[Bytes32, Path]

    def load(self, book: AddressBook, block: Block) -> Load:
        """What the enclave is given, with the final block that it names in its evidence."""
        return Load(
            chain_id=book.chain_id,
            market=book.market,
            job_id=self.spec.job_id(book.chain_id, book.market),
            spec=self.spec.canonical(),
            seals=tuple(seal.canonical() for seal in self.seals),
            policies=self.policies,
            share_sets=self.share_sets,
            parameters=self.parameters,
            result_key=self.result_key,
            workload=pack(self.bundle),
            environment=str(self.environment),
            block_number=block.number,
            block_hash=block.hash,
        )


class Intake:
    """Fetches from the store into ``state``. Ciphertext and environments are kept for the next job."""

    def __init__(self, store: Store, state: Path, wheels: Path) -> None:
        self._store, self._state, self._wheels = store, state, wheels
        self._installing = threading.Lock()

    def gather(self, spec: JobSpec, seals: tuple[Seal, ...]) -> Materials:
        """Fetch and check everything.

        Raises:
            NotInStore, StoreLied, StoreUnavailable: worth trying again while there is time.
            InputMissing: what is there can never do.
        """
        bundle = self._store.workload(spec.workload_digest)
        containers = {seal.content_root: self._container(place, spec, seal) for place, seal in enumerate(seals)}
        total = sum(path.stat().st_size for path in containers.values())
        if total > bundle.manifest.limits.memory_bytes:
            detail = f"{total} bytes of input, and the workload has {bundle.manifest.limits.memory_bytes} of memory"
            raise InputMissing("a fitting input", detail)
        return Materials(
            spec=spec,
            seals=seals,
            policies=tuple(self._store.document(seal.policy_hash) for seal in seals),
            share_sets=tuple(self._store.document(seal.share_root) for seal in seals),
            parameters=self._store.parameters(spec.request_hash, spec.parameters_digest).canonical(),
            result_key=self._store.document(spec.result_key_hash),
            bundle=bundle,
            environment=self._environment(bundle.environment),
            containers=containers,
        )

    def _container(self, place: int, spec: JobSpec, seal: Seal) -> Path:
        path = self._state / "containers" / seal.content_root.hex()
        if not path.exists():
            self._store.fetch_container(seal.content_root, path)
        use = spec.assets[place]
        try:
            with path.open("rb") as file:
                reader = ContainerReader(file, seal.content_root)
                reader.require_asset(use.asset_id, use.version)
                reader.verify()
        except ContainerError as error:
            path.unlink(missing_ok=True)
            raise InputMissing(f"the container of asset {use.asset_id}", error.message) from error
        return path

    def _environment(self, environment: Environment) -> Path:
        """The installed wheels; the enclave takes its own copy and checks every byte of it."""
        name = hashlib.sha256(environment.canonical()).hexdigest()
        target = self._state / "environments" / name
        with self._installing:
            if target.exists():
                return target
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=".installing-", dir=target.parent))
            try:
                environment.interpreter.require_current()
                install(environment, self._wheels, building / name)
                os.rename(building / name, target)  # noqa: PTH104 - atomic on one file system
            except WorkloadError as error:
                raise InputMissing("the workload's environment", error.message) from error
            finally:
                shutil.rmtree(building, ignore_errors=True)
        return target
