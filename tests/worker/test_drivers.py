"""Drivers are found by entry points; what is missing or does not fit is refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sealmarket_devices.driver import VIRTUAL, VirtualDriver, image_arguments
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.platforms.interface import PlatformUnknown
from sealmarket_enclave.runtime.platforms.table import PLATFORMS, platform_entry
from sealmarket_worker.drivers.installed import driver_named
from sealmarket_worker.drivers.interface import DriverError, DriverMissing, DriverSettings


def test_a_driver_that_is_not_installed_is_refused_with_what_to_install() -> None:
    with pytest.raises(DriverMissing) as refused:
        driver_named("configfs-tsm", Tee.TDX)
    assert "found gramine, guest, virtual" in refused.value.message
    assert "sealmarket-devices" in refused.value.remedy


def test_the_host_works_without_the_virtual_devices_and_says_which_driver_is_missing() -> None:
    code = (
        "import sys; sys.modules['sealmarket_devices'] = None\n"
        "import importlib.metadata as m; found = m.entry_points\n"
        "m.entry_points = lambda **wanted: [e for e in found(**wanted) if 'devices' not in e.value]\n"
        "import sealmarket_worker.main\n"
        "from sealmarket_worker.drivers.installed import driver_named\n"
        "from sealmarket_enclave.protocol.numbers import Tee\n"
        "driver_named('virtual', Tee.TDX)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no driver 'virtual' is installed, found gramine, guest" in done.stderr


def test_the_virtual_driver_is_simulated_and_opens_one_device(tmp_path: Path) -> None:
    assert driver_named("virtual", Tee.SNP) is VIRTUAL
    assert VIRTUAL.simulated
    settings = DriverSettings(tee=Tee.SNP, device=tmp_path / "snp.sock", image=tmp_path, interpreter=tmp_path)
    driver = VIRTUAL.open(settings)
    assert isinstance(driver, VirtualDriver)
    assert driver.tee is Tee.SNP
    with pytest.raises(DriverError, match="no virtual device answers"):
        driver.launch()


def test_the_platform_that_a_driver_names_is_in_the_table_of_the_enclave() -> None:
    tee, platform = image_arguments(Tee.TDX)
    assert tee == "tdx"
    assert "simulated" in platform_entry(platform).title(Tee.TDX)


def test_a_platform_that_is_not_in_the_table_is_refused_and_only_the_virtual_one_says_simulated() -> None:
    with pytest.raises(PlatformUnknown, match="configfs-tsm"):
        platform_entry("configfs-tsm")
    assert set(PLATFORMS) == {"cca-guest", "gramine", "snp-guest", "tdx-guest", "virtual"}
    assert [name for name, entry in PLATFORMS.items() if "simulated" in entry.title(Tee.TDX)] == ["virtual"]
