"""A provider's host in the test's own hands: the real host's code, one part of it bent.

The enclave, the device, the oracle nodes, the backend and the chain are the real processes; only the party that nobody
trusts runs here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sealmarket.chain import Sender
from sealmarket.chain.events import VersionPublished
from sealmarket.chain.follow import Cursor
from sealmarket.client import Store, signing
from sealmarket.client.nodes import Nodes as HttpNodes
from sealmarket.protocol.wire import BoundDevices
from sealmarket_devices.client import VirtualDevice
from sealmarket_devices.driver import bound_devices, image_arguments
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.runtime.channel import Channel, Evidence, FromEnclave, Load
from sealmarket_worker.agent import Agent
from sealmarket_worker.context import HostContext
from sealmarket_worker.environments import Environments
from sealmarket_worker.image import base_interpreter
from sealmarket_worker.journal import JobEntry, JobState, Journal
from sealmarket_worker.limits import OperatorLimits
from sealmarket_worker.link import ServiceLink
from sealmarket_worker.materials import MaterialStore
from sealmarket_worker.nodes import Nodes
from sealmarket_worker.progress import JobProgress
from sealmarket_worker.session import EnclaveSession, Outcome, Shares, host_side
from sealmarket_worker.transactions import ChainTransactions, ProviderTransactions
from tests.acceptance.market import Rehearsal
from tests.patience import PATIENCE, until


class Bent:
    """What a test changes about the host. The default of each is what an honest host does."""

    def load(self, load: Load) -> Load:
        """What is handed to the enclave."""
        return load

    def evidence(self, evidence: Evidence) -> Evidence:
        """What the host makes of the enclave's evidence."""
        return evidence

    def devices(self, devices: BoundDevices | None) -> BoundDevices | None:
        """What the host shows of the machine's GPUs."""
        return devices

    def releases(self, releases: Sequence[bytes]) -> Sequence[bytes]:
        """What is delivered to the enclave."""
        return releases

    def containers(self, containers: Mapping[Bytes32, Path]) -> Mapping[Bytes32, Path]:
        """What is served to the enclave."""
        return containers

    def outcome(self, outcome: Outcome) -> Outcome:
        """What is made of the enclave's word."""
        return outcome


class _Session(EnclaveSession):
    def __init__(self, channel: Channel[FromEnclave], bent: Bent) -> None:
        super().__init__(channel)
        self._bent = bent

    def load(self, load: Load) -> Evidence:
        return self._bent.evidence(super().load(self._bent.load(load)))

    def deliver(self, releases: Sequence[bytes]) -> Shares:
        return super().deliver(self._bent.releases(releases))

    def finish(
        self,
        containers: Mapping[Bytes32, Path],
        on_stage: Callable[[str], None],
        link: ServiceLink | None = None,
    ) -> Outcome:
        return self._bent.outcome(super().finish(self._bent.containers(containers), on_stage, link))


class BentDriver:
    """Launches real enclaves on the market's device."""

    tee = Tee.TDX

    def __init__(self, socket: Path, image: Path, bent: Bent) -> None:
        self._socket, self._image, self._bent = socket, image, bent

    def check(self) -> None:
        """The market has started its device."""

    def launch(self) -> EnclaveSession:
        """An enclave whose host is bent."""
        with VirtualDevice(self._socket) as device:
            launched = device.launch(self._image, base_interpreter(), image_arguments(self.tee))
        session = _Session(host_side(launched.channel), self._bent)
        session.name = launched.id
        return session

    def devices(self, session: EnclaveSession) -> BoundDevices | None:
        """The machine's GPUs, as the host shows them."""
        with VirtualDevice(self._socket) as device:
            return self._bent.devices(bound_devices(device.machine(session.name)))

    def endorsements(self) -> str:
        """The device's collateral."""
        with VirtualDevice(self._socket) as device:
            return device.endorsements()


class Host:
    """Follows the chain for the ``host`` account's jobs while it is open."""

    def __init__(
        self,
        rehearsal: Rehearsal,
        folder: Path,
        bent: Bent | None = None,
        *,
        image: Path | None = None,
        transactions: Callable[[ProviderTransactions], ProviderTransactions] = lambda honest: honest,
        nodes: Callable[[Nodes], Nodes] = lambda honest: honest,
        limits: OperatorLimits | None = None,
        store: Callable[[str], Store] = Store,
    ) -> None:
        purse, book = rehearsal.market.purses["host"], rehearsal.market.book
        self.rehearsal = rehearsal
        self.said: list[JobProgress] = []
        self.journal = Journal(folder / "journal.sqlite")
        self.store = store(book.store)
        self.driver = BentDriver(rehearsal.market.device_socket, image or rehearsal.image, bent or Bent())
        self.nodes = HttpNodes()
        self.stop = threading.Event()
        self.materials = MaterialStore(
            self.store, folder, Environments(folder / "environments", rehearsal.workload.wheels)
        )
        sender: Sender = purse.sender
        # Jobs that were matched before this host came are another's.
        final = rehearsal.chain.final()
        self.journal.advance(Cursor(final.number, final.hash), self._seals(rehearsal), [])
        host = HostContext(
            chain=rehearsal.chain,
            transactions=transactions(ChainTransactions(rehearsal.chain, sender)),
            store=self.store,
            nodes=nodes(self.nodes),
            driver=self.driver,
            materials=self.materials,
            journal=self.journal,
            sign=lambda seal: signing.sign(purse.account, book, seal),
            state=folder,
            stop=self.stop,
            listeners=(self.said.append,),
            poll_seconds=0.1,
            settle_patience_seconds=5.0,
            limits=limits or OperatorLimits(),
        )
        self._thread = threading.Thread(target=Agent(host, sender.address).run, daemon=True)

    @staticmethod
    def _seals(rehearsal: Rehearsal) -> list[Seal]:
        told = rehearsal.chain.events(rehearsal.market.book.deployed_at, rehearsal.chain.final().number)
        return [event.seal for event in told if isinstance(event, VersionPublished)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self._thread.join(PATIENCE)
        self.nodes.close()
        self.store.close()
        self.journal.close()

    def entry(self, job_id: JobId, *states: JobState) -> JobEntry:
        """The journal's entry, once it is in one of the states."""

        def arrived() -> JobEntry | None:
            try:
                entry = self.journal.job(job_id)
            except KeyError:
                return None
            return entry if entry.state in states else None

        return until(f"the host's journal to say {', '.join(states)}; it said {self.words()}", arrived)

    def words(self) -> str:
        """What it told, for messages of failed tests."""
        return "; ".join(f"{event.stage} {event.state} {event.message}" for event in self.said[-6:])

    def spec(self, job_id: JobId) -> JobSpec:
        """The specification of a job."""
        return self.rehearsal.read(job_id).spec
