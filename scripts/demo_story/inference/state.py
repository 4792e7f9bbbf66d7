"""What the story of private inference knows so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scripts.demo_story.inference import parts
from scripts.demo_story.inference.parts import NAMES
from scripts.demo_story.inference.users import User, until
from scripts.demo_story.stage import Stage
from sealmarket.chain.sessions import ServiceState
from sealmarket.client import SealedAsset
from sealmarket.client.jobs import read_job
from sealmarket.client.services import UnsignedService
from sealmarket.client.tabs import Tabs
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_localnet.market import LocalMarket

WORKER = "service-worker"
"""The process of the provider's host, and its state folder."""


@dataclass(slots=True)
class Service:
    """The state of the story: each act adds what it finds."""

    stage: Stage
    market: LocalMarket
    fetched: parts.Fetched
    cast: parts.Cast
    sealed: SealedAsset | None = None
    made: UnsignedService | None = None
    job_id: JobId = field(default_factory=lambda: JobId(ZERO_HASH))
    url: str = ""
    users: dict[str, User] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> ServiceState:
        """The service as the head of the chain has it."""
        return self.market.chain.sessions_at(self.market.chain.head()).service(self.job_id)

    @property
    def status(self) -> Status:
        """Its job's status at a final block."""
        return read_job(self.market.chain, self.job_id).status

    def tabs(self, name: str) -> Tabs:
        """A user's tabs."""
        return Tabs(self.market.chain, self.market.purses[name].account, self.cast.store)

    def balances(self) -> dict[str, int]:
        """What each party owns inside the market: free and staked, in wei."""
        head = self.market.chain.at(self.market.chain.head())
        accounts = {name: head.account(ZERO_ADDRESS, self.cast.purses[name].address) for name in NAMES}
        return {name: account.free + account.staked for name, account in accounts.items()}

    def wait(self, what: str, found: Callable[[], Any]) -> Any:
        """Wait while every program runs."""
        return until(what, found, self.market.programs.require_running)
