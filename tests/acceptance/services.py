"""A service in a market of the acceptance tests: sealed with `serving`, matched with its own provider, served."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain.sessions import ServiceState
from sealmarket.client import AssetWish, Provider, SealedAsset
from sealmarket.client.services import ServiceMaker, ServicePlan
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_devices.driver import VIRTUAL
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Uint64, Wei, to_builtins
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_localnet.market import ETHER
from sealmarket_localnet.processes import free_port
from sealmarket_worker.image import base_interpreter, build_image
from tests.acceptance.market import Rehearsal
from tests.enclave.session.services import ECHO, MANIFEST, RULES
from tests.patience import until

WORKER = "serving"
PLAN = ServicePlan(
    unit_price=Wei(5),
    lease=Uint64(500),
    seconds=3600,
    penalty=Wei(ETHER // 10),
    lease_seconds=120,
    grade=Grade.SIMULATED,
    purpose=Purpose.INFER,
)


@dataclass(frozen=True, slots=True)
class Served:
    """A service that is open and bonded; its worker can be started again."""

    market: Rehearsal
    job_id: JobId
    listen: str
    image: Path
    asset: SealedAsset
    bundle: Bundle
    name: str = WORKER
    """Of the worker's process."""
    owner: str = "host"
    """Whose purse the provider's is."""

    @property
    def url(self) -> str:
        """Where its provider's host answers."""
        return f"http://{self.listen}"

    @property
    def named(self) -> tuple[str, ...]:
        """The options by which a user's proxy finds it without the market's list."""
        return ("--service", str(self.job_id), "--provider", self.url)

    @property
    def state(self) -> ServiceState:
        """The service at the head of the chain."""
        chain = self.market.chain
        return chain.sessions_at(chain.head()).service(self.job_id)

    def start_worker(self) -> None:
        """Start the provider's host, on the state that it left."""
        purse = self.market.market.purses[self.owner]
        wheels = self.market.workload.wheels
        self.market.market.start_worker(purse, wheels, name=self.name, image=self.image, listen=self.listen)


def serve(market: Rehearsal, code: str = ECHO) -> Served:
    """The owner seals, the provider makes the service, and its worker serves it."""
    folder = market.folder / "echo"
    (folder / "code").mkdir(parents=True)
    (folder / "workload.toml").write_text(MANIFEST.format(load=60, processes=2, seconds=60))
    (folder / "requirements.lock").write_text("")
    (folder / "code" / "count.py").write_text(code)
    (folder / "environment.json").write_bytes(build(b"", []).canonical())
    bundle = read_bundle(folder)
    image = build_image(market.folder / "session-image", "session")
    measured = VIRTUAL.expected_measurement(market.market.tee, image, base_interpreter())
    rules = AppraisalPolicy(measurements=(measured,), platforms="any", lowest_grade="simulated")
    asset = market.publish(
        "north",
        b"the weights",
        evidence=to_builtins(rules),
        workloads=(bundle.digest,),
        purposes=("infer",),
        serving=RULES,
        price=Wei(1000),
    )
    return _served(Served(market, JobId(ZERO_HASH), f"127.0.0.1:{free_port()}", image, asset, bundle))


def serve_also(served: Served, name: str) -> Served:
    """Another provider serves the same model, in a process of its own."""
    market = served.market.market
    provider = Provider(served.market.chain, market.purse(name).account, served.market.api)
    provider.stake(Wei(20 * ETHER))
    return _served(replace(served, name=name, owner=name, listen=f"127.0.0.1:{free_port()}"))


def _served(wanted: Served) -> Served:
    """Deposit, start the worker, make the service, and wait until it is open and bonded."""
    market, asset, purse = wanted.market, wanted.asset, wanted.market.market.purses[wanted.owner]
    purse.sender.send(market.chain.market.deposit(ZERO_ADDRESS, Wei(5 * ETHER)))
    wanted.start_worker()
    maker = ServiceMaker(market.chain, purse.account, market.store, market.api)
    wishes = [AssetWish(asset_id=asset.asset_id, version=asset.version)]
    made = maker.compose(wanted.bundle, {}, wishes, PLAN, PrivateKey.generate())
    job_id = maker.make(made, market.market.folder / wanted.name)
    market.reach_status(job_id, Status.ACCEPTED)
    found = replace(wanted, job_id=job_id)
    until("the service is open and bonded", lambda: found.state.bond >= made.bond)
    return found
