"""Capability documents: one hash for one promise, and nothing is read that promises no enclave."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.protocol.capability import Capability
from sealmarket_enclave.protocol.codec import Uint64, decode_canonical, from_builtins, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Tee

PROMISE = Capability(
    tee=Tee.TDX,
    measurements=({"tee": "tdx", "mrtd": "0x" + "11" * 48},),
    platform_classes=("confidential-vm",),
    memory_bytes=Uint64(64 << 30),
    threads=16,
    environments=("python-3.11",),
    ciphertext_bytes=Uint64(1 << 40),
)


def test_the_digest_is_that_of_the_canonical_document() -> None:
    raw = PROMISE.canonical()
    assert decode_canonical(Capability, raw) == PROMISE
    assert PROMISE.digest() == keccak(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"tee": Tee.SNP},
        {"measurements": (*PROMISE.measurements, {"tee": "tdx"})},
        {"min_tcb": {"intel": {"lowestTcbStatus": "SWHardeningNeeded"}}},
        {"memory_bytes": Uint64(1)},
        {"extension": {"session": {}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_promise_has_another_digest(changes: dict[str, Any]) -> None:
    assert replace(PROMISE, **changes).digest() != PROMISE.digest()


@pytest.mark.parametrize(("field", "value"), [("measurements", []), ("threads", 0), ("memoryBytes", str(1 << 64))])
def test_a_promise_of_nothing_or_beyond_bounds_is_refused(field: str, value: object) -> None:
    with pytest.raises(MalformedDocument):
        from_builtins(Capability, to_builtins(PROMISE) | {field: value})
