"""Configuration and keys: nothing that decides trust has a default, and secrets stay in files of mode 0600."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealmarket.protocol.book import Member
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_oracle import keys
from sealmarket_oracle.cli import app
from sealmarket_oracle.config import load
from sealmarket_oracle.errors import InvalidConfig, KeyFileRefused
from tests.oracle.world import World


def _write(folder: Path, world: World, device: VirtualTdx, **lines: str) -> Path:
    (folder / "book.json").write_bytes(world.book.canonical())
    (folder / "root.der").write_bytes(device.root)
    values = {"rpc": '"http://127.0.0.1:8545"', "book": '"book.json"', "state": '"state"', "profile": '"production"'}
    text = "\n".join(f"{name} = {value}" for name, value in (values | lines).items() if value)
    path = folder / "oracle.toml"
    path.write_text(text)
    return path


REFUSED = {
    "development roots in production": {"development_roots": '["root.der"]'},
    "a development profile without a root": {"profile": '"development"'},
    "a root that is no certificate": {"profile": '"development"', "development_roots": '["book.json"]'},
    "a root that is absent": {"profile": '"development"', "development_roots": '["absent.der"]'},
    "no profile": {"profile": ""},
    "another profile": {"profile": '"lenient"'},
    "no chain": {"rpc": ""},
    "no address book": {"book": ""},
    "an address book that is none": {"book": '"root.der"'},
    "a setting that nobody knows": {"trust_everybody": "true"},
    "a poll that never rests": {"poll_seconds": "0"},
    "TOML that is none": {"rpc": "= ="},
    "an endpoint that is none": {"rpc": '"ftp://a"'},
    "proofs of another kind": {"proofs": '"some"'},
    "another machine's endpoint without proofs": {"proofs": '"none"', "rpc": '"https://rpc.example"'},
    "more endpoints that agree than there are": {"agree": "2"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_configuration_is_refused_with(case: str, tmp_path: Path, world: World, device: VirtualTdx) -> None:
    with pytest.raises(InvalidConfig):
        load(_write(tmp_path, world, device, **REFUSED[case]), {})


def test_state_counts_by_proof_and_by_most_of_the_endpoints_unless_the_operator_says_otherwise(
    tmp_path: Path, world: World, device: VirtualTdx
) -> None:
    three = '"http://a.example,http://b.example,http://c.example"'
    trust = load(_write(tmp_path, world, device, rpc=three), {}).trust
    assert (trust.proofs, trust.needed(3), trust.needed(2), trust.needed(1)) == (True, 2, 2, 1)
    all_three = load(_write(tmp_path, world, device, rpc=three, agree="3"), {}).trust
    assert all_three.needed(3) == 3
    own = {"proofs": '"none"', "trust_endpoints": "true"}
    assert not load(_write(tmp_path, world, device, rpc=three, **own), {}).trust.proofs
    assert not load(_write(tmp_path, world, device, proofs='"none"'), {}).trust.proofs, "an endpoint on this machine"


def test_production_trusts_no_development_root(tmp_path: Path, world: World, device: VirtualTdx) -> None:
    config = load(_write(tmp_path, world, device), {})
    assert config.grade_floor is Grade.HARDWARE
    assert not config.roots.development


def test_the_environment_overrides_the_file(tmp_path: Path, world: World, device: VirtualTdx) -> None:
    path = _write(tmp_path, world, device)
    changed = {
        "SEALMARKET_ORACLE_PROFILE": "development",
        "SEALMARKET_ORACLE_DEVELOPMENT_ROOTS": str(tmp_path / "root.der"),
        "SEALMARKET_ORACLE_PORT": "9001",
    }
    config = load(path, changed)
    assert (config.grade_floor, config.port) == (Grade.SIMULATED, 9001)
    assert config.roots.development == (device.root,)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    keys.generate(tmp_path / "node")
    path = tmp_path / "node" / keys.SIGNER_FILE
    path.chmod(mode)
    with pytest.raises(KeyFileRefused, match="mode 0600"):
        keys.load(path, tmp_path / "node" / keys.HPKE_FILE)


@pytest.mark.parametrize("name", [keys.SIGNER_FILE, keys.HPKE_FILE])
@pytest.mark.parametrize("content", ["", "0x00", "no hex", "0x" + "00" * 32])
def test_a_key_file_that_holds_no_key_is_refused(name: str, content: str, tmp_path: Path) -> None:
    keys.generate(tmp_path / "node")
    (tmp_path / "node" / name).write_text(content)
    with pytest.raises(KeyFileRefused):
        keys.load(tmp_path / "node" / keys.SIGNER_FILE, tmp_path / "node" / keys.HPKE_FILE)


def test_a_key_that_is_mounted_as_a_link_counts_as_the_file_behind_it(tmp_path: Path) -> None:
    made = keys.generate(tmp_path / "node")
    path, moved = tmp_path / "node" / keys.SIGNER_FILE, tmp_path / "moved.key"
    path.rename(moved)
    path.symlink_to(moved)
    assert keys.load(path, tmp_path / "node" / keys.HPKE_FILE).signer.address == made.signer.address
    moved.chmod(0o644)
    with pytest.raises(KeyFileRefused):
        keys.load(path, tmp_path / "node" / keys.HPKE_FILE)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    made = keys.generate(tmp_path / "node")
    with pytest.raises(KeyFileRefused):
        keys.generate(tmp_path / "node")
    held = keys.load(tmp_path / "node" / keys.SIGNER_FILE, tmp_path / "node" / keys.HPKE_FILE)
    assert held.signer.address == made.signer.address
    assert held.hpke.public == made.hpke.public


def test_keys_show_nothing_secret(tmp_path: Path) -> None:
    made = keys.generate(tmp_path / "node")
    secret = (tmp_path / "node" / keys.SIGNER_FILE).read_text().strip()
    assert secret.removeprefix("0x") not in repr(made)
    assert made.hpke.secret_bytes().hex() not in repr(made)


def test_init_prints_the_member_that_a_committee_names(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / "node"), "--url", "http://node"])
    assert result.exit_code == 0
    member = decode(Member, result.stdout)
    held = keys.load(tmp_path / "node" / keys.SIGNER_FILE, tmp_path / "node" / keys.HPKE_FILE)
    assert member.signer == held.signer.address
    again = CliRunner().invoke(app, ["init", str(tmp_path / "node")])
    assert again.exit_code == 1
