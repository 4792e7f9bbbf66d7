"""A proven service is opened with a wallet and a folder: one process holds it, and its grants are the wallet's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import coincurve
import pytest
from eth_account import Account

from sealmarket.inference.errors import RequestRefused
from sealmarket.inference.opening import known_facts, opened, service_folder
from sealmarket.inference.pool import Spending
from sealmarket.inference.receipts import FILE, read_receipts
from sealmarket.serving.errors import StateInUse
from sealmarket_enclave.protocol.numbers import JobId
from tests.client.bundles import Case
from tests.inference.enclave import JOB, FakeEnclave, said

WALLET = Account.from_key(b"\x42" * 32)
CHAIN: Any = SimpleNamespace(book=Case().book)
SPENDING = Spending(grants=2, cap=100, budget=200)


@pytest.fixture
def enclave() -> FakeEnclave:
    return FakeEnclave(wallet=coincurve.PrivateKey(bytes(WALLET.key)))


def test_two_processes_never_hold_one_services_grants(enclave: FakeEnclave, tmp_path: Path) -> None:
    host: Any = enclave
    with (
        opened(CHAIN, host, enclave.service, WALLET, SPENDING, tmp_path),
        pytest.raises(StateInUse),
        opened(CHAIN, host, enclave.service, WALLET, SPENDING, tmp_path),
    ):
        raise AssertionError("two hold it")


def test_a_wallet_that_is_not_the_tabs_is_refused(enclave: FakeEnclave, tmp_path: Path) -> None:
    host: Any = enclave
    other = Account.from_key(b"\x43" * 32)
    with (
        opened(CHAIN, host, enclave.service, other, SPENDING, tmp_path) as asker,
        pytest.raises(RequestRefused, match="grant_refused"),
    ):
        said(asker)


def test_what_was_proven_and_what_was_answered_is_there_for_the_next_process(
    enclave: FakeEnclave, tmp_path: Path
) -> None:
    folder, host = service_folder(tmp_path, JobId(JOB)), enclave
    for text in (b"one", b"two"):
        with opened(CHAIN, host, enclave.service, WALLET, SPENDING, folder) as asker:  # type: ignore[arg-type]
            assert said(asker, text) == b"chat:" + text
    assert known_facts(folder) == enclave.service.facts
    assert [int(kept.signed.receipt.number) for kept in read_receipts(folder / FILE)] == [1, 2]
    assert len({name for name, _ in enclave.seen}) == 1
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0, path
