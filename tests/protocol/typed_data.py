"""The typed-data vectors: one message of every type, with the hashes that all parties must compute.

python -m tests.protocol.typed_data        write docs/spec/vectors/{orders,job,decision,proposal,session}.json
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from sealmarket.chain.bargain import Bargain, JobKey, commitment
from sealmarket.protocol.decisions import ChallengeAnswer, Decision, Stop
from sealmarket.protocol.orders import Acknowledgement, AssetOrder, ComputeOrder, EvidenceSeal, Quote, Request
from sealmarket.protocol.proposals import Proposal, ProposalAnswer
from sealmarket.protocol.services import ServiceAddress
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, Uint, from_builtins, to_builtins
from sealmarket_enclave.protocol.eip712 import TypedShape, encode_type
from sealmarket_enclave.protocol.hashing import Word, keccak, words
from sealmarket_enclave.protocol.job import Failure, JobSpec, Settlement, SharesMissing
from sealmarket_enclave.protocol.release import Complaint
from sealmarket_enclave.protocol.session import (
    Grant,
    Renewal,
    SessionReceipt,
    SessionRequest,
    SessionTerms,
    Statement,
)

VECTORS = Path(__file__).resolve().parents[2] / "docs/spec/vectors"
CHAIN_ID = 31337
MARKET = Address.parse("0x5ea100000000000000000000000000000000a4e7")
FILES: dict[str, tuple[type[TypedShape], ...]] = {
    "orders": (Request, ComputeOrder, AssetOrder),
    "job": (JobSpec, Bargain),
    "decision": (
        *(
            Quote,
            EvidenceSeal,
            Decision,
            Stop,
            Settlement,
            Failure,
            SharesMissing,
            Acknowledgement,
            ChallengeAnswer,
            Complaint,
        ),
    ),
    "proposal": (Proposal, ProposalAnswer, ServiceAddress),
    "session": (SessionTerms, Statement, Renewal, Grant, SessionRequest, SessionReceipt),
}
ENUMS = {"kind": 1, "tee": 2, "min_grade": 2, "grade": 1, "outcome": 3, "cause": 2}


def members(kind: type[TypedShape]) -> list[tuple[str, str]]:
    """Type and name of each member, from the type string."""
    inside = kind.EIP712[kind.EIP712.index("(") + 1 : -1]
    return [(part.split(" ")[0], part.split(" ")[1]) for part in inside.split(",")]


def example(kind: type[TypedShape], seed: str) -> TypedShape:
    """A value with every bit of every member in use, always the same."""
    fields: dict[str, Any] = {}
    for type_name, name in members(kind):
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        raw = keccak(f"{seed} {name}".encode())
        fields[snake] = _value(kind, type_name, snake, raw, seed)
    document = {f.encode_name: fields[f.name] for f in msgspec.structs.fields(kind)}
    return from_builtins(kind, to_builtins(document))


def _value(kind: type[TypedShape], type_name: str, name: str, raw: bytes, seed: str) -> Any:
    if type_name.endswith("[]"):
        part = next(part for part in kind.PARTS if part.__name__ == type_name[:-2])
        return [example(part, f"{seed} {index}") for index in range(2)]
    if type_name == "address":
        return Address(raw[:20])
    if type_name == "bytes32":
        return Bytes32(raw)
    if type_name == "bool":
        return True
    if name == "url":
        return f"https://{raw[:8].hex()}.example:8600/v"
    if type_name == "string":
        return raw[:8].hex()
    if name in ENUMS:
        return ENUMS[name]
    bits = int(type_name.removeprefix("uint"))
    number = int.from_bytes(raw) >> 256 - bits
    if name in {"expiry", "matched_at", "signed_at"}:
        return number >> 11  # times fit JSON numbers exactly
    return Uint(number) if bits > 40 else number


def published(kind: type[TypedShape]) -> TypedShape:
    """The message of a type's vector: a bargain's is that of the specification's vector."""
    value = example(kind, kind.__name__)
    if not issubclass(kind, Bargain):
        return value
    spec = example(JobSpec, JobSpec.__name__)
    assert isinstance(spec, JobSpec)
    return Bargain.of(spec)


