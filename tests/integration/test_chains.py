"""The three local chains carry a market: deployed, verified, one job matched and read, each by its own finality."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from msgspec.structs import replace

from scripts.demo_story.chain import is_url
from sealmarket.chain import Chain as ChainReader
from sealmarket.chain import Reverted, Sender
from sealmarket.chain.bytecode import CONTRACTS, carried
from sealmarket.chain.deploy import contract_address, write_book
from sealmarket.chain.errors import LogsMissing
from sealmarket.chain.keys import DEVELOPMENT_CHAIN_IDS
from sealmarket.client import read_job
from sealmarket.operate import deploy as deployment
from sealmarket.operate import verify
from sealmarket.operate.inspect import inspect
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Address
from sealmarket_localnet import chains
from sealmarket_localnet.chains import Chain
from sealmarket_localnet.processes import Supervisor
from tests.chain.faulty_rpc import faulty, lagging, real
from tests.integration.market import Market, development_account
from tests.patience import PATIENCE

DEVELOPMENT_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


def ask(url: str, method: str) -> str:
    """The result of a JSON-RPC call without parameters."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).encode()
    with urlopen(Request(url, body, {"content-type": "application/json"}), timeout=PATIENCE) as response:
        result: str = json.load(response)["result"]
        return result


@pytest.mark.parametrize("start", [chains.anvil, chains.hardhat, chains.ganache])
def test_a_local_chain_answers_on_loopback_and_stops(start: Callable[[Supervisor], Chain], tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs:
        chain = start(programs)
        assert chain.url.startswith("http://127.0.0.1:")
        assert ask(chain.url, "eth_chainId") == hex(chains.CHAIN_ID)
        assert chains.CHAIN_ID in DEVELOPMENT_CHAIN_IDS
    assert chain.process.status is not None


@pytest.fixture(scope="module", params=chains.LOCAL)
def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("chain")
    with Supervisor(folder) as programs:
        chain = chains.start(programs, request.param, block_time=0.25)
        assert chain.name == request.param
        made = Market(chain.url, folder, chain.finality)
        yield made
        made.close()


def test_a_refusal_has_its_reason_on_every_chain(market: Market) -> None:
    with pytest.raises(Reverted) as refused:
        market.anybody.send(market.chain.market.set_paused(True))
    assert refused.value.name == "OnlyGuardian"


def test_logs_that_a_replica_has_not_seen_are_missed_on_every_chain(market: Market) -> None:
    final = market.chain.final().number
    with faulty(real(market.rpc_url), lagging(1)) as proxy, closing(ChainReader(market.chain.book, proxy.url)) as chain:
        with pytest.raises(LogsMissing):
            chain.events(1, final)
        assert chain.events(1, final) == market.chain.events(1, final)


def test_a_publicly_known_key_does_not_pay_for_a_chain_that_is_named_by_its_address(
    market: Market, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, committee = tmp_path / "bank.key", tmp_path / "committee.json"
    key.write_text(DEVELOPMENT_KEY)
    key.chmod(0o600)
    committee.write_bytes(market.committee.canonical())
    words = ["--rpc", market.rpc_url, "--key-file", str(key), "--finality", "depth:2", "--backend", "http://b"]
    assert deployment.main([*words, "--committee", str(committee), "--out", str(tmp_path / "market.json")]) == 1
    assert "publicly known" in capsys.readouterr().err
    assert not (tmp_path / "market.json").exists()


def test_code_that_is_not_the_market_is_found_out(market: Market) -> None:
    """The address book of an attacker: the real market, but another registry's address."""
    book = replace(market.book, registry=contract_address(market.book.market, 1))
    chain = type(market.chain)(book, market.rpc_url)
    report = verify.verify(chain, carried(), chain.final())
    chain.close()
    assert not report.verified
    assert ("AssetRegistry", "code") in {(found.contract, found.what) for found in report.findings if not found.holds}


def test_a_deployed_market_is_what_the_library_carries(
    market: Market, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "market.json"
    write_book(book, market.book)
    assert verify.main([str(book), "--rpc", market.rpc_url, "--compiler", "none", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verified"]
    assert {finding["contract"] for finding in told["findings"]} == set(CONTRACTS)


def test_a_match_counts_once_it_is_final_by_the_rule_of_the_address_book(market: Market) -> None:
    handle = market.request(market.ready())
    job_id = market.match(handle)
    matched = market.chain.head()
    assert market.consumer.wait_match(handle, timeout=PATIENCE) == job_id
    assert read_job(market.chain, job_id).status is Status.MATCHED
    final, head = market.chain.final(), market.chain.head()
    assert final.number >= matched.number - 1
    if market.book.finality.kind == "depth":
        assert head.number - final.number >= market.book.finality.depth


def test_a_fresh_account_deploys_to_the_addresses_that_were_foretold(
    market: Market, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from eth_account import Account

    account = Account.create()
    sender = Sender(market.chain, development_account(5), development=True)
    sender.transfer(Address.parse(account.address.lower()), 10**18)
    key, committee, out = tmp_path / "k", tmp_path / "committee.json", tmp_path / "market.json"
    key.write_text(account.key.hex())
    key.chmod(0o600)
    committee.write_bytes(market.committee.canonical())
    rule = market.book.finality
    words = ["--rpc", market.rpc_url, "--key-file", str(key), "--committee", str(committee), "--backend", "http://b"]
    words += ["--finality", rule.kind if rule.kind == "finalized" else f"depth:{rule.depth}", "--json"]
    assert deployment.main([*words, "--dry-run"]) == 0
    foretold = json.loads(capsys.readouterr().out)["addresses"]
    assert deployment.main([*words, "--out", str(out)]) == 0
    first = json.loads(capsys.readouterr().out)
    assert {part["name"]: part["address"] for part in first["parts"]} == foretold
    assert first["gas"] > 0
    # The same command again finds all of it there, sends nothing, and writes the same book: where reading has to
    # begin is then the block of the first contract itself.
    assert deployment.main([*words, "--out", str(out)]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["gas"] == 0
    elsewhere = {"deployedAt": 0, "deployedHash": None}
    assert again["book"] | elsewhere == first["book"] | elsewhere
    assert again["book"]["deployedAt"] >= first["book"]["deployedAt"]
    before = out.read_bytes()
    # Another deployment never takes an address book's place.
    out.with_suffix(".progress.json").unlink()
    assert deployment.main([*words, "--out", str(out)]) == 1
    assert out.read_bytes() == before


def test_a_chain_is_known_by_its_address(market: Market) -> None:
    found = inspect(market.rpc_url, market.book.finality)
    assert found.chain_id == chains.CHAIN_ID
    assert is_url(market.rpc_url)
