"""Put a host together from its configuration, and run it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from sealmarket.chain import Chain, ChainError, Sender, Sending
from sealmarket.client import signing
from sealmarket.client.nodes import POLL_PATIENCE_SECONDS, Nodes
from sealmarket.client.renewals import NODE_SECONDS, post
from sealmarket.http import HttpClient
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.capability import Capability
from sealmarket.service.errors import ServiceError
from sealmarket.serving.lock import only_process
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address
from sealmarket_worker import capability
from sealmarket_worker.agent import Agent
from sealmarket_worker.announcing import Announcer
from sealmarket_worker.config import WorkerConfig
from sealmarket_worker.context import HostContext
from sealmarket_worker.drivers.installed import driver_named
from sealmarket_worker.drivers.interface import Driver, DriverSettings
from sealmarket_worker.ending import Ending
from sealmarket_worker.environments import UNFINISHED, Environments
from sealmarket_worker.funds import shortages
from sealmarket_worker.gateway import Gateway
from sealmarket_worker.image import base_interpreter, build_image
from sealmarket_worker.journal import Journal
from sealmarket_worker.materials import MaterialStore
from sealmarket_worker.progress import Listener, ProgressLog
from sealmarket_worker.service_money import Tending, Treasury
from sealmarket_worker.serving_job import Services
from sealmarket_worker.transactions import ChainTransactions

PROGRESS = "progress.jsonl"
JOURNAL = "journal.sqlite"
OUTBOX = "outbox"
QUOTE = "Market.quote"
"""Only the enclave that made the evidence can do the job of its quote, and no enclave outlives its host."""

log = logging.getLogger(__name__)


def serve(config: WorkerConfig, listener: Listener, ready: Callable[[], None], ending: Ending) -> None:
    """Run a host until it is to end. ``ready`` is called once the device answers and the host follows the chain.

    Raises:
        ConfigInvalid: a key file that others can read, or a TEE that the driver does not have.
        DriverMissing: the driver is not installed.
        DriverError: the TEE cannot be used: no device is there, or it is of another kind.
        ChainError: the chain is another one, the account is a publicly known one, or its outbox is damaged.
        StateInUse: another process runs on the state folder.
    """
    account = config.account()
    factory = driver_named(config.driver, config.tee)
    with only_process(config.state):
        _sweep(config.state)
        image = config.image or build_image(config.state / "image", config.kind.slug)
        driver = opened(config, image)
        driver.check()
        if factory.simulated:
            log.warning("the driver %s gives SIMULATED %s evidence, no hardware", config.driver, config.tee.name)
        with (
            closing(Chain(config.book, config.rpc)) as chain,
            Journal(config.state / JOURNAL) as journal,
            closing(Store(config.store_url)) as store,
            closing(Nodes(patience=POLL_PATIENCE_SECONDS)) as nodes,
            ExitStack() as held,
        ):
            sending = Sending(config.outbox or config.state / OUTBOX, config.fees)
            sender = Sender(chain, account, development=config.development_chain, sending=sending)
            sender.recover(perishable=(QUOTE,))
            treasury = Treasury(chain, sender.send, config.state)
            services = held.enter_context(_services(config, treasury, store, account))
            promised = capability.of(config, image)
            _publish(store, promised)
            host = HostContext(
                chain=chain,
                transactions=ChainTransactions(chain, sender),
                store=store,
                nodes=nodes,
                driver=driver,
                materials=MaterialStore(store, config.state, _environments(config, promised)),
                journal=journal,
                sign=lambda seal: signing.sign(account, config.book, seal),
                state=config.state,
                stop=ending.stop,
                drain=ending.drain,
                listeners=(listener, ProgressLog(config.state / PROGRESS)),
                settle_patience_seconds=config.settle_patience_seconds,
                limits=config.limits,
                capability=promised,
                services=services,
            )
            _warn_of_shortages(chain, config, sender.address)
            ready()
            Agent(host, sender.address, max_jobs=config.max_jobs, share=config.share).run()


@contextmanager
def _services(
    config: WorkerConfig, treasury: Treasury, store: Store, account: signing.Signer
) -> Iterator[Services | None]:
    """Where users reach the services of this host; None on one for batch jobs."""
    if config.listen is None:
        yield None
        return
    # A server's libraries, which no other worker needs.
    from sealmarket_worker.listener import Server

    gateway = Gateway()
    with (
        closing(HttpClient(seconds=NODE_SECONDS)) as client,
        closing(MarketApi(config.book.backend)) as api,
        Server(gateway, *config.listen) as server,
        Tending(treasury, gateway.serves),
    ):
        log.warning("users reach services at %s", server.url)
        announcer = None
        if config.url:
            sign = partial(signing.sign, account, config.book)
            announcer = Announcer(url=config.url, post=api.services.post, sign=sign)
        yield Services(
            gateway, partial(post, client), config.state, treasury=treasury, store=store, announcer=announcer
        )


def opened(config: WorkerConfig, image: Path) -> Driver:
    """The driver that a configuration names. Raises ``DriverMissing`` and ``ConfigInvalid``."""
    settings = DriverSettings(
        tee=config.tee,
        device=config.device,
        image=image,
        interpreter=base_interpreter(),
        environments=config.state / "environments",
    )
    return driver_named(config.driver, config.tee).open(settings)


def _sweep(state: Path) -> None:
    """Remove what a killed worker had begun to write. The lock is held, so none of it is another's.

    All of it is ciphertext or code: nothing plain is ever written on a host.
    """
    for pattern in ("containers/.incoming-*", *UNFINISHED, ".image-*"):
        for left in state.glob(pattern):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _environments(config: WorkerConfig, promised: Capability) -> Environments:
    names = [str(name).removeprefix("0x") for name in promised.environments]
    return Environments(config.state / "environments", config.wheels, config.kept_environments, names)


def _publish(store: Store, promised: Capability) -> None:
    try:
        store.put_document(promised.canonical())
    except ServiceError as error:
        log.warning("the store does not take the capability document now, it is put again with each quote: %s", error)


def _warn_of_shortages(chain: Chain, config: WorkerConfig, provider: Address) -> None:
    tokens = sorted({ZERO_ADDRESS, *config.limits.max_stake})
    try:
        for shortage in shortages(chain.at(chain.head()), config.book, provider, tokens):
            log.warning("%s", shortage)
    except ChainError as error:
        log.warning("the provider's balance cannot be read now: %s", error)
