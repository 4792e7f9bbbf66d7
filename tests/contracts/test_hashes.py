"""What Solidity hashes is what the vectors of the specification say, field by field and for every signed type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from scripts.abi import built
from scripts.toolchain import ROOT
from sealmarket.chain import abi
from sealmarket.chain.rpc import Rpc
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.eip712 import domain_separator
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.patience import until

VECTORS = ROOT / "docs/spec/vectors"
WHOLE = {
    "Request": "ofRequest",
    "ComputeOrder": "ofCompute",
    "AssetOrder": "ofAsset",
    "JobSpec": "ofSpec",
    "Bargain": "ofBargain",
    "Decision": "ofDecision",
    "SessionTerms": "ofSessionTerms",
    "Statement": "ofStatement",
    "Renewal": "ofRenewal",
}
OFF_CHAIN = {"Complaint", "EvidenceSeal", "Grant", "SessionRequest", "SessionReceipt"}
"""What people, users, nodes and enclaves read alone."""
PARTS = {
    "Quote": ("ofQuote", ("jobId", "evidenceHash")),
    "Stop": ("ofStop", ("jobId", "evidenceHash", "epoch", "reasons")),
    "Settlement": ("ofSettlement", ("jobId", ("resultHash", "receiptHash", "units"))),
    "Failure": ("ofFailure", ("jobId", ("cause", "assetIndex", "units", "receiptHash"))),
    "SharesMissing": ("ofSharesMissing", ("jobId", "evidenceHash", "excluded")),
    "Acknowledgement": ("ofAcknowledgement", ("jobId", "resultHash")),
    "ChallengeAnswer": ("ofChallengeAnswer", ("jobId", "resultHash", "available")),
}

# `scripts/test` compiles the contracts beside the tests: the first of these waits for them.
pytestmark = [pytest.mark.loopback, pytest.mark.timeout(1800)]


def cases() -> list[Any]:
    """Every case that a contract hashes."""
    names = ("orders", "job", "decision", "session")
    documents = [json.loads((VECTORS / f"{name}.json").read_text()) for name in names]
    found = [case for document in documents for case in document["cases"] if case["primaryType"] not in OFF_CHAIN]
    return [pytest.param(case, id=case["primaryType"]) for case in found]


class Hashes:
    """The library's functions behind a contract of their own."""

    def __init__(self, rpc: Rpc, artifact: dict[str, Any]) -> None:
        self._rpc = rpc
        self._abi = abi.parse("Hashes", artifact)
        self._rpc.call("evm_setIntervalMining", 0)
        self._rpc.call("evm_setAutomine", True)
        (sender, *_) = self._rpc.call("eth_accounts")
        sent = self._rpc.call(
            "eth_sendTransaction", {"from": sender, "data": "0x" + self._abi.bytecode.hex(), "gas": hex(5_000_000)}
        )
        receipt = until("the contract", lambda: self._rpc.call("eth_getTransactionReceipt", sent))
        self._at = receipt["contractAddress"]

    def ask(self, function: str, *arguments: object) -> str:
        """One hash."""
        entry = self._abi.function(function, len(arguments))
        asked = {"to": self._at, "data": "0x" + abi.encode_call(entry, arguments).hex()}
        return str(self._rpc.call("eth_call", asked, "latest"))


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hashes]:
    artifact = built("testing/Hashes.sol", "Hashes")
    if artifact is None:
        pytest.skip("the contracts are not built here: run `scripts/test --only abi` first")
    with Supervisor(tmp_path_factory.mktemp("chain")) as programs, closing(Rpc(chains.anvil(programs).url)) as rpc:
        yield Hashes(rpc, artifact)


def _value(value: Any) -> Any:
    """A vector's value as the encoder takes it."""
    if isinstance(value, dict):
        return {abi.snake(name): _value(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_value(inner) for inner in value]
    if isinstance(value, str):
        return bytes.fromhex(value[2:]) if value.startswith("0x") else int(value)
    return value


@pytest.mark.parametrize("case", cases())
def test_solidity_hashes_the_vector(hashes: Hashes, case: dict[str, Any]) -> None:
    kind, message = case["primaryType"], case["message"]
    if kind in WHOLE:
        found = hashes.ask(WHOLE[kind], _value(message))
    else:
        function, names = PARTS[kind]
        found = hashes.ask(function, *(_argument(message, name) for name in names))
    assert found == case["structHash"]


def _argument(message: dict[str, Any], name: str | tuple[str, ...]) -> Any:
    return _value({part: message[part] for part in name} if isinstance(name, tuple) else message[name])


def test_the_domain_is_the_vectors(hashes: Hashes) -> None:
    market = Address(bytes.fromhex("5ea100000000000000000000000000000000a4e7"))
    assert hashes.ask("domainSeparator", market) == str(domain_separator(chains.CHAIN_ID, market))
