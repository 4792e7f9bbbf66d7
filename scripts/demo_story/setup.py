"""The setup of the story: the workload, the enclave image, and the parties, each with its own account."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scripts.toolchain import ROOT
from sealmarket.attestation.intel.measurement import TdxMeasurement
from sealmarket.client import Consumer, MarketApi, Owner, Provider, Store
from sealmarket.client.describing import Wishes, describe
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.fetch import fetch_wheels, lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.reading import infer
from sealmarket.workloads.steps import shipped
from sealmarket_devices import measure
from sealmarket_devices.driver import image_arguments
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.card import Card, ReaderRef
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.workload.bundle import LOCK
from sealmarket_localnet.market import LocalMarket, Purse
from sealmarket_worker.image import base_interpreter, build_image

WHEELS = ROOT / "build" / "wheels"
"""Kept from run to run, since they are downloaded once; one folder for each lock and interpreter."""


@dataclass(frozen=True, slots=True)
class PreparedWorkload:
    """A workload with its environment locked for this machine's interpreter."""

    folder: Path
    wheels: Path
    digest: Bytes32


def prepare_workload(source: Path, folder: Path) -> PreparedWorkload:
    """Copy a workload, fetch the wheels of its lock where that was not done before, and lock its environment.

    Raises:
        FetchFailed: no network, or a wheel that is not the locked one.
    """
    shutil.copytree(source, folder)
    lock = sha256((folder / LOCK).read_bytes()).hex()[:16]
    wheels = WHEELS / f"{lock}-{sys.implementation.cache_tag}"
    if not wheels.is_dir():
        partial = wheels.with_suffix(".partial")
        fetch_wheels(folder, partial)
        partial.rename(wheels)
    return PreparedWorkload(folder, wheels, lock_environment(folder, wheels))


def altered_workload(workload: PreparedWorkload, folder: Path) -> PreparedWorkload:
    """The same workload with one line changed: its metrics now carry the first rows of the first owner."""
    shutil.copytree(workload.folder, folder)
    code = folder / "code" / "train.py"
    honest = '"metrics.json": json.dumps(metrics, sort_keys=True).encode(),'
    greedy = '"metrics.json": json.dumps({n: c[:40].to_pylist() for n, c in pooled.columns.items()}).encode(),'
    text = code.read_text()
    if honest not in text:
        raise ValueError(f"{code} has changed: the line to alter is not there")
    code.write_text(text.replace(honest, greedy))
    return PreparedWorkload(folder, workload.wheels, read_bundle(folder).digest)


def describe_rows(rows: bytes, title: str) -> Card:
    """The data card of a table, as `owner describe` writes it: by the reader that comes with Sealmarket.

    Raises:
        FetchFailed: no network, the first time.
        ContentUnfit: rows that have no certain reading.
    """
    step = shipped("tables", WorkloadCache.of_user())
    reader = ReaderRef(name=step.name, digest=step.digest)
    return describe(infer(rows, {}, step), reader, Wishes(title=title)).card


def prepare_image(folder: Path) -> tuple[Path, TdxMeasurement]:
    """Build the enclave image, and compute what a quote of it will say: what an owner does before allowing it."""
    image = build_image(folder)
    return image, measure_image(image)


def measure_image(image: Path) -> TdxMeasurement:
    """What a quote of an enclave with this image will say, computed without a device."""
    return tdx_measurement(measure.measure_image(image, base_interpreter(), image_arguments(Tee.TDX)))


def altered_image(image: Path, folder: Path) -> Path:
    """The same image with a line added to its entry point: its measurement is another one."""
    shutil.copytree(image, folder)
    entry = folder / "__main__.py"
    entry.chmod(0o644)
    entry.write_text(entry.read_text() + "\n# one line more\n")
    return folder


@dataclass(frozen=True, slots=True)
class Parties:
    """The parties of the story. Each has an account of its own; no two share a key."""

    hospitals: tuple[Owner, Owner]
    insurer: Consumer
    provider: Provider
    rogue: Provider
    purses: dict[str, Purse]
    store: Store
    api: MarketApi


HOSPITALS = ("hospital_a", "hospital_b")


def create_parties(market: LocalMarket) -> Parties:
    """Give each party an account with coin."""
    store, api = Store(market.book.store), MarketApi(market.book.backend)
    names = (*HOSPITALS, "insurer", "provider", "rogue")
    with ThreadPoolExecutor() as executor:
        purses = dict(zip(names, executor.map(market.purse, names), strict=True))
    first, second = (Owner(market.chain, purses[name].account, store, api) for name in HOSPITALS)
    return Parties(
        hospitals=(first, second),
        insurer=Consumer(market.chain, purses["insurer"].account, store, api),
        provider=Provider(market.chain, purses["provider"].account, api),
        rogue=Provider(market.chain, purses["rogue"].account, api),
        purses=purses,
        store=store,
        api=api,
    )
