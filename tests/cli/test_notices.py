"""What `consumer explain` says of an input that failed: the public code to all, the column to those who hold a key."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sealmarket.cli._consumer_jobs import _fault
from sealmarket.service.errors import ItemNotFound
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey
from tests.enclave.runtime.test_steps import ended, unfit, with_reader
from tests.enclave.runtime.twins import EnclaveTwin, SandboxTwin
from tests.enclave.scene import CHAIN_ID, MARKET, Scene

COLUMN = "weight\x1b[2J in kg"


@pytest.fixture
def failed(tmp_path: Path) -> tuple[Scene, bytes]:
    """A scene whose reader refused a column, and the receipt of that job."""
    folder = tmp_path / "scene"
    folder.mkdir()
    scene, sandbox = Scene(folder), SandboxTwin()
    with_reader(scene, sandbox, {"report.json": unfit(column=COLUMN)})
    enclave = EnclaveTwin(folder / "scratch", sandbox=sandbox)
    said = ended(scene, enclave)
    enclave.close()
    assert said.finished is not None
    return scene, said.finished.receipt


def explained(
    receipt: bytes, key: PrivateKey | None, *, chain_id: int = CHAIN_ID, stored: bool = True
) -> tuple[dict[str, Any], list[str]]:
    name = keccak(receipt)

    def document(asked: Bytes32) -> bytes:
        assert asked == name
        if not stored:
            raise ItemNotFound("store", "document", str(name))
        return receipt

    chain = SimpleNamespace(book=SimpleNamespace(chain_id=chain_id, market=MARKET))
    record = SimpleNamespace(failed=SimpleNamespace(receipt_hash=name))
    return _fault(chain, SimpleNamespace(document=document), record, key)  # type: ignore[arg-type]


def test_without_a_key_the_code_shows_and_no_column(failed: tuple[Scene, bytes]) -> None:
    payload, lines = explained(failed[1], None)
    assert payload == {"inputFault": "column_range", "notice": None}
    assert "column_range" in lines[0]
    assert "weight" not in str((payload, lines))


def test_another_accounts_key_opens_nothing(failed: tuple[Scene, bytes]) -> None:
    payload, _ = explained(failed[1], PrivateKey.generate())
    assert payload == {"inputFault": "column_range", "notice": None}


def test_a_notice_of_another_chain_does_not_open(failed: tuple[Scene, bytes]) -> None:
    scene, receipt = failed
    with pytest.raises(NotOpened):
        explained(receipt, scene.consumer_key, chain_id=CHAIN_ID + 1)


def test_a_receipt_that_the_store_lacks_is_said_and_costs_no_explanation(failed: tuple[Scene, bytes]) -> None:
    payload, lines = explained(failed[1], None, stored=False)
    assert payload == {}
    assert "receipt" in lines[0]


def test_the_consumers_key_shows_column_and_rows_and_no_control_character(failed: tuple[Scene, bytes]) -> None:
    scene, receipt = failed
    payload, lines = explained(receipt, scene.consumer_key)
    assert payload["notice"]["column"] == COLUMN
    assert "weight" in lines[0]
    assert "7 rows" in lines[0]
    assert "\x1b" not in lines[0]
