"""A node's keys: under a passphrase in files of their holder, with a backup that was tried, or in another program."""

from __future__ import annotations

import errno
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from typer.testing import CliRunner, Result

from sealmarket.private_files import write_private
from sealmarket.protocol.decisions import Stop
from sealmarket.protocol.members import SignedMember
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Uint, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import personal_digest, recover
from sealmarket_oracle import node_folder
from sealmarket_oracle.backup import back_up, require_tried, restore
from sealmarket_oracle.cli import app
from sealmarket_oracle.errors import BackupRefused, KeyFileRefused, SignerFailed
from sealmarket_oracle.keys import NodeKeys, Signer
from sealmarket_oracle.node_folder import HPKE_FILE, NODE_FILE, SIGNER_FILE, KeyPaths, NodeRecord
from sealmarket_oracle.passphrase import passphrase
from sealmarket_oracle.remote_signer import Dialect, RemoteSigner
from tests.client.signer import FakeSigner, new_account, serving
from tests.oracle.world import CHAIN_ID, MARKET

WORD = "nobody types this passphrase"
FILES = (SIGNER_FILE, HPKE_FILE, NODE_FILE)
STATEMENT = Stop(job_id=JobId(keccak(b"job")), evidence_hash=keccak(b"evidence"), epoch=1, reasons=Uint(1 << 202))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's folder, and beside it its backup: made once, since scrypt takes its time. Tests copy it."""
    folder = tmp_path_factory.mktemp("made") / "node"
    node_folder.make(folder, "http://node", 1, WORD, light=True)
    back_up(KeyPaths.in_folder(folder), folder.with_name("backup"), WORD)
    return folder


@pytest.fixture
def node(made: Path, tmp_path: Path) -> KeyPaths:
    shutil.copytree(made, tmp_path / "node")
    shutil.copytree(made.with_name("backup"), tmp_path / "backup")
    return KeyPaths.in_folder(tmp_path / "node")


def _loaded(node: KeyPaths, word: str = WORD) -> NodeKeys:
    return node_folder.load_keys(node, node_folder.load_record(node.node), word)


# --- keystores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
@pytest.mark.parametrize("name", FILES)
def test_a_key_file_that_others_can_read_is_refused(name: str, mode: int, node: KeyPaths) -> None:
    (node.node.parent / name).chmod(mode)
    with pytest.raises(KeyFileRefused, match="mode 0600"):
        _loaded(node)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", ["", "0x00", "{}", '{"crypto":{"kdf":"scrypt"}}', "[" * 5000])
def test_a_key_file_that_holds_no_key_is_refused(name: str, content: str, node: KeyPaths) -> None:
    (node.node.parent / name).write_text(content)
    with pytest.raises(KeyFileRefused):
        _loaded(node)


def test_another_passphrase_opens_neither_keystore(node: KeyPaths) -> None:
    with pytest.raises(KeyFileRefused, match="passphrase"):
        _loaded(node, "another passphrase")
    external = {"signer": "http://127.0.0.1:9", "address": str(node_folder.load_record(node.node).member.signer)}
    node.signer.write_text(json.dumps(external))
    with pytest.raises(KeyFileRefused, match="passphrase"):
        _loaded(node, "another passphrase")


def test_a_keystore_of_another_node_or_epoch_is_refused(node: KeyPaths, tmp_path: Path) -> None:
    node_folder.make(tmp_path / "other", "http://node", 2, WORD, light=True)
    for name in (SIGNER_FILE, HPKE_FILE):
        held = (node.node.parent / name).read_bytes()
        shutil.copy(tmp_path / "other" / name, node.node.parent / name)
        with pytest.raises(KeyFileRefused, match="another node"):
            _loaded(node)
        (node.node.parent / name).write_bytes(held)
    assert _loaded(node)


def test_keys_are_never_overwritten(node: KeyPaths) -> None:
    before = [(node.node.parent / name).read_bytes() for name in FILES]
    with pytest.raises(KeyFileRefused, match="keep it"):
        node_folder.make(node.node.parent, "http://node", 1, WORD, light=True)
    assert [(node.node.parent / name).read_bytes() for name in FILES] == before


def test_the_files_of_a_node_are_its_holders_alone_and_hold_no_key_in_clear(node: KeyPaths) -> None:
    keys = _loaded(node)
    assert isinstance(keys.signer, Signer)
    secrets = (keys.signer._key.secret, keys.hpke.secret_bytes())
    for path in [*node.node.parent.iterdir(), *node.node.parent.with_name("backup").iterdir()]:
        assert path.stat().st_mode & 0o777 == 0o600
        raw = path.read_bytes()
        assert not any(secret in raw or secret.hex().encode() in raw for secret in secrets)
    assert not any(secret.hex() in repr(keys) for secret in secrets)


def test_the_signing_key_is_a_keystore_that_other_wallets_open(node: KeyPaths) -> None:
    keystore = json.loads(node.signer.read_bytes())
    assert (keystore["version"], keystore["crypto"]["kdf"]) == (3, "scrypt")
    opened = Account.from_key(Account.decrypt(keystore, WORD))
    assert opened.address.lower() == str(_loaded(node).signer.address)


def test_a_key_that_is_mounted_as_a_link_counts_as_the_file_behind_it(node: KeyPaths, tmp_path: Path) -> None:
    moved = node.signer.rename(tmp_path / "moved.json")
    node.signer.symlink_to(moved)
    assert _loaded(node)
    moved.chmod(0o644)
    with pytest.raises(KeyFileRefused):
        _loaded(node)


# --- the passphrase -------------------------------------------------------------------------------------------------


def _file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    write_private(path, content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "mode"), [(b"a long passphrase", 0o644), (b"", 0o600), (b"\xff" * 20, 0o600), (b"short\n", 0o600)]
)
def test_a_passphrase_file_is_refused_that_is_open_to_others_or_holds_none(
    content: bytes, mode: int, tmp_path: Path
) -> None:
    with pytest.raises(KeyFileRefused):
        passphrase(_file(tmp_path / "word", content, mode), environment={})


