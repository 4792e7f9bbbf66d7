"""Files that hold secrets, and passphrases as people type and keep them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sealmarket.private_files import (
    MAXIMUM_BYTES,
    NotPrivate,
    PassphraseRefused,
    normalised,
    passphrase_forms,
    read_passphrase_file,
    read_private,
    replace_private,
    write_private,
)

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"x")
    path.chmod(mode)
    with pytest.raises(NotPrivate, match="0600") as refused:
        read_private(path)
    assert "chmod 600" in refused.value.remedy


def test_pipes_devices_and_folders_hold_no_secret_and_nobody_waits_for_them(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises((NotPrivate, IsADirectoryError)):
            read_private(path)


def test_what_is_too_long_to_be_a_secret_is_read_to_its_bound(tmp_path: Path) -> None:
    write_private(tmp_path / "long", bytes(MAXIMUM_BYTES + 1))
    assert len(read_private(tmp_path / "long")) == MAXIMUM_BYTES


def test_a_secret_is_never_overwritten_not_even_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("link", "file"):
        (tmp_path / "file").write_text("held")
        with pytest.raises(FileExistsError):
            write_private(tmp_path / name, b"new")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("write", [write_private, replace_private])
def test_a_file_that_a_full_disk_did_not_take_whole_is_not_there(
    write: Callable[[Path, bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="no space"):
            write(tmp_path / "secret", b"a part of")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "secret", b"whole")


def test_a_mounted_secret_is_read_through_its_links(tmp_path: Path) -> None:
    """As Kubernetes mounts them: name -> ..data/name, ..data -> ..2026_11."""
    (tmp_path / "..2026_11").mkdir()
    write_private(tmp_path / "..2026_11" / "key", b"secret")
    (tmp_path / "..data").symlink_to("..2026_11")
    (tmp_path / "key").symlink_to("..data/key")
    assert read_private(tmp_path / "key") == b"secret"
    (tmp_path / "..2026_11" / "key").chmod(0o644)
    with pytest.raises(NotPrivate):
        read_private(tmp_path / "key")


@pytest.mark.parametrize("raw", [b"", b"\n", b"\r\nsecond", b"caf\xe9\n", b"\xff"])
def test_a_file_without_a_passphrase_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(raw)
    with pytest.raises(PassphraseRefused, match="holds no passphrase"):
        read_passphrase_file(path)


@pytest.mark.parametrize(
    ("raw", "passphrase"),
    [
        (b"geheim\nsecond", "geheim"),
        (b"geheim\r\n", "geheim"),
        (b" with blanks \n", " with blanks "),
        ("before\u0085after\n".encode(), "before\u0085after"),
        ("before\u2028after".encode(), "before\u2028after"),
        (DECOMPOSED.encode(), COMPOSED),
    ],
)
def test_a_passphrase_ends_at_a_line_feed_and_at_nothing_else(raw: bytes, passphrase: str, tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(raw)
    assert read_passphrase_file(path) == passphrase


def test_a_passphrase_has_one_form_and_opens_what_other_software_kept_under_another() -> None:
    assert normalised(COMPOSED) == normalised(DECOMPOSED) == COMPOSED
    assert passphrase_forms(DECOMPOSED) == (COMPOSED, DECOMPOSED)
    assert passphrase_forms(COMPOSED) == (COMPOSED,)


def test_a_credential_of_systemd_is_read_though_its_access_list_looks_like_a_groups_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "signer.key"
    file.write_bytes(b"secret")
    file.chmod(0o440)
    with pytest.raises(NotPrivate):
        read_private(file)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_private(file) == b"secret"
    for mode in (0o444, 0o460):
        file.chmod(mode)
        with pytest.raises(NotPrivate):
            read_private(file)
    below = tmp_path / "below"
    below.mkdir()
    other = below / "signer.key"
    other.write_bytes(b"secret")
    other.chmod(0o440)
    with pytest.raises(NotPrivate):
        read_private(other)


def test_a_file_is_replaced_at_once_and_private_whatever_the_old_one_was(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(b"old")
    file.chmod(0o644)
    replace_private(file, b"new")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
