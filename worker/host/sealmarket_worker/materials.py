"""Gather everything that a job names, and check it without any key, before an enclave is started.

What is missing or false is the fault of the party that named it, and the oracle nodes decide so. The host quotes the
job all the same, with what it lacks marked: the enclave does not go on with it, and no honest node accepts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from sealmarket.chain import Block
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.limits import MAXIMUM_POLICY, MAXIMUM_SHARE_SET
from sealmarket.service.errors import AnswerTooLong, ServiceError
from sealmarket.store.blobs import MAX_WORKLOAD, Store
from sealmarket_enclave.protocol.card import MAXIMUM_CARD
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import JobSpec, key_names
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.runtime.channel import Load, StepFiles
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.errors import ContainerError
from sealmarket_enclave.sealed.hpke import PUBLIC_KEY_BYTES
from sealmarket_enclave.workload.bundle import Bundle, pack
from sealmarket_enclave.workload.environment import Environment
from sealmarket_worker.environments import Environments, name_of
from sealmarket_worker.errors import InputMissing
from sealmarket_worker.steps import card_name, read_policies, steps_of

_T = TypeVar("_T")
STEP_BYTES = MAX_WORKLOAD
"""Of all steps of a job, which sixteen owners name: more than a job's steps may have, and what is loaded in one frame
with workload, policies and cards."""


@dataclass(frozen=True, slots=True)
class Materials:
    """A job with what it names, checked as far as one can without a key; None for what is in ``missing``.

    ``missing`` holds, by the name under which the job knows it, why it is not available.
    """

    spec: JobSpec
    seals: tuple[Seal, ...]
    policies: tuple[bytes | None, ...]
    cards: tuple[bytes | None, ...]
    share_sets: tuple[bytes | None, ...]
    parameters: bytes | None
    result_keys: tuple[bytes, ...] | None
    bundle: Bundle | None
    environment: Path | None
    steps: tuple[tuple[Bundle, Path], ...]
    """The steps that cards and policies name, each with its environment."""
    containers: dict[Bytes32, Path]
    missing: dict[Bytes32, str]

    @property
    def manifest(self) -> bytes:
        """What the workload's digest hashes; empty without the workload."""
        return self.bundle.digest_manifest().canonical() if self.bundle is not None else b""

    def declined(self, why: str) -> Materials:
        """The same, without the workload and with it marked: this host runs none for this job."""
        missing = {**self.missing, self.spec.workload_digest: why}
        return replace(self, bundle=None, environment=None, missing=missing)

    def load(self, book: AddressBook, block: Block) -> Load:
        """What the enclave is given, with the final block that it names in its evidence."""
        return Load(
            chain_id=book.chain_id,
            market=book.market,
            job_id=self.spec.job_id(book.chain_id, book.market),
            spec=self.spec.canonical(),
            seals=tuple(seal.canonical() for seal in self.seals),
            policies=self.policies,
            cards=self.cards,
            share_sets=self.share_sets,
            parameters=self.parameters,
            result_keys=self.result_keys,
            workload=pack(self.bundle) if self.bundle is not None else None,
            environment=str(self.environment) if self.environment is not None else None,
            steps=tuple(StepFiles(archive=pack(step), environment=str(folder)) for step, folder in self.steps),
            block_number=block.number,
            block_hash=block.hash,
        )


def nothing(spec: JobSpec, seals: tuple[Seal, ...]) -> Materials:
    """The materials of a job for which nothing was fetched.

    The policies are marked as missing: who has not read them cannot seal evidence to the auditors in them.
    """
    nil = (None,) * len(seals)
    missing = {seal.policy_hash: f"policy {seal.policy_hash}: not fetched for this job" for seal in seals}
    return Materials(spec, seals, nil, nil, nil, None, None, None, None, (), {}, missing)


class MaterialStore:
    """Fetches from the store into ``state``. Ciphertext is kept for the next job, and so are environments."""

    def __init__(self, store: Store, state: Path, environments: Environments) -> None:
        self._store, self._state = store, state
        self.environments = environments

    def fetcher(self, spec: JobSpec, seals: tuple[Seal, ...]) -> MaterialFetcher:
        """Begin with a job."""
        return MaterialFetcher(self, self._store, spec, seals)

    def container(self, root: Bytes32) -> Path:
        """A container on this disk, held against its root. Raises :class:`ServiceError`, ``OSError``."""
        path = self._state / "containers" / root.hex()
        if path.exists():
            try:
                with path.open("rb") as file:
                    ContainerReader(file, root).verify()
            except ContainerError:
                path.unlink(missing_ok=True)  # what a crash left of it; it is fetched again
        if not path.exists():
            self._store.fetch_container(root, path)
        return path


def _within(name: Bytes32, raw: bytes | None, most: int, missing: dict[Bytes32, str]) -> bytes | None:
    """A document, unless it is larger than its kind may be: such a one counts as missing, as with nodes."""
    if raw is None or len(raw) <= most:
        return raw
    missing[name] = f"it has {len(raw)} bytes, its kind at most {most}"
    return None