def test_without_file_credential_or_terminal_there_is_no_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(WORD))
    with pytest.raises(KeyFileRefused, match="no terminal"):
        passphrase(None, environment={"SEALMARKET_PASSPHRASE": WORD, "SEALMARKET_ORACLE_PASSPHRASE": WORD})


def test_a_credential_of_systemd_is_the_passphrase_unless_a_file_is_named(tmp_path: Path) -> None:
    _file(tmp_path / "passphrase", b"of the credential\nsecond line")
    shown = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert passphrase(None, environment=shown) == "of the credential"
    assert passphrase(_file(tmp_path / "named", b"of the named file"), environment=shown) == "of the named file"


# --- backups --------------------------------------------------------------------------------------------------------


def test_keys_without_a_tried_backup_are_not_run_and_the_way_out_is_named(tmp_path: Path) -> None:
    record = node_folder.make(tmp_path / "node", "http://node", 1, WORD, light=True)
    with pytest.raises(BackupRefused, match="no backup that was tried") as refused:
        require_tried(KeyPaths.in_folder(tmp_path / "node"), record)
    assert "sealmarket oracle backup" in refused.value.remedy


def _altered(raw: bytes) -> bytes:
    return raw.replace(b'"ciphertext":"', b'"ciphertext":"00', 1).replace(b'"secret":"0x', b'"secret":"0x00', 1)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda raw: raw[:-20],
    "another ciphertext": _altered,
    "nothing": lambda _raw: b"",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [SIGNER_FILE, HPKE_FILE])
def test_a_backup_that_a_disk_damaged_is_not_restored(name: str, damage: str, node: KeyPaths, tmp_path: Path) -> None:
    path = tmp_path / "backup" / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(BackupRefused):
        restore(tmp_path / "backup", tmp_path / "restored", WORD)
    assert not (tmp_path / "restored").exists()


def test_a_copy_that_the_disk_wrote_wrong_is_no_backup(
    node: KeyPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealmarket_oracle.backup._copy", lambda path, raw: write_private(path, _altered(raw)))
    before = node_folder.load_record(node.node)
    with pytest.raises(BackupRefused):
        back_up(node, tmp_path / "second", WORD)
    assert node_folder.load_record(node.node) == before


def test_a_backup_overwrites_nothing(node: KeyPaths, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="never overwritten"):
        back_up(node, tmp_path / "backup", WORD)


def test_a_backup_that_was_not_tried_leaves_nothing_that_is_taken_for_one(node: KeyPaths, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="passphrase is another") as refused:
        back_up(node, tmp_path / "second", "another passphrase of many letters")
    assert str(tmp_path / "second") in refused.value.message, "not a scratch folder that is gone"
    assert not (tmp_path / "second").exists()
    back_up(node, tmp_path / "second", WORD)


def test_a_folder_that_holds_no_backup_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="is no backup"):
        restore(tmp_path / "nowhere", tmp_path / "restored", WORD)
    assert not (tmp_path / "restored").exists()


