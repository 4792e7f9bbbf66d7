"""From nothing to a worker that can run: `worker init`, `worker doctor`, `worker prepare`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sealmarket.client.doctor import Check, State
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.sandbox.model import STRICT, Layer, SandboxUnavailable
from sealmarket_worker import config as configuration
from sealmarket_worker.capability import of
from sealmarket_worker.cli import app
from sealmarket_worker.config import load_config
from sealmarket_worker.errors import ConfigInvalid
from sealmarket_worker.examination import GIB, Here, examine_config, examine_machine
from sealmarket_worker.machine import NEEDS, Machine
from sealmarket_worker.preparing import prepare
from sealmarket_worker.template import DEFAULTS, written
from tests.enclave.scene import Scene
from tests.worker.hardware import machine
from tests.worker.twins import book_of

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Read only: a test that takes a wheel away names a folder of its own."""
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def file(tmp_path: Path, scene: Scene) -> Callable[..., Path]:
    """A configuration as `init` writes it, over an address book and the scene's wheels."""
    book = msgspec.structs.replace(book_of(scene), store="http://127.0.0.1:1")
    (tmp_path / "market.json").write_bytes(book.canonical())

    def write(**values: object) -> Path:
        path = tmp_path / "worker.toml"
        path.write_text(written(**{"wheels": str(scene.wheels), "rpc": "http://127.0.0.1:1", **values}))
        return path

    return write


# --- init -------------------------------------------------------------------------------------------------------------


def _keys(shape: type) -> dict[str, Any]:
    return {field.encode_name: field.default for field in msgspec.structs.fields(shape)}


def test_the_template_has_every_key_with_its_default_and_no_other() -> None:
    found = tomllib.loads(written())
    expected = _keys(configuration._File)
    assert found.keys() == expected.keys()
    for name, default in expected.items():
        if isinstance(default, msgspec.Struct):
            inside = msgspec.to_builtins(default)
            assert found[name] == inside, name
        elif default is not msgspec.NODEFAULT:
            assert found[name] == default, name


def test_every_key_of_the_template_is_followed_by_what_it_means() -> None:
    lines = written().splitlines()
    plain = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    named = [number for number in plain if not lines[number].startswith(("workers", "worker ="))]
    assert all(lines[number + 1].startswith("# ") for number in named)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(DEFAULTS.keys() - {"development_chain"})), st.text(max_size=40)))
def test_whatever_a_value_is_the_file_reads_as_it(values: dict[str, str]) -> None:
    found = tomllib.loads(written(**values))
    assert {name: found[name] for name in values} == values