def _keys(
    names: bytes,
    list_name: Bytes32,
    bounded: Callable[[Bytes32, int], bytes | None],
    missing: dict[Bytes32, str],
) -> tuple[bytes, ...] | None:
    """The result keys of a list, or None with the list marked as missing."""
    named = key_names(names)
    found = [bounded(name, PUBLIC_KEY_BYTES) for name in named]
    if named and None not in found:
        return tuple(key for key in found if key is not None)
    lacking = [missing.pop(name) for name in named if name in missing]
    missing[list_name] = "; ".join(lacking) or "the list of result keys is none"
    return None


class MaterialFetcher:
    """One job's materials, bit by bit: each :meth:`poll` asks for what is missing still."""

    def __init__(self, materials: MaterialStore, store: Store, spec: JobSpec, seals: tuple[Seal, ...]) -> None:
        self._held, self._store, self._spec, self._seals = materials, store, spec, seals
        self._found: dict[tuple[str, Bytes32], object] = {}
        self._hopeless: dict[Bytes32, str] = {}
        self._step_room = STEP_BYTES
        self._environments: dict[str, Path] = {}

    def release(self) -> None:
        """The job needs its environments no more: its enclave has copies, or there will be none."""
        self._held.environments.release(self._environments.values())
        self._environments = {}

    def poll(self) -> Materials:
        """Everything that is available now.

        Raises:
            InputMissing: the workload is there, and this host cannot provide its environment.
        """
        spec, store, missing = self._spec, self._store, dict(self._hopeless)

        def had(kind: str, name: Bytes32, fetch: Callable[[], _T]) -> _T | None:
            if (kind, name) not in self._found:
                try:
                    self._found[kind, name] = fetch()
                except ServiceError as error:
                    missing[name] = self._hopeless.get(name, str(error))
                    return None
            return self._found[kind, name]  # type: ignore[return-value] # what this kind's fetch gave

        def document(name: Bytes32) -> bytes | None:
            return had("document", name, lambda: store.document(name))

        def container(root: Bytes32) -> Path | None:
            return had("container", root, lambda: self._held.container(root))

        bundle = had("workload", spec.workload_digest, lambda: store.workload(spec.workload_digest))
        parameters = had(
            "parameters", spec.parameters_digest, lambda: store.parameters(spec.request_hash, spec.parameters_digest)
        )

        def bounded(name: Bytes32, most: int) -> bytes | None:
            return _within(name, document(name), most, missing)

        policies = tuple(bounded(seal.policy_hash, MAXIMUM_POLICY) for seal in self._seals)
        read = read_policies(policies)
        cards = tuple(bounded(name, MAXIMUM_CARD) if (name := card_name(policy)) else None for policy in read)

        share_sets = tuple(bounded(seal.share_root, MAXIMUM_SHARE_SET) for seal in self._seals)
        names = document(spec.result_keys_hash)
        result_keys = _keys(names, spec.result_keys_hash, bounded, missing) if names is not None else None
        environment = self._environment(bundle.environment) if bundle is not None else None
        return Materials(
            spec=spec,
            seals=self._seals,
            policies=policies,
            cards=cards,
            share_sets=share_sets,
            parameters=parameters.canonical() if parameters is not None else None,
            result_keys=result_keys,
            bundle=bundle,
            environment=environment,
            steps=tuple(self._steps(steps_of(read, cards, spec.kind), had, missing)),
            containers=self._containers(container, missing),
            missing=missing,
        )

    def _environment(self, environment: Environment) -> Path:
        """Held from here on until :meth:`release`. Raises :class:`InputMissing`."""
        name = name_of(environment)
        if name not in self._environments:
            self._environments[name] = self._held.environments.hold(environment)
        return self._environments[name]

    def _containers(self, held: Callable[[Bytes32], Path | None], missing: dict[Bytes32, str]) -> dict[Bytes32, Path]:
        found: dict[Bytes32, Path] = {}
        for root in {seal.content_root for seal in self._seals} - self._hopeless.keys():
            try:
                path = held(root)
            except OSError as error:
                # No room for it here. Fetching it again and again would not make any.
                self._hopeless[root] = missing[root] = f"container {root}: {error.strerror or error}"
            else:
                found |= {root: path} if path is not None else {}
        return found

    def _step(self, digest: Bytes32) -> Bundle:
        """Fetch a step, as far as there is room for it. Raises :class:`ServiceError`."""
        try:
            found = self._store.workload(digest, most=self._step_room)
        except AnswerTooLong:
            self._hopeless[digest] = f"step {digest}: the steps of this job have more than {STEP_BYTES} bytes together"
            raise
        self._step_room -= len(pack(found))
        return found

    def _steps(
        self,
        named: Iterable[Bytes32],
        had: Callable[[str, Bytes32, Callable[[], Bundle]], Bundle | None],
        missing: dict[Bytes32, str],
    ) -> Iterator[tuple[Bundle, Path]]:
        """The steps that are there, each with its environment; the others are marked."""
        for digest in named:
            step = had("workload", digest, partial(self._step, digest)) if digest not in missing else None
            folder = self._step_environment(digest, step, missing) if step is not None else None
            if step is not None and folder is not None:
                yield step, folder

    def _step_environment(self, digest: Bytes32, step: Bundle, missing: dict[Bytes32, str]) -> Path | None:
        """Where a step's dependencies are; None with the step marked where this host cannot provide them."""
        try:
            return self._environment(step.environment)
        except InputMissing as error:
            missing[digest] = f"step {digest}: {error.message}"
            return None