def test_a_restore_overwrites_nothing(node: KeyPaths, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="exists"):
        restore(tmp_path / "backup", node.node.parent, WORD)


def test_a_restored_node_has_the_keys_and_the_name_of_the_journal(node: KeyPaths, tmp_path: Path) -> None:
    before, keys = node_folder.load_record(node.node), _loaded(node)
    restored = restore(tmp_path / "backup", tmp_path / "restored", WORD)
    paths = KeyPaths.in_folder(tmp_path / "restored")
    assert (restored.member, restored.epoch, restored.journal) == (before.member, before.epoch, before.journal)
    assert _loaded(paths).hpke.public == keys.hpke.public
    require_tried(paths, restored)


def test_a_backup_of_other_keys_is_none_of_these(node: KeyPaths, tmp_path: Path) -> None:
    other = node_folder.make(tmp_path / "other", "http://node", 1, WORD, light=True)
    record: NodeRecord = node_folder.load_record(node.node)
    with pytest.raises(BackupRefused):
        require_tried(KeyPaths.in_folder(tmp_path / "other"), record)
    assert other.journal != record.journal


# --- the command ----------------------------------------------------------------------------------------------------


def _init(tmp_path: Path, *options: str, backup: str = "copy") -> Result:
    word = tmp_path / "word"
    if not word.exists():
        _file(word, WORD.encode())
    arguments = ["init", str(tmp_path / "node"), "--backup", str(tmp_path / backup), "--light"]
    return CliRunner().invoke(app, [*arguments, "--passphrase-file", str(word), *options])


@pytest.mark.parametrize(
    "url", ["ftp://node", "http://[bad", "http://h:99999", "http://h ost", "http://h\n.org", "https://me:word@node"]
)
def test_no_keys_are_made_for_a_url_that_nobody_reaches(url: str, tmp_path: Path) -> None:
    refused = _init(tmp_path, "--url", url)
    assert isinstance(refused.exception, KeyFileRefused)
    assert not (tmp_path / "node").exists()


def test_no_keys_are_made_where_their_backup_would_overwrite_one(node: KeyPaths, tmp_path: Path) -> None:
    shutil.move(node.node.parent, tmp_path / "elsewhere")
    refused = _init(tmp_path, backup="backup")
    assert isinstance(refused.exception, BackupRefused)
    assert not (tmp_path / "node").exists()


def test_keys_whose_first_backup_fails_say_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("sealmarket_oracle.backup._copy", lambda path, raw: write_private(path, _altered(raw)))
        refused = _init(tmp_path)
    assert isinstance(refused.exception, BackupRefused)
    assert f"sealmarket oracle backup {tmp_path / 'node'} {tmp_path / 'copy'}" in refused.exception.remedy
    word = ["--passphrase-file", str(tmp_path / "word")]
    done = CliRunner().invoke(app, ["backup", str(tmp_path / "node"), str(tmp_path / "copy"), *word])
    assert done.exit_code == 0, done.output


def test_a_signers_account_that_is_none_is_named_with_its_option(tmp_path: Path) -> None:
    refused = _init(tmp_path, "--signer", "http://127.0.0.1:9", "--signer-address", "0x12")
    assert refused.exit_code == 2
    assert "--signer-address" in refused.output
    assert not (tmp_path / "node").exists()


