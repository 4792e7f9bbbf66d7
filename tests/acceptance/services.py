"""A service in a market of the acceptance tests: sealed with `serving`, matched with its own provider, served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain.sessions import ServiceState
from sealmarket.client import AssetWish, SealedAsset
from sealmarket.client.services import ServiceMaker, ServicePlan
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_devices.driver import VIRTUAL
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Uint64, Wei, to_builtins
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.sealed.hpke import PrivateKey
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

    @property
    def url(self) -> str:
        """Where its provider's host answers."""
        return f"http://{self.listen}"

    @property
    def state(self) -> ServiceState:
        """The service at the head of the chain."""
        chain = self.market.chain
        return chain.sessions_at(chain.head()).service(self.job_id)

    def start_worker(self) -> None:
        """Start the provider's host, on the state that it left."""
        _start(self.market, self.image, self.listen)


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
    purse, listen = market.market.purses["host"], f"127.0.0.1:{free_port()}"
    purse.sender.send(market.chain.market.deposit(ZERO_ADDRESS, Wei(5 * ETHER)))
    _start(market, image, listen)
    maker = ServiceMaker(market.chain, purse.account, market.store, market.api)
    wishes = [AssetWish(asset_id=asset.asset_id, version=asset.version)]
    made = maker.compose(bundle, {}, wishes, PLAN, PrivateKey.generate())
    job_id = maker.make(made, market.market.folder / WORKER)
    market.reach_status(job_id, Status.ACCEPTED)
    found = Served(market, job_id, listen, image, asset)
    until("the service is open and bonded", lambda: found.state.bond >= made.bond)
    return found


def _start(market: Rehearsal, image: Path, listen: str) -> None:
    purse = market.market.purses["host"]
    market.market.start_worker(purse, market.workload.wheels, name=WORKER, image=image, listen=listen)
