"""Key files: never overwritten, never readable by others, never in clear by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealmarket.sealing import keyfile
from sealmarket.sealing.keyfile import (
    KeyFileExists,
    KeyFileMalformed,
    KeyFilePermissions,
    KeyFileUnconfirmed,
    KeyKind,
    WrongPassphrase,
    read_key_file,
    write_key_file,
)

KEY = bytes(range(32))
ABOUT = {"asset": "0x02"}


@pytest.fixture(autouse=True)
def _cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyfile, "_SCRYPT_LOG_N", 14)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "asset.key"


def test_a_key_in_clear_must_be_confirmed(path: Path) -> None:
    with pytest.raises(KeyFileUnconfirmed):
        write_key_file(path, KeyKind.DATA_KEY, KEY, about=ABOUT, passphrase=None)
    assert not path.exists()


def test_a_key_file_is_never_overwritten(path: Path) -> None:
    path.write_text("something else")
    with pytest.raises(KeyFileExists):
        write_key_file(path, KeyKind.DATA_KEY, KEY, about=ABOUT, passphrase="a")
    assert path.read_text() == "something else"


def test_a_key_file_that_others_can_read_is_refused(path: Path) -> None:
    write_key_file(path, KeyKind.DATA_KEY, KEY, about=ABOUT, passphrase="a")
    path.chmod(0o640)
    with pytest.raises(KeyFilePermissions):
        read_key_file(path, KeyKind.DATA_KEY, passphrase="a")


def test_a_wrong_passphrase_is_refused(path: Path) -> None:
    write_key_file(path, KeyKind.DATA_KEY, KEY, about=ABOUT, passphrase="a")
    with pytest.raises(WrongPassphrase):
        read_key_file(path, KeyKind.DATA_KEY, passphrase="b")
    with pytest.raises(KeyFileMalformed):
        read_key_file(path, KeyKind.DATA_KEY)


@pytest.mark.parametrize("field", ["about", "secret"])
def test_an_altered_key_file_is_refused(path: Path, field: str) -> None:
    write_key_file(path, KeyKind.DATA_KEY, KEY, about=ABOUT, passphrase="a")
    document = json.loads(path.read_text())
    document[field] = {"asset": "0x03"} if field == "about" else document[field][:-2] + "00"
    path.write_text(json.dumps(document))
    with pytest.raises(WrongPassphrase):
        read_key_file(path, KeyKind.DATA_KEY, passphrase="a")


def test_a_key_of_another_kind_is_refused(path: Path) -> None:
    write_key_file(path, KeyKind.RESULT_KEY, KEY, about=ABOUT, passphrase=None, confirm_unencrypted=True)
    with pytest.raises(KeyFileMalformed):
        read_key_file(path, KeyKind.DATA_KEY)


def test_a_broken_key_file_is_refused_without_quoting_it(path: Path) -> None:
    path.write_text('{"secret":"0xSECRETSECRET"}')
    path.chmod(0o600)
    with pytest.raises(KeyFileMalformed) as refusal:
        read_key_file(path, KeyKind.DATA_KEY)
    assert "SECRET" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_an_encrypted_key_file_does_not_hold_the_key(path: Path) -> None:
    write_key_file(path, KeyKind.DATA_KEY, KEY, about=ABOUT, passphrase="a")
    assert KEY.hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path, KeyKind.DATA_KEY, passphrase="a") == (KEY, ABOUT)


def test_a_confirmed_key_file_in_clear_is_read_back(path: Path) -> None:
    write_key_file(path, KeyKind.DATA_KEY, KEY, about=ABOUT, passphrase=None, confirm_unencrypted=True)
    assert read_key_file(path, KeyKind.DATA_KEY) == (KEY, ABOUT)