@pytest.mark.loopback
def test_a_rotation_takes_the_next_account_of_the_signer_and_never_moves_the_key_into_a_file(tmp_path: Path) -> None:
    word = _file(tmp_path / "word", WORD.encode())
    place = ["rotate", str(tmp_path / "node"), str(tmp_path / "next"), "--backup", str(tmp_path / "copy")]
    command = [*place, "--passphrase-file", str(word)]
    fake, later = (FakeSigner(new_account(), lambda _method, honest: honest) for _ in range(2))
    with serving(fake) as url, serving(later) as next_url:
        node_folder.make(tmp_path / "node", "http://node", 1, WORD, external=_remote(fake, url), light=True)
        unasked = CliRunner().invoke(app, command)
        same = CliRunner().invoke(app, [*command, "--signer", url, "--signer-address", fake.account.address])
        assert [type(one.exception) for one in (unasked, same)] == [KeyFileRefused, KeyFileRefused]
        assert not (tmp_path / "next").exists()
        done = CliRunner().invoke(app, [*command, "--signer", next_url, "--signer-address", later.account.address])
    assert done.exit_code == 0, done.output
    record = node_folder.load_record(tmp_path / "next" / NODE_FILE)
    assert (record.epoch, record.member.signer) == (2, Address.parse(later.account.address.lower()))


