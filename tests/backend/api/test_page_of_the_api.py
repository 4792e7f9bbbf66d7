"""The steps of docs/api.md are done as they stand, against a served backend."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from sealmarket.chain.deploy import write_book
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.client.accounts import keep_account
from sealmarket_backend.api import create_app
from sealmarket_backend.changes import Changes
from sealmarket_backend.service import Backend
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Uint, Wei, canonical_json
from tests.backend.orders import BOOK, compute
from tests.backend.test_api import SOON, Silent
from tests.client.signer import new_account
from tests.patience import PATIENCE
from tests.serving.attacks import PATIENT, served

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
CURL = shutil.which("curl")


def shell_steps() -> list[str]:
    """The indented blocks of the page."""
    blocks = re.findall(r"(?:^    [^\n]*\n)+", PAGE.read_text().split("```")[0], re.MULTILINE)
    blocks += re.findall(r"(?:^    [^\n]*\n)+", PAGE.read_text().split("```")[2], re.MULTILINE)
    return ["\n".join(line[4:] for line in block.splitlines()) for block in blocks]


@pytest.mark.loopback
@pytest.mark.skipif(CURL is None, reason="curl is not installed here")
def test_each_step_of_the_page_works_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = MemoryChain(BOOK)
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    order = compute(expiry=SOON).order
    chain.set_account(order.token, order.provider, Account(Wei(0), order.penalty))
    (tmp_path / "state").mkdir()
    with Backend(chain, Silent(), tmp_path / "state") as backend:  # type: ignore[arg-type]
        for salt in (1, 2, 3):
            backend.orders.add_compute_order(compute(expiry=SOON, salt=Uint(salt)), 0)
        with served(create_app(backend), PATIENT) as found:
            (tmp_path / "order.json").write_bytes(canonical_json(compute(expiry=SOON, salt=Uint(9))))
            owner = new_account()
            environment = {
                "PATH": os.environ["PATH"],
                "URL": found.url,
                "LAST": f"{Changes(backend.database).epoch}-0",
                "OWNER": owner.address.lower(),
            }
            steps = shell_steps()
            done = subprocess.run(
                ["bash", "-e", "-u", "-c", "\n".join(steps)],
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            told = done.stdout
            keep_account(tmp_path / "owner.key", owner, None)
            backend.sessions._domain, backend.sessions._uri = found.url.partition("//")[2], f"{found.url}/v1/sign-in"
            write_book(tmp_path / "book.json", replace(BOOK, backend=found.url))
            monkeypatch.chdir(tmp_path)
            exec(compile(PAGE.read_text().split("```python")[1].split("```")[0], PAGE.name, "exec"), {})
    assert len(steps) >= 8
    for expected in ("parameter-invalid", "event: compute-orders", "sign-in-needed", '"nonce"', '"headAgeSeconds"'):
        assert expected in told, expected
    assert told.count('"orderHash"') == 2
    assert capsys.readouterr().out.splitlines()[-1] == "0"
    assert len(backend_rows(tmp_path)) == 4


def backend_rows(folder: Path) -> list[object]:
    """The offers that were kept."""
    with Database(folder / "state" / "backend.sqlite") as database:
        return list(database.rows("SELECT order_hash FROM compute_orders"))
