"""What an installation of the wheels gives: the commands of its role, a hint for those of others, and all data files.

Each installation is a virtual environment of its own: our distributions from their wheels, all others exactly as the
lock brought them to this checkout's environment. No index is asked.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.toolchain import DISTRIBUTIONS, ROOT
from tests.scripts.closure import closure, link

SERVERS = {"backend": "sealmarket-backend", "oracle": "sealmarket-oracle", "worker": "sealmarket-worker"}
OTHERS = {**SERVERS, "localnet": "sealmarket-localnet"}
Installed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Callable[[str], Installed]:
    """Gives a way to run ``sealmarket`` in an environment that holds one distribution and what it needs."""
    made: dict[str, Path] = {}

    def of(name: str) -> Installed:
        if name not in made:
            made[name] = _environment(tmp_path_factory.mktemp(name), name, wheels)
        home = made[name]

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            environment = {"PATH": os.environ["PATH"], "HOME": str(home), "SEALMARKET_PASSPHRASE": "of a test"}
            command = [str(home / "venv" / "bin" / "sealmarket"), *words]
            return subprocess.run(
                command,
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )

        return run

    return of


def _environment(home: Path, name: str, wheels: dict[str, Path]) -> Path:
    venv = home / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (packages,) = venv.glob("lib/python3*/site-packages")
    needed = closure(name, wheels)
    for other in needed - set(wheels):
        link(other, packages)
    command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--offline", "--no-deps"]
    ours = [str(wheels[one]) for one in needed & set(wheels)]
    subprocess.run([*command, "--python", str(venv / "bin" / "python"), *ours], check=True, cwd=home)
    return home


@pytest.mark.parametrize("group", sorted(OTHERS))
def test_a_client_alone_says_which_installation_brings_a_servers_commands(
    group: str, environments: Callable[[str], Installed]
) -> None:
    done = environments("sealmarket")(group, "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"pip install 'sealmarket[{group}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_client_makes_an_account_and_completes_commands(environments: Callable[[str], Installed]) -> None:
    client = environments("sealmarket")
    shown = client("--help")
    assert shown.returncode == 0, shown.stderr
    for group in ("account", "consumer", "owner", "verify", *OTHERS):
        assert group in shown.stdout
    made = client("account", "new", "me.json", "--json")
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"0x[0-9a-fA-F]{40}", json.loads(made.stdout)["address"])
    assert "sealmarket" in client("completion", "bash").stdout


def test_the_client_reads_the_vendors_roots_and_the_contracts_that_it_carries(
    environments: Callable[[str], Installed],
) -> None:
    python = Path(str(environments("sealmarket")("--version").args[0])).with_name("python")
    program = (
        "from sealmarket.attestation.collateral.trust_anchors import TrustAnchors\n"
        "from sealmarket.chain import abi\n"
        "TrustAnchors.production(); abi.load('Market')\n"
    )
    subprocess.run([str(python), "-I", "-c", program], check=True, cwd=python.parent)


@pytest.mark.parametrize("group", sorted(SERVERS))
def test_a_servers_own_distribution_brings_its_commands_and_no_other_servers(
    group: str, environments: Callable[[str], Installed]
) -> None:
    server = environments(SERVERS[group])
    shown = server(group, "run", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout
    for other in sorted(set(SERVERS) - {group}):
        assert server(other, "run").returncode == 2


def test_the_local_market_brings_every_server(environments: Callable[[str], Installed]) -> None:
    localnet = environments("sealmarket-localnet")
    assert localnet("localnet", "status").returncode == 1
    for group in SERVERS:
        assert localnet(group, "run", "--help").returncode == 0


def test_each_extra_brings_the_distribution_of_its_name_at_this_very_version(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["sealmarket"]) as wheel:
        text = wheel.read(next(file for file in wheel.namelist() if file.endswith(".dist-info/METADATA"))).decode()
    version = re.search(r"^Version: (.*)$", text, re.MULTILINE)
    assert version is not None
    extras = re.findall(r"^Requires-Dist: (sealmarket-\S+); extra == '(\w+)'$", text, re.MULTILINE)
    named = {group: f"{name}=={version[1]}" for group, name in OTHERS.items()}
    assert set(extras) == {(one, group) for group, one in named.items()} | {(one, "all") for one in named.values()}


def test_every_file_of_a_package_is_in_its_wheel(wheels: dict[str, Path]) -> None:
    inside = {file for path in wheels.values() for file in zipfile.ZipFile(path).namelist()}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for place in DISTRIBUTIONS:
        prefix = "" if place == "." else f"{place}/"
        for file in listed.split("\0"):
            package = file.removeprefix(prefix).split("/")[0]
            if file.startswith(prefix) and package.startswith("sealmarket") and (ROOT / prefix / package).is_dir():
                name = file.removeprefix(prefix)
                # A link to a folder is in the wheel as the files that it leads to.
                linked = (ROOT / file).is_dir() and any(one.startswith(f"{name}/") for one in inside)
                assert name in inside or linked, file
