"""What a party hands in never makes a node wait for ever: it is refused in that party's row of the fault table."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.store import blobs
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, JobId
from sealmarket_oracle.documents import stored_evidence
from sealmarket_oracle.service import Node
from tests.oracle.world import World

NUMBERS = (2**53 - 1, 2**53, 2**63, 2**64, 10**400, -1, 1e300, 0.5)
"""From here on RFC 8785 has no spelling, SQLite no column, JSON-RPC no block, JSON no integer."""


def quote_raw(world: World, package: EvidencePackage, raw: bytes) -> JobId:
    """The provider posts the hash of a package and seals other bytes to the nodes."""
    world.chain.quote(package.job_id, world.hash_of(package))
    world.post(package, raw=world.sealed(package.job_id, world.hash_of(package), raw).raw)
    world.chain.finalise()
    return package.job_id


def edited(package: EvidencePackage, name: str, value: object) -> bytes:
    """The package's bytes with one field replaced, in the spelling that RFC 8785 would have."""
    fields: dict[str, Any] = msgspec.json.decode(package.canonical())
    return json.dumps(fields | {name: value}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def decided_late(world: World, node: Node, job: JobId) -> Outcome:
    """What the node decides once half of the window has passed; it must say nothing unforeseen before."""
    node.tick()
    assert "unexpected" not in node.status(job).reason
    world.chain.mine(3, seconds=200)
    return world.decided(node, job).outcome


@pytest.mark.parametrize("number", NUMBERS)
def test_a_garbage_quote_that_names_a_block_without_a_spelling_is_the_providers_fault(
    number: float, world: World
) -> None:
    job = world.match(world.publish())
    package = replace(world.package(job), quote=HexBytes(b"not a quote at all"))
    quote_raw(world, package, edited(package, "blockNumber", number))
    assert decided_late(world, world.node(), job) in (Outcome.EVIDENCE_WITHHELD, Outcome.PLATFORM_REFUSED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("collateral", "\ud800"),
        ("collateral", "[" * 100_000),
        ("collateral", '{"tcb_info":' + "9" * 500 + "}"),
        ("collateral", {"a": 1}),
        ("quote", "0x"),
        ("quote", "0x" + "04" * 2_000),
        ("enclaveKey", "0x"),
        ("enclaveKey", "0x" + "00" * 1216),
        ("missing", ["0x" + "00" * 32] * 257),
        ("missing", [None]),
        ("tee", 2**53),
        ("version", ["x"]),
        ("extra", float("nan")),
    ],
)
def test_a_package_with_a_false_field_is_the_providers_fault(name: str, value: object, world: World) -> None:
    job = world.match(world.publish())
    package = world.package(job)
    fields = {"quote": "quote", "enclaveKey": "enclave_key"}
    if name in fields and isinstance(value, str):  # the hash on chain is the false package's own
        package = replace(package, **{fields[name]: HexBytes.parse(value)})
    quote_raw(world, package, edited(package, name, value))
    assert decided_late(world, world.node(), job) in (Outcome.EVIDENCE_WITHHELD, Outcome.PLATFORM_REFUSED)


@pytest.mark.parametrize("raw", [b"", b"null", b"\xff", b"[" * 100_000, b'{"blockNumber":1e999}', b"9" * 5000])
def test_bytes_that_are_no_package_are_the_providers_fault(raw: bytes, world: World) -> None:
    job = world.match(world.publish())
    quote_raw(world, world.package(job), raw)
    assert decided_late(world, world.node(), job) is Outcome.EVIDENCE_WITHHELD


@pytest.mark.parametrize(
    "value", [2**53, 2**64, -1, float("nan"), "\ud800", None, [], {"a": {"b": 2**60}}, "x" * 9_000]
)
@pytest.mark.parametrize("where", ["evidence", "terms", "output", "title"])
def test_a_policy_with_a_false_field_is_the_inputs_fault(where: str, value: object, world: World) -> None:
    asset = world.publish(keep_policy=False)
    fields: dict[str, Any] = msgspec.json.decode(asset.policy.canonical())
    inner = {"evidence": "lowest_grade", "terms": "expiry", "output": "maxBytes"}.get(where)
    fields[where] = fields[where] | {inner: value} if inner else value
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    raw = text.encode("utf-8", "surrogatepass")
    world.store.documents[keccak(raw)] = raw
    asset.asset_id, asset.seal = AssetId(keccak(b"another")), replace(asset.seal, policy_hash=keccak(raw))
    world.chain.publish(asset.asset_id, asset.owner, asset.seal, asset.policy.terms)
    job = world.match(asset)
    world.quote(job)
    node = world.node()
    assert decided_late(world, node, job) is Outcome.INPUT_REFUSED
    decision = node.status(job).decision
    assert decision is not None
    assert JobReason.POLICY_INVALID.value in {finding.reason for finding in decision.detail.findings}


def test_an_evidence_package_that_its_provider_blew_up_counts_as_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "MAXIMUM_PACKAGE", 1000)
    answer = httpx.MockTransport(lambda _request: httpx.Response(200, content=b" " * 1001))
    name = Bytes32(bytes(32))
    assert stored_evidence(Store("http://store", transport=answer), JobId(name), name) is None