def test_a_value_that_the_template_does_not_take_is_no_file() -> None:
    with pytest.raises(KeyError):
        written(max_job=3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kind", "sessions"), "expected batch or session"),
        (("--listen", "127.0.0.1:8600"), "kind is 'batch' and listen is"),
        (("--url", "https://models.example.org"), "leave `url` out"),
        (("--kind", "session", "--listen", "8600"), "an address and a port"),
        (("--kind", "session", "--url", "models.example.org"), "which no user could reach"),
    ],
)
def test_init_writes_no_file_by_which_no_user_reaches_a_service(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    result = RUNNER.invoke(app, ["init", str(tmp_path / "session.toml"), *words])
    assert isinstance(result.exception, ConfigInvalid)
    assert said in f"{result.exception} {result.exception.remedy}"
    assert not (tmp_path / "session.toml").exists()


def test_init_writes_a_worker_for_services_that_loads(file: Callable[..., Path], tmp_path: Path) -> None:
    file()
    path = tmp_path / "session.toml"
    words = ("--kind", "session", "--state", "session", "--outbox", str(tmp_path / "worker/outbox"))
    url = ("--url", "https://models.example.org")
    assert RUNNER.invoke(app, ["init", str(path), "--book", str(tmp_path / "market.json"), *words, *url]).exit_code == 0
    made = configuration.load_config(path)
    assert (made.kind.slug, made.listen, made.url) == ("session", ("127.0.0.1", 8600), url[1])
    assert made.outbox == tmp_path / "worker/outbox"


def test_init_leaves_a_file_that_is_there_alone(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text("mine")
    result = RUNNER.invoke(app, ["init", str(tmp_path / "worker.toml")])
    assert isinstance(result.exception, ConfigInvalid)
    assert (tmp_path / "worker.toml").read_text() == "mine"


def test_init_refuses_an_address_book_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "book.json").write_text("{}")
    result = RUNNER.invoke(app, ["init", str(tmp_path / "worker.toml"), "--book", str(tmp_path / "book.json")])
    assert isinstance(result.exception, ConfigInvalid)
    assert not (tmp_path / "worker.toml").exists()


def test_init_names_files_as_its_own_file_sees_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    assert RUNNER.invoke(app, ["init", "etc/worker.toml", "--key", "a.json", "--state", "/var/s"]).exit_code == 0
    found = tomllib.loads((tmp_path / "etc" / "worker.toml").read_text())
    assert (found["key"], found["state"], found["book"]) == (str(tmp_path / "a.json"), "/var/s", "market.json")


def test_init_writes_a_file_that_the_worker_reads(tmp_path: Path, scene: Scene) -> None:
    (tmp_path / "market.json").write_bytes(book_of(scene).canonical())
    path = tmp_path / "worker.toml"
    result = RUNNER.invoke(app, ["init", str(path), "--rpc", "http://node:8545", "--tee", "snp", "--driver", "guest"])
    assert result.exit_code == 0, result.output
    assert "next: sealmarket worker doctor" in result.output
    loaded = load_config(path)
    assert (loaded.rpc, loaded.tee, loaded.driver) == ("http://node:8545", Tee.SNP, "guest")
    assert path.stat().st_mode & 0o777 == 0o600


# --- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("workers = 1", "workers = 2", "outbox"),
        ("workers = 1", "workers = 65", "workers"),
        ("worker = 0", "worker = 1", "share.worker is 1"),
        ("drain_seconds = 600.0", "drain_seconds = -1", "drain_seconds"),
        ('environments = "any"', 'environments = "some"', "environments"),
        ("max_jobs = 2", "max_jobs = 65", "max_jobs"),
        ("kept_environments = 32", "kept_environments = 0", "kept_environments"),
        ("max_jobs = 2", 'max_jobs = "2"', "max_jobs"),
        ("settle_patience_seconds = 20.0", "settle_patience_seconds = -1", "settle_patience_seconds"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_name(file: Callable[..., Path], old: str, new: str, named: str) -> None:
    path = file()
    text = path.read_text()
    assert text.count(f"\n{old}\n") == 1
    path.write_text(text.replace(f"\n{old}\n", f"\n{new}\n"))
    with pytest.raises(ConfigInvalid, match=named):
        load_config(path)


def test_a_file_that_is_no_text_is_refused(file: Callable[..., Path]) -> None:
    path = file()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigInvalid):
        load_config(path)


def test_a_passphrase_is_taken_from_the_file_that_the_environment_names(
    file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passphrase").write_text("from the file\n")
    (tmp_path / "passphrase").chmod(0o600)
    monkeypatch.setenv("SEALMARKET_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    monkeypatch.setenv("SEALMARKET_PASSPHRASE", "from the environment")
    assert load_config(file())._passphrase() == "from the file"


# --- doctor -----------------------------------------------------------------------------------------------------------


def here(root: Path, tee: Tee | None = None, **changes: Any) -> Here:
    return Here(machine=machine(root, tee), probe=lambda: tuple(Layer), **changes)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.parametrize("tee", list(NEEDS))
def test_the_machine_says_which_kind_of_tee_it_has_and_how_to_have_the_others(tmp_path: Path, tee: Tee) -> None:
    found = by_name(list(examine_machine(here(tmp_path, tee))))
    assert found[f"{tee.slug} hardware"].remedy == ""
    for other in NEEDS.keys() - {tee}:
        check = found[f"{other.slug} hardware"]
        assert check.found.startswith("none: ")
        assert check.remedy
    assert here(tmp_path, tee).machine.kinds() == (tee,)


def test_a_sandbox_that_lacks_a_required_layer_fails_with_the_layer(tmp_path: Path) -> None:
    def without_landlock() -> tuple[Layer, ...]:
        raise SandboxUnavailable(frozenset({Layer.LANDLOCK_FILES}), "Landlock is not enabled")

    found = by_name(list(examine_machine(Here(machine=machine(tmp_path, None), probe=without_landlock))))
    assert found["sandbox"].state is State.FAILED
    assert "landlock-files" in found["sandbox"].found


def test_layers_that_are_not_needed_are_told_apart_from_those_that_hold(tmp_path: Path) -> None:
    found = Here(machine=machine(tmp_path, None), probe=lambda: tuple(sorted(STRICT.required)))
    check = by_name(list(examine_machine(found)))["sandbox"]
    assert check.state is State.OK
    held, _, absent = check.found.partition("; not needed and not here: ")
    assert set(held.split(", ")) == STRICT.required
    assert set(absent.split(", ")) == set(Layer) - STRICT.required


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b", {"/sys/fs/cgroup/a/memory.max": "1000", "/sys/fs/cgroup/a/b/memory.max": "max"}, 1000),
        ("0::/../a", {"/sys/fs/cgroup/a/memory.max": "2000"}, 2000),
        ("5:memory:/a", {"/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000"}, 3000),
        ("5:cpu:/a\n0::/", {}, 4194304 * 1024),
        ("nonsense", {}, 4194304 * 1024),
    ],
)
def test_the_smallest_limit_of_the_control_groups_is_the_memory(
    tmp_path: Path, groups: str, files: dict[str, str], expected: int
) -> None:
    found = machine(tmp_path, None)
    for name, text in {"/proc/self/cgroup": groups, **files}.items():
        found.at(name).parent.mkdir(parents=True, exist_ok=True)
        found.at(name).write_text(f"{text}\n")
    assert found.memory() == expected


def test_a_machine_whose_files_cannot_be_read_has_nothing(tmp_path: Path) -> None:
    assert Machine(root=tmp_path / "absent", kind="x86_64").kinds() == ()
    assert Machine(root=tmp_path / "absent", kind="x86_64").memory() == 0


@pytest.mark.loopback
def test_each_thing_that_a_configuration_names_and_that_is_missing_is_a_line_with_a_next_step(
    file: Callable[..., Path], tmp_path: Path
) -> None:
    config = load_config(file())
    found = by_name(list(examine_config(config, here(tmp_path / "m", disk=lambda _path: GIB // 2))))
    for name in ("driver virtual", "disk", "account", "chain", "store"):
        check = found.get(name) or found["driver"]
        assert check.state is State.FAILED, name
        assert check.remedy, name
    assert "tdx.sock" in found["driver"].found


@pytest.mark.loopback
def test_disk_wheels_and_worker_are_told(file: Callable[..., Path], tmp_path: Path, scene: Scene) -> None:
    config = load_config(file())
    found = by_name(list(examine_config(config, here(tmp_path / "m", disk=lambda _path: 100 * GIB))))
    assert (found["disk"].state, found["wheels"].state) == (State.OK, State.OK)
    assert (found["worker"].state, found["worker"].remedy) == (
        State.WARNING,
        "sealmarket worker run --config FILE",
    )


@pytest.mark.loopback
def test_an_account_that_opens_is_told_by_its_address(
    file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "provider.key").write_text("0x" + "31" * 32)
    (tmp_path / "provider.key").chmod(0o600)
    found = by_name(list(examine_config(load_config(file(key="provider.key")), here(tmp_path / "m"))))
    assert found["account"].state is State.OK
    assert found["account"].found.startswith("0x")


@pytest.mark.loopback
def test_a_virtual_device_is_named_as_simulated(
    file: Callable[..., Path], tmp_path: Path, device_socket: Path, image: Path
) -> None:
    config = load_config(file(device=str(device_socket)))
    check = by_name(list(examine_config(config, here(tmp_path / "m"))))["driver virtual"]
    assert check.state is State.WARNING
    assert "SIMULATED" in check.found


def test_doctor_of_a_file_that_does_not_read_still_examines_the_machine(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text("rpc = 1")
    result = RUNNER.invoke(app, ["doctor", "--config", str(tmp_path / "worker.toml"), "--json"])
    assert result.exit_code == 1
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["configuration"]["state"] == "FAILED"
    assert {"kernel", "interpreter", "sandbox", "memory"} <= rows.keys()


# --- prepare ----------------------------------------------------------------------------------------------------------


def test_prepare_names_each_wheel_that_is_missing_and_installs_nothing(file: Callable[..., Path], scene: Scene) -> None:
    [wheel] = scene.wheels.iterdir()
    path = file(wheels="no-wheels")
    result = RUNNER.invoke(app, ["prepare", str(scene.bundle), "--config", str(path)])
    assert result.exit_code == 1
    assert wheel.name in result.output
    assert "--fetch" in result.output
    assert not (load_config(path).state / "environments").exists()


def test_what_is_neither_a_folder_nor_a_digest_is_refused(file: Callable[..., Path]) -> None:
    with pytest.raises(ConfigInvalid, match="neither a folder nor a digest"):
        prepare(load_config(file()), "no-such-workload", fetch=False)


def test_a_host_that_promises_prepared_environments_only_has_to_have_one(
    file: Callable[..., Path], scene: Scene, image: Path
) -> None:
    path = file()
    path.write_text(path.read_text().replace('environments = "any"', 'environments = "prepared"'))
    config = load_config(path)
    with pytest.raises(ConfigInvalid, match="none is"):
        of(config, image)
    result = RUNNER.invoke(app, ["prepare", str(scene.bundle), "--config", str(path), "--json"])
    assert result.exit_code == 0, result.output
    [row] = json.loads(result.stdout)
    assert row["missing"] == []
    assert of(config, image).environments == (row["environment"],)
    assert of(load_config(file()), image).environments == ()