def test_a_rotation_whose_present_signing_key_is_elsewhere_looks_there_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``signer_key`` of the TOML file names it: without the file nothing says that another program holds the key."""
    word = _file(tmp_path / "word", WORD.encode())
    remote = RemoteSigner("http://127.0.0.1:9", Address(b"\x01" * 20), "web3signer")
    with monkeypatch.context() as patched:
        patched.setattr(RemoteSigner, "sign_text", lambda _signer, _text: HexBytes(b"\x01" * 65))
        node_folder.make(tmp_path / "node", "http://node", 1, WORD, external=remote, light=True)
    elsewhere = (tmp_path / "node" / SIGNER_FILE).rename(tmp_path / "held.json")
    keys = KeyPaths(elsewhere, tmp_path / "node" / HPKE_FILE, tmp_path / "node" / NODE_FILE)
    monkeypatch.setattr("sealmarket_oracle.config.load", lambda _path: SimpleNamespace(keys=keys))
    command = ["rotate", str(tmp_path / "node"), str(tmp_path / "next"), "--backup", str(tmp_path / "copy")]
    command += ["--passphrase-file", str(word)]
    for options, said in (([], "is absent"), (["--config", "node.toml"], "in another program")):
        refused = CliRunner().invoke(app, [*command, *options])
        assert isinstance(refused.exception, KeyFileRefused)
        assert said in refused.exception.message
    assert not (tmp_path / "next").exists()


@pytest.mark.parametrize("full", ["hpke", "node"])
def test_keys_that_a_full_disk_left_unfinished_are_removed(
    full: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = write_private
    with monkeypatch.context() as patched:
        if full == "hpke":
            patched.setattr(node_folder, "write_key_file", fail)
        else:
            patched.setattr(node_folder, "write_private", lambda p, r: fail() if p.name == NODE_FILE else real(p, r))
        with pytest.raises(OSError, match="No space"):
            node_folder.make(tmp_path / "node", "http://node", 1, WORD, light=True)
    assert not (tmp_path / "node").exists()
    assert node_folder.make(tmp_path / "node", "http://node", 1, WORD, light=True).epoch == 1


def test_a_key_that_another_process_made_meanwhile_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node").mkdir()
    _file(tmp_path / "node" / SIGNER_FILE, b"another's")
    monkeypatch.setattr(node_folder, "require_no_keys", lambda _folder: None)
    with pytest.raises(FileExistsError):
        node_folder.make(tmp_path / "node", "http://node", 1, WORD, light=True)
    assert (tmp_path / "node" / SIGNER_FILE).read_bytes() == b"another's"


def test_init_prints_the_member_that_a_committee_names_after_the_backup_was_tried(tmp_path: Path) -> None:
    word = _file(tmp_path / "word", WORD.encode())
    arguments = ["--url", "http://node", "--epoch", "3", "--light", "--passphrase-file", str(word)]
    done = CliRunner().invoke(app, ["init", str(tmp_path / "node"), "--backup", str(tmp_path / "copy"), *arguments])
    assert done.exit_code == 0, done.output
    said = decode(SignedMember, done.stdout.splitlines()[0])
    assert said.recovered() == said.member.signer
    assert f"by another way than that file: {said.member.signer.checksum}" in done.stderr
    paths = KeyPaths.in_folder(tmp_path / "node")
    record = node_folder.load_record(paths.node)
    assert (record.member, record.epoch) == (said.member, said.epoch) == (said.member, 3)
    require_tried(paths, record)
    again = CliRunner().invoke(app, ["init", str(tmp_path / "node"), "--backup", str(tmp_path / "2"), *arguments])
    assert again.exit_code == 1
    assert WORD not in done.output


# --- a program that holds the signing key ---------------------------------------------------------------------------

DIALECTS: tuple[Dialect, ...] = ("web3signer", "clef", "ethereum")


def _remote(fake: FakeSigner, url: str, dialect: Dialect = "web3signer") -> RemoteSigner:
    return RemoteSigner(url, Address.parse(fake.account.address.lower()), dialect)


@pytest.mark.parametrize(
    "url", ["http://signer.example.org:9000", "ftp://127.0.0.1", "//127.0.0.1", "https://[bad", "https://h:99999"]
)
def test_a_signer_over_whose_url_others_read_along_is_refused(url: str) -> None:
    with pytest.raises(SignerFailed, match="https"):
        RemoteSigner(url, Address(bytes(20)), "web3signer")


LIES: dict[str, Callable[[str, Any], Any]] = {
    "nothing": lambda _method, _honest: None,
    "no hex": lambda _method, _honest: "signed",
    "short": lambda _method, honest: honest[:-2],
    "another digest": lambda _method, honest: "0x" + "11" * 32 + honest[66:],
    "a list": lambda _method, honest: [honest],
}


@pytest.mark.loopback
@pytest.mark.parametrize("lie", LIES)
def test_what_an_external_signer_answers_is_not_believed(lie: str) -> None:
    fake = FakeSigner(new_account(), LIES[lie])
    with serving(fake) as url:
        signer = _remote(fake, url)
        with pytest.raises(SignerFailed):
            signer.sign_statement(STATEMENT, CHAIN_ID, MARKET)
        with pytest.raises(SignerFailed):
            signer.sign_text(b"release")


@pytest.mark.loopback
def test_a_signature_of_another_account_of_the_signer_is_refused() -> None:
    fake = FakeSigner(new_account(), lambda _method, honest: honest)
    with serving(fake) as url, pytest.raises(SignerFailed, match="one by"):
        RemoteSigner(url, Address(b"\x01" * 20), "clef").sign_text(b"release")


@pytest.mark.loopback
def test_a_signer_that_is_away_is_named_with_what_to_do() -> None:
    with pytest.raises(SignerFailed, match="unlock"):
        RemoteSigner("http://127.0.0.1:9", Address(bytes(20)), "clef", seconds=5.0).sign_text(b"release")


@pytest.mark.loopback
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_external_signer_is_shown_typed_data_and_asked_once_for_each_statement(dialect: Dialect) -> None:
    fake = FakeSigner(new_account(), lambda _method, honest: honest)
    with serving(fake) as url:
        signer = _remote(fake, url, dialect)
        signature = signer.sign_statement(STATEMENT, CHAIN_ID, MARKET)
        assert signer.sign_statement(STATEMENT, CHAIN_ID, MARKET) == signature
        assert recover(STATEMENT.digest(CHAIN_ID, MARKET), signature) == signer.address
        text = Bytes32(b"\x07" * 32)
        assert recover(personal_digest(text), signer.sign_text(text)) == signer.address
    assert len(fake.asked) == 2
    shown = fake.asked[0][1][1]
    data = shown if dialect == "clef" else json.loads(shown)
    assert data["primaryType"] == "Stop"


@pytest.mark.loopback
def test_a_node_with_an_external_signer_keeps_only_its_hpke_key_and_its_backup_is_tried_with_the_signer(
    tmp_path: Path,
) -> None:
    fake = FakeSigner(new_account(), lambda _method, honest: honest)
    with serving(fake) as url:
        signer = _remote(fake, url)
        record = node_folder.make(tmp_path / "node", "http://node", 1, WORD, external=signer, light=True)
        paths = KeyPaths.in_folder(tmp_path / "node")
        back_up(paths, tmp_path / "backup", WORD)
        assert _loaded(paths).signer.address == record.member.signer == signer.address
    assert [method for method, _ in fake.asked] == ["eth_sign"] * 2  # its member, and the trial of the backup
    assert json.loads(paths.signer.read_bytes())["dialect"] == "web3signer"
