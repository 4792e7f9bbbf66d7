"""What `sealmarket worker doctor` looks at: this machine, and what a configuration names. Nothing is changed or sent.

Without a configuration the machine alone is examined. Each check says what was found and, unless it is as it should
be, the next step. A check that fails does not keep the others from being made.
"""

from __future__ import annotations

import platform
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sealmarket.chain import Chain
from sealmarket.client.doctor import Check, State, clock_check, ok
from sealmarket.protocol.moments import duration
from sealmarket.serving.lock import holder_of
from sealmarket.store.blobs import Store
from sealmarket_enclave import sandbox
from sealmarket_enclave.protocol.codec import ZERO_HASH
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.sandbox.model import Layer
from sealmarket_enclave.workload.environment import Interpreter
from sealmarket_worker.config import WorkerConfig
from sealmarket_worker.drivers.installed import driver_named
from sealmarket_worker.image import BATCH, dependency_files, installed_package, locked_versions
from sealmarket_worker.machine import NEEDS, Machine
from sealmarket_worker.main import opened

GIB = 1 << 30
LEAST_DISK, GOOD_DISK = 1 * GIB, 20 * GIB
LEAST_MEMORY = 2 * GIB
LEAST_DESCRIPTORS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This machine, as far as tests replace it. ``probe`` gives the sandbox's layers; ``disk`` free bytes of a path."""

    machine: Machine = field(default_factory=Machine)
    probe: Callable[[], tuple[Layer, ...]] = sandbox.probe
    disk: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)
    now: Callable[[], float] = time.time


def examine_machine(here: Here) -> Iterator[Check]:
    """What this machine has for enclaves, whatever is configured."""
    yield ok("kernel", f"{platform.system()} {platform.release()} on {here.machine.kind}")
    yield from _guarded("interpreter", _interpreter)
    yield from _guarded("sandbox", lambda: _sandbox(here))
    yield _memory(here.machine)
    yield _descriptors()
    kinds = here.machine.kinds()
    for tee in NEEDS:
        if tee in kinds:
            yield ok(f"{tee.slug} hardware", "the processor, the kernel and the devices are here")
        else:
            lack = next(here.machine.lacks(tee))
            yield Check(f"{tee.slug} hardware", State.OK, f"none: {lack.found}", lack.remedy)


def examine_config(config: WorkerConfig, here: Here) -> Iterator[Check]:
    """What a configuration names: driver, device, disk, wheels, account, chain, store, and whether a worker runs."""
    yield from _guarded("driver", lambda: _driver(config))
    yield _disk(config, here)
    yield _wheels(config)
    yield from _guarded("account", lambda: _account(config))
    yield from _guarded("chain", lambda: _chain(config, here))
    yield from _guarded("store", lambda: _store(config))
    yield _worker(config)


def _guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except SealmarketError as error:
        yield Check(name, State.FAILED, error.message, error.remedy)
    except OSError as error:
        yield Check(name, State.FAILED, str(error), "see that this user may read and write what is named")


def _interpreter() -> Iterator[Check]:
    package = installed_package()
    files = dependency_files(locked_versions(package, BATCH))
    yield ok("interpreter", f"{Interpreter.current()}, with all {len(files)} files that an enclave image takes from it")


def _sandbox(here: Here) -> Iterator[Check]:
    held = here.probe()
    missing = sorted(layer.value for layer in frozenset(Layer) - set(held))
    beside = f"; not needed and not here: {', '.join(missing)}" if missing else ""
    yield ok("sandbox", f"{', '.join(layer.value for layer in held)}{beside}")


def _memory(machine: Machine) -> Check:
    found = machine.memory()
    if found < LEAST_MEMORY:
        remedy = "raise the limit of its control group, or use a larger machine: an enclave holds its inputs twice"
        return Check("memory", State.WARNING, f"{_gib(found)} for everything here", remedy)
    return ok("memory", f"{_gib(found)}, within the limits of its control group")


def _descriptors() -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST_DESCRIPTORS:
        return Check("open files", State.WARNING, f"at most {hard}", "raise LimitNOFILE= or `ulimit -Hn` to 4096")
    return ok("open files", "no limit" if hard == resource.RLIM_INFINITY else f"at most {hard}")


def _driver(config: WorkerConfig) -> Iterator[Check]:
    factory = driver_named(config.driver, config.tee)
    name = f"driver {config.driver}"
    if config.image is None and not factory.simulated and config.driver != "gramine":
        yield Check(name, State.FAILED, "no image is named", "build a guest image, see docs/spec/guest.md")
        return
    opened(config, config.image or config.device).check()
    if factory.simulated:
        found = f"a virtual {config.tee.slug} device answers at {config.device}: SIMULATED, no hardware"
        yield Check(name, State.WARNING, found, "for tests only; offer it with --simulated")
    else:
        yield ok(name, f"{config.tee.slug} enclaves can be launched here")


def _disk(config: WorkerConfig, here: Here) -> Check:
    folder = config.state
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = here.disk(folder)
    remedy = "give the state folder a file system with room: ciphertext and environments are kept there"
    if free < LEAST_DISK:
        return Check("disk", State.FAILED, f"{_gib(free)} free at {config.state}", remedy)
    if free < GOOD_DISK:
        return Check("disk", State.WARNING, f"{_gib(free)} free at {config.state}", remedy)
    return ok("disk", f"{_gib(free)} free at {config.state}")


def _wheels(config: WorkerConfig) -> Check:
    prepare = "sealmarket worker prepare WORKLOAD --fetch"
    if not config.wheels.is_dir():
        return Check("wheels", State.FAILED, f"no folder {config.wheels}", f"make it, then: {prepare}")
    found = sum(1 for path in config.wheels.iterdir() if path.suffix == ".whl")
    environments = config.state / "environments"
    prepared = sum(1 for path in environments.iterdir() if path.is_dir()) if environments.is_dir() else 0
    said = f"{found} in {config.wheels}, {prepared} environments prepared"
    if config.prepared_only and not prepared:
        return Check("wheels", State.FAILED, f"{said}, and only prepared ones are promised", prepare)
    if not found:
        return Check("wheels", State.WARNING, said, f"workloads with packages are declined; {prepare}")
    return ok("wheels", said)


def _account(config: WorkerConfig) -> Iterator[Check]:
    yield ok("account", str(config.account().address))


def _chain(config: WorkerConfig, here: Here) -> Iterator[Check]:
    with closing(Chain(config.book, config.rpc)) as chain:
        head, final = chain.head(), chain.final()
        behind = duration(head.timestamp - final.timestamp)
        yield ok("chain", f"{chain.chain_id}, head {head.number}, final {final.number}, {behind} behind it")
        yield clock_check(int(here.now()), head.timestamp)


def _store(config: WorkerConfig) -> Iterator[Check]:
    with closing(Store(config.store_url)) as store:
        store.has("workloads", ZERO_HASH)
        yield ok("store", f"{store.url} answers")


def _worker(config: WorkerConfig) -> Check:
    holder = holder_of(config.state)
    if holder is None:
        return Check("worker", State.WARNING, "none runs on this state folder", "sealmarket worker run --config FILE")
    return ok("worker", f"process {holder} runs on {config.state}")


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
