"""Configuration: nothing that decides trust has a default."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_oracle.config import load
from sealmarket_oracle.errors import InvalidConfig
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
    "a certificate without its key": {"tls_certificate": '"chain.pem"'},
    "a key without its certificate": {"tls_key": '"key.pem"'},
    "a journal that is nowhere": {"journal": '""'},
    "more endpoints that agree than there are": {"agree": "2"},
    "collateral of a server that is no URL": {"collateral_intel": '"https://[bad"'},
    "collateral of a server without TLS": {"collateral_intel": '"http://pccs.example"'},
    "collateral of a server by its name": {"collateral_amd": '"kdsintf.amd.com"'},
    "peers that may be asked": {"collateral_peers": '"maybe"'},
    "an issuer of advisories that is no account": {"advisory_issuers": '["0x12"]'},
    "issuers of advisories that are no list": {"advisory_issuers": "7"},
    "a folder that is a number": {"holds": "5"},
    "a chain that is a number": {"rpc": "5"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_configuration_is_refused_with(case: str, tmp_path: Path, world: World, device: VirtualTdx) -> None:
    with pytest.raises(InvalidConfig):
        load(_write(tmp_path, world, device, **REFUSED[case]), {})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ({"colateral_intel": '"vendor"'}, "did you mean collateral_intel"),
        ({"holds": "5"}, "holds is a text, found 5"),
        ({"profile": '"development"', "development_roots": '["absent.der"]'}, "absent.der: No such file"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_what_was_meant(
    lines: dict[str, str], said: str, tmp_path: Path, world: World, device: VirtualTdx
) -> None:
    with pytest.raises(InvalidConfig) as refused:
        load(_write(tmp_path, world, device, **lines), {})
    assert said in str(refused.value)


def test_a_configuration_that_is_absent_is_told_from_one_that_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="No such file") as absent:
        load(tmp_path / "absent.toml", {})
    assert "--config" in absent.value.remedy
    (tmp_path / "wrong.toml").write_text("rpc = = 1")
    with pytest.raises(InvalidConfig, match=r"is no TOML.*line 1"):
        load(tmp_path / "wrong.toml", {})


def test_the_operator_is_answered_in_the_state_folder_wherever_else_as_well(
    tmp_path: Path, world: World, device: VirtualTdx
) -> None:
    own = str(tmp_path / "state" / "admin.sock")
    assert load(_write(tmp_path, world, device), {}).admin == (own,)
    assert load(_write(tmp_path, world, device, admin='"127.0.0.1:8452"'), {}).admin == (own, "127.0.0.1:8452")
    assert load(_write(tmp_path, world, device, admin='"state/admin.sock"'), {}).admin == (own,)


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


def test_a_journals_url_is_in_no_repr_and_files_of_tls_are_beside_the_configuration(
    tmp_path: Path, world: World, device: VirtualTdx
) -> None:
    url = "postgresql://node:hunter2@db.example/journal"
    lines = {"journal": f'"{url}"', "tls_certificate": '"chain.pem"', "tls_key": '"key.pem"'}
    config = load(_write(tmp_path, world, device, **lines), {})
    assert config.journal == url
    assert "hunter2" not in repr(config)
    assert config.tls == (tmp_path / "chain.pem", tmp_path / "key.pem")
    assert load(_write(tmp_path, world, device), {"SEALMARKET_ORACLE_JOURNAL": url}).journal == url
    plain = load(_write(tmp_path, world, device), {})
    assert (plain.journal, plain.tls) == ("", None)


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


def test_without_a_source_of_collateral_no_vendor_is_asked_and_no_issuer_counts(
    tmp_path: Path, world: World, device: VirtualTdx
) -> None:
    config = load(_write(tmp_path, world, device), {})
    assert (config.collateral.asked, config.collateral.endpoints) == (frozenset(), {})
    assert config.collateral.folder == tmp_path / "state" / "collateral"
    assert config.advisory_issuers == frozenset()


def test_sources_of_collateral_are_vendors_or_caches_of_them(tmp_path: Path, world: World, device: VirtualTdx) -> None:
    lines = {"collateral_intel": '"https://pccs.example/"', "collateral_amd": '"vendor"', "collateral_peers": "false"}
    found = load(_write(tmp_path, world, device, **lines), {}).collateral
    assert found.asked == {Tee.SGX, Tee.TDX, Tee.SNP}
    assert found.endpoints["intel"] == "https://pccs.example"
    assert "amd" not in found.endpoints
    assert not found.peers


def test_issuers_are_a_list_or_words_of_the_environment(tmp_path: Path, world: World, device: VirtualTdx) -> None:
    first, second = "0x" + "ab" * 20, "0x" + "CD" * 20
    path = _write(tmp_path, world, device, advisory_issuers=f'["{first}"]')
    assert load(path, {}).advisory_issuers == {Address.parse(first)}
    both = {"SEALMARKET_ORACLE_ADVISORY_ISSUERS": f"{first}, {second}"}
    assert load(path, both).advisory_issuers == {Address.parse(first), Address.parse(second.lower())}
