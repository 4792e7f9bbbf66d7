"""The recipes of hardware against the programs: the guest image, its launch files, Gramine's manifest.

No image is built and no TEE is here. What these tests hold is that the recipes and the code name the same things.
"""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.platforms import gramine, guest
from sealmarket_enclave.runtime.platforms.table import PLATFORMS
from sealmarket_worker.drivers.guest import GUEST_ENVIRONMENTS
from sealmarket_worker.drivers.guest_file import read_guest
from tests.scripts.containers import DEPLOY

GUEST = DEPLOY / "guest"
INIT = (GUEST / "mkosi.extra" / "init").read_text()
NAMES = ("tdx", "snp")


def recipe() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters="=", comment_prefixes="#", interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their case
    parser.read_string((GUEST / "mkosi.conf").read_text())
    return parser


def launch(name: str, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "guest.toml").write_bytes((GUEST / f"{name}.toml").read_bytes())
    read_guest(tmp_path)
    return tomllib.loads((GUEST / f"{name}.toml").read_text())


def after(command: list[str], word: str) -> str:
    return command[command.index(word) + 1]


def test_the_recipe_builds_what_the_launch_files_name(tmp_path: Path) -> None:
    output = recipe()["Output"]
    assert (output["Format"], output["CompressOutput"], output["SplitArtifacts"]) == ("cpio", "none", "kernel")
    for name in NAMES:
        found = launch(name, tmp_path)
        assert found["initial_disk"] == f"{output['ImageId']}.cpio"
        assert found["kernel"] == f"{output['ImageId']}.vmlinuz"


def test_the_image_holds_the_measured_core_and_no_service_shell_or_key() -> None:
    content = recipe()["Content"]
    assert content["ExtraTrees"] == "image:/sealmarket/image"
    assert (content["Bootloader"], content["Ssh"], content["SourceDateEpoch"]) == ("none", "no", "0")
    assert content["Packages"].split() == ["linux-image-amd64", "python3", "kmod", "mount"]
    assert recipe()["Build"]["WithNetwork"] == "no"
    kept = content["KernelModulesInclude"].split()
    assert content["KernelModulesExclude"] == ".*", "without it every module of the kernel stays"
    assert {"^drivers/virt/coco/", "^net/vmw_vsock/"} <= set(kept)
    assert not [pattern for pattern in kept if "net/ethernet" in pattern or "block" in pattern]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_launched_is_what_is_measured(name: str, tmp_path: Path) -> None:
    found = launch(name, tmp_path)
    command = found["command"]
    assert after(command, "-append") == found["command_line"]
    for option, key in (("-bios", "firmware"), ("-kernel", "kernel"), ("-initrd", "initial_disk")):
        assert after(command, option) == f"{{image}}/{found[key]}"
    assert f"sealmarket.tee={name}" in found["command_line"].split()
    assert f"{name}-guest" in PLATFORMS
    assert guest.PROVIDERS[Tee.from_slug(name)]


def test_an_snp_guest_is_launched_with_the_cpus_and_the_policy_that_are_measured(tmp_path: Path) -> None:
    found = launch("snp", tmp_path)
    command = found["command"]
    assert (after(command, "-smp"), after(command, "-cpu")) == (str(found["snp"]["cpus"]), found["snp"]["cpu"])
    [sev] = [word for word in command if word.startswith("sev-snp-guest,")]
    assert int(sev.partition("policy=")[2].partition(",")[0], 16) == int(found["snp"]["policy"], 16)
    assert "kernel-hashes=on" in sev, "without it the digest covers no kernel"


@pytest.mark.parametrize("name", NAMES)
def test_a_guest_gets_its_vsock_and_the_environments_read_only_and_no_disk_or_network(
    name: str, tmp_path: Path
) -> None:
    command = launch(name, tmp_path)["command"]
    assert "vhost-vsock-pci,guest-cid={cid}" in command
    [share] = [word for word in command if "path={environments}" in word]
    assert "readonly=on" in share
    tag = next(word.partition("mount_tag=")[2] for word in command if "mount_tag=" in word)
    assert f'mount("{tag}", "{GUEST_ENVIRONMENTS}"' in INIT
    assert not {"-netdev", "-nic", "-drive", "-blockdev", "-hda", "-net"} & set(command)
    assert {"-nodefaults", "-no-user-config"} <= set(command)


def test_the_first_process_starts_the_core_as_every_launch_does_and_ends_the_guest_with_it() -> None:
    tree = ast.parse(INIT)
    assert INIT.startswith("#!/usr/bin/python3 -ISB\n")
    assert (GUEST / "mkosi.extra" / "init").stat().st_mode & 0o111
    assert '"-I", "-S", "-B", "/sealmarket/image/__main__.py", kind, f"{kind}-guest"' in INIT
    [last] = [node for node in tree.body if isinstance(node, ast.Try)]
    assert "POWER_OFF" in ast.unparse(ast.Module(last.finalbody, []))
    assert str(guest.REPORTS).startswith("/sys/kernel/config/")
    assert '"/sys/kernel/config"' in INIT


def _manifest() -> dict[str, Any]:
    text = (DEPLOY / "gramine" / "sealmarket.manifest.template").read_text()
    return tomllib.loads(re.sub(r"\{\{ ([\w.()]+) \}\}", lambda found: f"/{found[1].strip('()')}", text))


def test_the_manifest_of_gramine_starts_the_core_on_the_platform_gramine_with_dcap_and_without_debug() -> None:
    found = _manifest()
    assert found["loader"]["argv"][1:] == ["-I", "-S", "-B", "/image/__main__.py", "sgx", "gramine"]
    assert "gramine" in PLATFORMS
    assert (found["sgx"]["remote_attestation"], found["sgx"]["debug"]) == ("dcap", False)
    passed = {name for name, value in found["loader"]["env"].items() if isinstance(value, dict)}
    assert passed == {gramine.CHANNEL_VARIABLE}


def test_only_the_hosts_environments_are_read_by_gramine_without_being_measured() -> None:
    found = _manifest()
    assert found["sgx"]["allowed_files"] == ["file:/environments/"]
    trusted = {name.removeprefix("file:").rstrip("/") for name in found["sgx"]["trusted_files"]}
    mounted = {mount["uri"].removeprefix("file:") for mount in found["fs"]["mounts"] if "uri" in mount}
    assert mounted - {"/environments"} <= trusted
    assert not [name for name in found["sys"] if name.startswith("insecure__") and found["sys"][name]]