def case(value: TypedShape) -> dict[str, Any]:
    """One vector: what `eth_signTypedData_v4` takes, and what comes out."""
    kind = type(value)
    types = {part.__name__: _types(part) for part in (kind, *kind.PARTS)}
    return {
        "primaryType": kind.__name__,
        "encodeType": encode_type(kind),
        "types": types,
        "message": _message(kind, value),
        "structHash": str(value.struct_hash()),
        "digest": str(value.digest(CHAIN_ID, MARKET)),
    }


def _types(kind: type[TypedShape]) -> list[dict[str, str]]:
    return [{"name": name, "type": type_name} for type_name, name in members(kind)]


def _message(kind: type[TypedShape], value: Any) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for type_name, name in members(kind):
        found = getattr(value, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
        if type_name.endswith("[]"):
            message[name] = [_message(type(item), item) for item in found]
        elif isinstance(found, bool | str):
            message[name] = found
        else:
            message[name] = str(found) if isinstance(found, HexBytes) else str(int(found))
    return message


def slot() -> dict[str, Any]:
    """What the slot of the specification's vector commits to, in each state that adds something."""
    spec = example(JobSpec, JobSpec.__name__)
    assert isinstance(spec, JobSpec)
    key = JobKey.of(spec, spec.job_id(CHAIN_ID, MARKET))
    raw = {name: keccak(name.encode()) for name in ("evidenceHash", "enclaveKeyHash", "resultHash", "receiptHash")}
    enclave: dict[str, Word] = {
        "evidenceHash": raw["evidenceHash"],
        "enclaveSigner": Address(keccak(b"enclaveSigner")[:20]),
    }
    accepted = enclave | {"enclaveKeyHash": raw["enclaveKeyHash"]}
    settled: dict[str, Word] = {"resultHash": raw["resultHash"], "receiptHash": raw["receiptHash"], "units": 7}
    challenged = settled | {"challenger": spec.payer}
    stages: dict[str, tuple[dict[str, Word], Bytes32]] = {
        "matched": ({}, ZERO_HASH),
        "quoted": ({"evidenceHash": raw["evidenceHash"]}, raw["evidenceHash"]),
        "accepted": (accepted, keccak(words(*accepted.values()))),
        "settled": (settled, keccak(words(*settled.values()))),
        "challenged": (challenged, keccak(words(*challenged.values()))),
    }
    return {
        "about": "What the slot commits to (docs/spec/typed-data.md, On the chain's side), for the cases above.",
        "key": {
            "requestHash": str(key.request_hash),
            "jobId": str(key.job_id),
            "provider": str(key.provider),
            "decideWindow": str(int(key.decide_window)),
        },
        "bargainHash": str(Bargain.of(spec).struct_hash()),
        "commitments": [
            {
                "status": status,
                "opening": {name: str(value) for name, value in opening.items()},
                "stage": str(stage),
                "commitment": "0x" + commitment(spec, key.job_id, stage).hex(),
            }
            for status, (opening, stage) in stages.items()
        ],
    }


def document(name: str) -> dict[str, Any]:
    """One file of vectors."""
    return {
        "about": "EIP-712 messages and their hashes (docs/spec/typed-data.md). Numbers are decimal strings.",
        "domain": {
            "name": "Sealmarket",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": str(MARKET),
        },
        "cases": [case(published(kind)) for kind in FILES[name]],
    } | ({"slot": slot()} if name == "job" else {})


def write() -> None:
    """Write all files."""
    for name in FILES:
        (VECTORS / f"{name}.json").write_text(json.dumps(document(name), indent=1) + "\n")


if __name__ == "__main__":
    write()
