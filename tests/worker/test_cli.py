"""The commands of the worker, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from sealmarket.chain.follow import Cursor
from sealmarket.client.accounts import create_account
from sealmarket.protocol.capability import Capability
from sealmarket_devices.driver import image_arguments
from sealmarket_devices.measure import measure_image
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.codec import Address, decode_canonical, to_builtins
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_worker.capability import of
from sealmarket_worker.cli import app
from sealmarket_worker.config import load_config
from sealmarket_worker.errors import ConfigInvalid
from sealmarket_worker.image import base_interpreter
from sealmarket_worker.journal import Journal
from tests.enclave.scene import CHAIN_ID, MARKET, Scene
from tests.worker.twins import book_of

CONFIG = {
    "rpc": "http://127.0.0.1:1",
    "book": "book.json",
    "key": "provider.key",
    "state": "state",
    "device": "tdx.sock",
    "wheels": "wheels",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def with_values(**values: object) -> Path:
        (tmp_path / "scene").mkdir(exist_ok=True)
        if not (tmp_path / "book.json").exists():
            (tmp_path / "book.json").write_bytes(book_of(Scene(tmp_path / "scene")).canonical())
        lines = [f"{name} = {json.dumps(value)}" for name, value in {**CONFIG, **values}.items() if value is not None]
        path = tmp_path / "worker.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return with_values


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"rpc": None}, "rpc"),
        ({"max_job": 1}, "max_job"),
        ({"max_jobs": 0}, "max_jobs"),
        ({"tee": "trustzone"}, "trustzone"),
        ({"book": "other.json"}, "other.json"),
        ({"development_chain": "yes"}, "development_chain"),
        ({"limits.max_stakes": "1"}, "max_stakes"),
        ({"limits.min_settle_window": -1}, "min_settle_window"),
        ({"limits.max_stake.0x1": "1"}, "limits.max_stake"),
        ({f"limits.max_stake.0x{'00' * 20}": "half"}, "whole amount"),
    ],
)
def test_a_configuration_with_a_fault_is_refused_by_name(
    write: Callable[..., Path], values: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigInvalid, match=named):
        load_config(write(**values))


def test_limits_are_read_by_token_with_half_of_the_memory_for_inputs(write: Callable[..., Path]) -> None:
    token = Address(bytes(20))
    limits = load_config(write(**{f"limits.max_stake.{token}": "5", "limits.min_settle_window": 60})).limits
    assert (limits.max_stake, limits.min_settle_window) == ({token: 5}, 60)
    assert 0 < limits.max_input_bytes == load_config(write()).limits.max_input_bytes


def test_a_key_file_that_others_can_read_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "provider.key").write_text("0x" + "31" * 32)
    (tmp_path / "provider.key").chmod(0o644)
    with pytest.raises(ConfigInvalid, match="mode 0644"):
        load_config(write()).account()


def test_a_key_file_with_something_else_is_refused_without_showing_it(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "provider.key").write_text("hunter2")
    (tmp_path / "provider.key").chmod(0o600)
    with pytest.raises(ConfigInvalid) as refused:
        load_config(write()).account()
    assert "hunter2" not in str(refused.value)


def test_status_tells_each_job_and_why_it_was_given_up(write: Callable[..., Path], tmp_path: Path) -> None:
    config = load_config(write())
    spec = Scene(_folder(tmp_path / "job")).spec
    job_id: JobId = spec.job_id(CHAIN_ID, MARKET)
    with Journal(config.state / "journal.sqlite") as journal:
        journal.advance(Cursor(7, keccak(b"block 7")), [], [(job_id, spec, 5)])
        journal.give_up(job_id, "the container cannot be had")
    said = CliRunner().invoke(app, ["status", "--config", str(write()), "--json"])
    assert json.loads(said.stdout) == [
        {"jobId": str(job_id), "state": "given_up", "reason": "the container cannot be had"}
    ]
    assert "given_up" in CliRunner().invoke(app, ["status", "--config", str(write())]).stdout


def test_measure_prints_what_an_owner_puts_into_a_policy(image: Path) -> None:
    said = json.loads(CliRunner().invoke(app, ["image", "measure", str(image)]).stdout)
    expected = tdx_measurement(measure_image(image, base_interpreter(), image_arguments(Tee.TDX)))
    assert said["digest"] == str(expected.digest())
    assert said["grade"] == "simulated"


def test_measure_of_a_kind_without_a_virtual_device_is_refused(image: Path) -> None:
    failed = CliRunner().invoke(app, ["image", "measure", str(image), "--tee", "nvidia"])
    assert isinstance(failed.exception, ConfigInvalid)
    assert "nvidia" in str(failed.exception)


def test_an_image_holds_no_bytecode_no_tests_and_nothing_that_only_clients_need(image: Path) -> None:
    files = {path.relative_to(image).as_posix() for path in image.rglob("*") if path.is_file()}
    assert {"__main__.py", "sealmarket_enclave/runtime/core.py", "sealmarket_enclave/sandbox/launcher.py"} <= files
    assert all(name.endswith((".py", ".so", "/lock.txt", "/py.typed")) for name in files)
    absent = ("sealmarket/", "sealmarket_worker/", "sealmarket_devices/", "httpx")
    assert not [name for name in files if name.startswith(absent) or "SelfTest" in name]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


# --- what a host promises ---------------------------------------------------------------------------------------


def test_a_capability_document_that_does_not_read_is_named(write: Callable[..., Path], image: Path) -> None:
    config = write(capability="promise.json", image=str(image))
    result = CliRunner().invoke(app, ["capability", "--config", str(config)])
    assert isinstance(result.exception, ConfigInvalid)
    assert "promise.json" in result.exception.message


def test_a_capability_document_of_another_tee_is_refused(write: Callable[..., Path], image: Path) -> None:
    config = write(capability="promise.json", image=str(image))
    promised = of(load_config(write(image=str(image))), image)
    (config.parent / "promise.json").write_bytes(replace(promised, tee=Tee.SNP).canonical())
    config = write(capability="promise.json", image=str(image))
    with pytest.raises(ConfigInvalid, match="promises snp, this host is tdx"):
        of(load_config(config), image)


def test_the_capability_of_a_host_names_what_its_configuration_gives(write: Callable[..., Path], image: Path) -> None:
    result = CliRunner().invoke(app, ["capability", "--config", str(write(image=str(image)))])
    assert result.exit_code == 0, result.output
    promised = decode_canonical(Capability, result.stdout.strip().encode())
    measured = measure_image(image, base_interpreter(), image_arguments(Tee.TDX))
    assert promised.measurements == (to_builtins(tdx_measurement(measured)),)
    assert (promised.tee, promised.environments) == (Tee.TDX, ())


def test_a_written_capability_document_is_taken_as_it_is(write: Callable[..., Path], image: Path) -> None:
    written = replace(of(load_config(write(image=str(image))), image), threads=3)
    config = write(capability="promise.json", image=str(image))
    (config.parent / "promise.json").write_bytes(written.canonical())
    assert of(load_config(config), image) == written


def test_a_keystore_opens_with_the_passphrase_of_its_file_and_with_no_other(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    made = create_account(tmp_path / "provider.json", "a passphrase")
    (tmp_path / "passphrase").write_text("a passphrase\n")
    config = load_config(write(key="provider.json", passphrase_file="passphrase"))
    assert config.account().address == made.address
    (tmp_path / "passphrase").write_text("another\n")
    with pytest.raises(ConfigInvalid, match="passphrase is another"):
        config.account()
    (tmp_path / "passphrase").unlink()
    with pytest.raises(ConfigInvalid, match="passphrase"):
        config.account()
