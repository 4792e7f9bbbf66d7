"""Owner, consumer, provider, operator and auditor complete a job together, each doing its own page, word for word.

Each has a folder, a home and an environment of its own; what one hands to another is copied, and nothing else is
shared. The market is the operator's, on a chain that the test starts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealmarket.chain.rpc import Rpc
from sealmarket.client.asset_card import load_asset_card
from sealmarket_localnet import chains
from sealmarket_localnet.market import ETHER, NODES
from sealmarket_localnet.processes import LOOPBACK, Supervisor, answers, free_port, says
from tests.acceptance import workloads
from tests.acceptance.market import ROWS
from tests.acceptance.roles import OWN, PAGES, ROOT, RUNS, Party, blocks

COIN = 100 * ETHER
ORACLE = "Oracle operator: run a node"
"""The first section of the operator's page that an oracle operator does."""
KEYS = "Make the node's keys"


def test_every_page_of_a_role_is_done_here_and_leaves_nothing_but_installation_and_values_out() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")}
    assert pages == {"auditor", "consumer", "operator", "owner", "provider"}
    for page in pages:
        found = blocks(page)
        text = (PAGES / f"{page}.md").read_text()
        assert len(found) == text.count("```") // 2, page  # each fence is a block of commands
        assert text.count(OWN) == sum(block.kind == OWN for block in found) <= 2
        assert text.count(RUNS) == sum(block.kind == RUNS for block in found)
        for block in found:
            if block.kind == OWN:
                own = [line for line in block.commands.splitlines() if "export " not in line]
                assert all("pip install" in line or "git clone" in line for line in own), block


@dataclass
class Market:
    """What the parties have of each other's: addresses, and the chain's node."""

    rpc: str
    backend: str
    nodes: list[str]
    party: Callable[..., Party]

    def fund(self, *printed: str) -> None:
        """Send coin to each account whose address a command printed."""
        addresses = [word for text in printed for word in text.split() if word.startswith("0x") and len(word) == 42]
        assert addresses
        rpc = Rpc(self.rpc)
        try:
            for address in addresses:
                rpc.call("anvil_setBalance", address, hex(COIN))
        finally:
            rpc.close()


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """A chain, and parties that have read their pages."""
    with Supervisor(logs=tmp_path / "logs") as programs:
        chain = chains.anvil(programs, "--block-time", "0.25")
        urls = [f"http://{LOOPBACK}:{free_port()}" for _ in range(NODES + 1)]

        def party(name: str, page: str, *, table: bool = False, **variables: str) -> Party:
            found = blocks(page)
            if page == "operator":
                begin = next(place for place, block in enumerate(found) if block.section == ORACLE)
                found = found[begin:] if name.startswith("oracle") else found[:begin]
            return Party(name, tmp_path / name, found, {"SEALMARKET_RPC": chain.url} | variables, programs, table=table)

        yield Market(chain.url, urls[0], urls[1:], party)


def _oracles(market: Market) -> list[Party]:
    """The oracle operators make their nodes' keys."""
    found = []
    for number, url in enumerate(market.nodes):
        oracle = market.party(f"oracle-{number}", "operator", NODE_URL=url, NODE_PORT=url.rpartition(":")[2])
        oracle.do(KEYS)
        found.append(oracle)
    return found


def _deployed(market: Market, oracles: list[Party]) -> Party:
    """The operator deploys a market of these nodes."""
    port = market.backend.rpartition(":")[2]
    values = {"BACKEND_URL": market.backend, "BACKEND_PORT": port, "CHECKOUT": str(ROOT), "SEALMARKET_SETUP": "off"}
    operator = market.party("operator", "operator", **values)
    market.fund(operator.do("Two accounts"))
    for number, oracle in enumerate(oracles):
        operator.take(oracle.folder / "member.json", f"member-{number}.json")
    operator.do("Deploy")
    return operator


def _prepared_provider(market: Market) -> Party:
    """The provider has an account with coin and a device, and knows what its enclave is."""
    provider = market.party("provider", "provider")
    market.fund(provider.do("An account"))
    provider.do("The device", ready=says("Ready"))
    provider.do("What your enclave is")
    return provider


def _running(market: Market, operator: Party, oracles: list[Party], provider: Party) -> None:
    """Backend and nodes run; the provider offers and serves."""
    operator.do("Run the backend", ready=answers(f"{market.backend}/healthz"))
    for oracle, url in zip(oracles, market.nodes, strict=True):
        oracle.take(operator.folder / "market.json")
        oracle.take(provider.folder / "development-root.der")
        oracle.do("Run the node", ready=answers(f"{url}/healthz"))
    provider.take(operator.folder / "market.json")
    provider.do("Offer compute")
    provider.do("Run the worker", ready=says("Ready"))


