"""What a worker refuses before it says that it is ready, and how a signal ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sealmarket.client.accounts import create_account
from sealmarket.serving.errors import StateInUse
from sealmarket.serving.lock import only_process
from sealmarket_devices.client import DeviceUnreachable
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.config import WorkerConfig, load_config
from sealmarket_worker.drivers.installed import driver_named
from sealmarket_worker.drivers.interface import DriverSettings, WrongDevice
from sealmarket_worker.ending import Ending
from sealmarket_worker.main import serve
from tests.enclave.scene import Scene
from tests.worker.twins import book_of

LISTENING = """
import sys
from sealmarket_worker.ending import Ending
ending = Ending(float(sys.argv[1]))
ending.begin_on_signals()
print("listening", flush=True)
ending.drain.wait()
print("draining", flush=True)
ending.stop.wait()
print("stopping", flush=True)
"""


@pytest.fixture
def config(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerConfig:
    (tmp_path / "scene").mkdir()
    (tmp_path / "book.json").write_bytes(book_of(Scene(tmp_path / "scene")).canonical())
    create_account(tmp_path / "provider.json", "a passphrase")
    monkeypatch.setenv("SEALMARKET_PASSPHRASE", "a passphrase")
    values = {
        "rpc": "http://127.0.0.1:1",
        "book": "book.json",
        "key": "provider.json",
        "state": "state",
        "device": "no-such.sock",
        "wheels": "wheels",
        "image": str(image),
    }
    path = tmp_path / "worker.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return load_config(path)


def _never() -> None:
    pytest.fail("the worker said that it is ready")


def test_a_worker_whose_device_does_not_exist_is_never_ready(config: WorkerConfig) -> None:
    with pytest.raises(DeviceUnreachable, match=r"no-such\.sock"):
        serve(config, lambda _event: None, _never, Ending(0))


def test_a_second_worker_on_a_state_folder_is_refused_with_the_others_process_id(config: WorkerConfig) -> None:
    with only_process(config.state), pytest.raises(StateInUse, match=f"process {os.getpid()} already runs on"):
        serve(config, lambda _event: None, _never, Ending(0))


def test_a_device_of_another_kind_than_the_configuration_names_is_refused(device_socket: Path, tmp_path: Path) -> None:
    settings = DriverSettings(tee=Tee.SNP, device=device_socket, image=tmp_path, interpreter=tmp_path)
    with pytest.raises(WrongDevice, match="is a virtual tdx, the configuration names snp"):
        driver_named("virtual", Tee.SNP).open(settings).check()


def _listening(seconds: float) -> tuple[subprocess.Popen[str], Callable[[], str]]:
    process = subprocess.Popen([sys.executable, "-c", LISTENING, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline
    assert said() == "listening\n"
    return process, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_the_second_stops(number: signal.Signals) -> None:
    process, said = _listening(600)
    with process:
        process.send_signal(number)
        assert said() == "draining\n"
        process.send_signal(number)
        assert said() == "stopping\n"


def test_a_drain_ends_after_its_time() -> None:
    process, said = _listening(0.05)
    with process:
        process.send_signal(signal.SIGTERM)
        assert [said(), said()] == ["draining\n", "stopping\n"]


def test_without_a_time_for_draining_one_signal_stops() -> None:
    process, said = _listening(0)
    with process:
        process.send_signal(signal.SIGTERM)
        assert [said(), said()] == ["draining\n", "stopping\n"]
