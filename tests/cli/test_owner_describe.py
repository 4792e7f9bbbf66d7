"""`owner describe`, as its owner sees it: what a file leaves open is said with the options that state it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from sealmarket.workloads import reading, steps
from sealmarket.workloads.errors import ContentUnfit
from sealmarket_enclave.protocol.codec import ZERO_HASH
from tests.cli.test_market_commands import run


@pytest.mark.parametrize(
    ("content", "option"), [(b'income,age\n"1,500",3\n', "--thousands"), (b"PK\x03\x04", "--manifest")]
)
def test_a_file_that_leaves_something_open_is_refused_with_the_options_that_state_it(
    tmp_path: Path, content: bytes, option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers stand here without their packages: what one says of a file replaces its run."""

    def refuse(*_: object) -> None:
        raise ContentUnfit("not_readable", "income", "commas in column 'income' may be either mark: state which")

    monkeypatch.setattr(steps, "shipped", lambda name, _cache: SimpleNamespace(name=name, digest=ZERO_HASH))
    monkeypatch.setattr(reading, "infer", refuse)
    file = tmp_path / "income.csv"
    file.write_bytes(content)
    code, out, said = run(["owner", "describe", str(file)], capsys)
    assert (code, out) == (1, "")
    assert "... looking through" in said
    assert f"no card can be made of {file}: commas in column 'income' may be either mark" in said
    assert option in said
    assert "its card" not in said


def test_a_column_is_declared_as_a_type_that_cards_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"id,age\n1,2\n")
    code, _, said = run(["owner", "describe", str(file), "--as", "id=cat"], capsys)
    assert (code, "name one of integer, number, boolean, category" in said) == (2, True)