def _published(
    market: Market, book: Path, workload: Path, provider: Party, *, table: bool = False, auditor: Path | None = None
) -> Party:
    """The owner seals and publishes. ``auditor``: the public key of its auditor."""
    owner = market.party("owner", "owner", table=table)
    for source, name in ((book, None), (provider.folder / "measurement.json", None), (workload, "workload")):
        owner.take(source, name)
    if auditor is not None:
        owner.take(auditor)
    (owner.folder / "patients.csv").write_bytes(ROWS["north"])
    market.fund(owner.do("An account"))
    assert "train" in owner.do("Your terms")
    owner.do("Seal and publish")
    return owner


def _bought(market: Market, book: Path, workload: Path, owner: Party) -> Party:
    """The consumer buys a result."""
    consumer = market.party("consumer", "consumer")
    for source, name in ((book, None), (owner.folder / "sealed" / "asset-card.json", None), (workload, "workload")):
        consumer.take(source, name)
    market.fund(consumer.do("An account, and a result key"))
    consumer.do("Request, and open the result")
    return consumer


def test_the_roles_complete_a_job_together_and_the_auditor_proves_it(market: Market, tmp_path: Path) -> None:
    work = workloads.pooled_line(tmp_path / "author")
    oracles = _oracles(market)
    operator, provider = _deployed(market, oracles), _prepared_provider(market)
    provider.take(work.wheels, "wheels")
    _running(market, operator, oracles, provider)
    book = operator.folder / "market.json"
    auditor = market.party("auditor", "auditor")
    fingerprint = auditor.do("A key of your own").rpartition("fingerprint ")[2].strip()
    owner = _published(market, book, work.bundle, provider, auditor=auditor.folder / "auditor.key.public")
    assert fingerprint in owner.said["Your terms"]
    consumer = _bought(market, book, work.bundle, owner)
    assert json.loads((consumer.folder / "result" / "model.json").read_text())["rows"] == 3
    _audit(market, auditor, book, provider, consumer)
    assert "conclusion: proven" in auditor.do("Verify")
    found = auditor.do("Without a proof file")
    assert "conclusion: proven" in found
    assert "a quorum opened this package" in found
    consumer.do("What is left")
    owner.do("Change your mind")
    assert "0.3 coin" in owner.said["Who used it, and what it earned"]
    provider.do("Look after it")
    operator.do("Look after it")
    for oracle in oracles:
        assert "the log holds" in oracle.do("Look after the node")
    parties = (*oracles, operator, provider, owner, consumer, auditor)
    assert {party.name: party.left for party in parties if party.left} == {}


@pytest.mark.long
def test_an_owner_of_a_table_describes_it_and_publishes_what_the_card_promises(market: Market, tmp_path: Path) -> None:
    """The reader's packages are downloaded."""
    work = workloads.pooled_line(tmp_path / "author")
    oracles = _oracles(market)
    operator, provider = _deployed(market, oracles), _prepared_provider(market)
    operator.do("Run the backend", ready=answers(f"{market.backend}/healthz"))
    owner = _published(market, operator.folder / "market.json", work.bundle, provider, table=True)
    card = json.loads((owner.folder / "card.json").read_text())
    assert (card["kind"], card["reader"]["name"]) == ("table", "tables")
    assert [column["name"] for column in card["columns"]] == ["x", "y", "note"]
    assert list(load_asset_card(owner.folder / "sealed" / "asset-card.json").columns) == ["x", "y", "note"]


def _audit(market: Market, auditor: Party, book: Path, provider: Party, consumer: Party) -> None:
    """The auditor gets the job's id and proof, and a block hash that it trusts."""
    rpc = Rpc(market.rpc)
    try:
        block = rpc.call("eth_getBlockByNumber", "finalized", False)["hash"]
    finally:
        rpc.close()
    job = json.loads((consumer.folder / "request.json").read_text())["jobId"]
    auditor.variables = {**auditor.variables, "BLOCK_HASH": block, "JOB": job}
    (proof,) = (consumer.folder / "result").glob("*.sealproof.json")
    sources = ((book, None), (proof, "job.sealproof.json"), (provider.folder / "development-root.der", None))
    for source, name in sources:
        auditor.take(source, name)
