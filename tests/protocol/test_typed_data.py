"""Every party hashes typed data alike: this library, eth-account and viem, over the published vectors."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import msgspec
import pytest
from eth_abi.abi import encode
from eth_account.messages import encode_typed_data

from scripts import toolchain
from sealmarket_enclave.protocol.hashing import keccak
from tests.patience import PATIENCE
from tests.protocol.typed_data import FILES, VECTORS, document, example, published

CASES = [(name, case) for name in FILES for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"]]
SLOT = json.loads((VECTORS / "job.json").read_text())["slot"]
_WORDS = {"enclaveSigner": "address", "challenger": "address", "provider": "address", "units": "uint32"}
IDS = [case["primaryType"] for _, case in CASES]


@pytest.mark.parametrize("name", FILES)
def test_the_published_vectors_are_what_the_library_computes(name: str) -> None:
    assert json.loads((VECTORS / f"{name}.json").read_text()) == document(name)


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_a_wallet_library_computes_the_same_digest(name: str, case: dict[str, Any]) -> None:
    domain = json.loads((VECTORS / f"{name}.json").read_text())["domain"]
    message = _native(case["types"], case["primaryType"], case["message"])
    signable = encode_typed_data(domain, {**case["types"]}, message)
    assert str(keccak(b"\x19" + signable.version + signable.header + signable.body)) == case["digest"]


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_a_change_of_any_member_changes_the_digest(name: str, case: dict[str, Any]) -> None:
    kind = next(kind for kind in FILES[name] if kind.__name__ == case["primaryType"])
    other = example(kind, "another seed")
    one = published(kind)
    for field in one.__struct_fields__:
        if getattr(other, field) != getattr(one, field):
            changed = msgspec.structs.replace(one, **{field: getattr(other, field)})
            assert changed.struct_hash() != one.struct_hash(), field


def test_viem_computes_the_same_digests() -> None:
    script = VECTORS.parents[2] / "tests/protocol/typed_data.mjs"
    files = [str(VECTORS / f"{name}.json") for name in FILES]
    command = [str(toolchain.node().node), str(script), *files]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=VECTORS.parents[2], check=False)
    assert ran.returncode == 0, ran.stderr
    expected = [f"{kind} same" for kind in IDS]
    place = expected.index("Bargain same") + 1
    expected[place:place] = [f"{entry['status']} same" for entry in SLOT["commitments"]]
    assert ran.stdout.split("\n")[:-1] == expected


@pytest.mark.parametrize("entry", SLOT["commitments"], ids=[entry["status"] for entry in SLOT["commitments"]])
def test_an_abi_library_computes_the_same_commitment(entry: dict[str, Any]) -> None:
    key, opening = SLOT["key"], entry["opening"]
    if len(opening) > 1:
        values = [_native_word(name, value) for name, value in opening.items()]
        assert str(keccak(encode([_WORDS.get(name, "bytes32") for name in opening], values))) == entry["stage"]
    else:
        assert entry["stage"] == next(iter(opening.values()), "0x" + "00" * 32)
    names = {"jobId": key["jobId"], "provider": key["provider"], "decideWindow": key["decideWindow"]}
    values = [_native_word(name, value) for name, value in names.items()]
    values += [bytes.fromhex(SLOT["bargainHash"][2:]), bytes.fromhex(entry["stage"][2:])]
    whole = keccak(encode(["bytes32", "address", "uint32", "bytes32", "bytes32"], values))
    assert "0x" + whole[6:].hex() == entry["commitment"]


def test_the_key_and_the_bargain_are_those_of_the_specification() -> None:
    cases = {case["primaryType"]: case for _, case in CASES}
    spec, bargain = cases["JobSpec"], cases["Bargain"]
    assert SLOT["bargainHash"] == bargain["structHash"]
    assert SLOT["key"] == {"jobId": spec["digest"]} | {
        name: spec["message"][name] for name in SLOT["key"] if name != "jobId"
    }
    for name, value in bargain["message"].items():
        if name == "claims":
            picked = [
                {part: use[part] for part in claim} for use, claim in zip(spec["message"]["assets"], value, strict=True)
            ]
            assert picked == value
        else:
            assert spec["message"][name] == value


def _native_word(name: str, value: str) -> Any:
    if name in {"units", "decideWindow"}:
        return int(value)
    return value if name in _WORDS else bytes.fromhex(value[2:])


def _native(types: dict[str, Any], kind: str, message: dict[str, Any]) -> dict[str, Any]:
    native: dict[str, Any] = {}
    for member in types[kind]:
        value, type_name = message[member["name"]], member["type"]
        if type_name.endswith("[]"):
            native[member["name"]] = [_native(types, type_name[:-2], item) for item in value]
        else:
            native[member["name"]] = int(value) if type_name.startswith("uint") else value
    return native
