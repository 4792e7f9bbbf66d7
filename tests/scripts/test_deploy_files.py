"""Container files, the compose file and systemd's units against the programs: options, paths, ports, users.

No image is built here: `tests/integration/test_deployed_commands.py` runs the same commands as processes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from scripts.locks import LOCKS
from scripts.toolchain import ROOT
from tests.cli.commands import all_commands
from tests.scripts.containers import DEPLOY, ROLES, Image, compose, role_of

STATE, SETTINGS, SECRETS = "/var/lib/sealmarket", "/etc/sealmarket", "/run/secrets"
PORTS = {"backend": "8400", "oracle": "8451"}
COMMANDS = {one.name: one for one in all_commands()}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def require_a_real_command(words: list[str]) -> None:
    """Each word that looks like an option is one of the command that is called."""
    assert words[0].rpartition("/")[2] == "sealmarket"
    command = COMMANDS[" ".join(words[1:3])]
    assert {word for word in words if word.startswith("--")} <= command.options
    required = {option for one in command.leaf.params if one.required for option in one.opts}
    assert required - set(words) <= {"--rpc"}, "the chain is named by the environment"


@pytest.mark.parametrize("role", ROLES)
def test_an_image_runs_a_real_command_as_no_root(role: str) -> None:
    image = Image.of(role).last_stage()
    require_a_real_command(image.command())
    assert image.all("USER") == ["10001:10001"]
    assert image.entry_point() == ["sealmarket", role, "run"]
    before = [word for word, _ in image.instructions]
    assert before.index("USER") < before.index("ENTRYPOINT")


@pytest.mark.parametrize("role", ROLES)
def test_an_image_installs_by_hash_from_the_lock_of_its_role(role: str) -> None:
    image = Image.of(role)
    installs = [step for step in re.split(r"&&|\n", "\n".join(image.all("RUN"))) if "install" in step]
    assert len(installs) == 4
    for step in installs:
        assert "--require-hashes" in step or ("--offline" in step and "/wheels/" in step), step
    assert f"requirements/{role}.txt" in LOCKS
    copied = " ".join(image.all("COPY"))
    for name in re.findall(r"requirements/\w+\.txt", copied):
        assert (ROOT / name).is_file()
    assert f"requirements/{role}.txt" in copied
    assert "requirements/dev.txt" not in copied


@pytest.mark.parametrize("role", ROLES)
def test_an_image_copies_what_exists_and_carries_no_other_role(role: str) -> None:
    image = Image.of(role)
    for step in image.all("COPY"):
        if "--from" not in step:
            assert all((ROOT / name).exists() for name in step.split()[:-1]), step
    sources = {name.strip("./") for step in image.all("COPY") if "--from" not in step for name in step.split()[:-1]}
    folder = {"worker": "worker/host"}.get(role, role)
    assert sources & {"backend", "oracle", "worker/host", "worker/devices", "localnet"} == {folder}
    assert image.last_stage().all("COPY") == ["--from=build /opt/sealmarket /opt/sealmarket"]


@pytest.mark.parametrize("role", ROLES)
def test_what_an_image_copies_is_sent_to_the_builder_and_nothing_else_is(role: str) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    for step in Image.of(role).all("COPY"):
        for name in step.split()[:-1] if "--from" not in step else []:
            assert any(fnmatch(name, rule) or rule.startswith(f"{name.rstrip('/')}/") for rule in allowed), name
    for secret in ("market/keeper.key", ".venv/bin/python", ".git/config", "deploy/market/oracle-0/signer.key"):
        assert not any(fnmatch(secret, rule) or secret.startswith(f"{rule}/") for rule in allowed)


@pytest.mark.parametrize("role", sorted(PORTS))
def test_an_image_exposes_the_port_that_its_program_listens_on_and_asks_it_there(role: str) -> None:
    image = Image.of(role).last_stage()
    assert image.all("EXPOSE") == [PORTS[role]]
    assert f"127.0.0.1:{PORTS[role]}" in " ".join(image.health_check())
    if "--port" in image.command():
        assert image.command()[image.command().index("--port") + 1] == PORTS[role]


def test_a_lock_of_a_role_holds_the_versions_of_the_whole_lock() -> None:
    whole = _versions(ROOT / "requirements/dev.txt")
    for role in (*ROLES, "build"):
        own = _versions(ROOT / f"requirements/{role}.txt")
        assert own.items() <= whole.items()
        assert not {name for name in own if name.startswith("sealmarket") or name in ("pytest", "hypothesis")}


def _versions(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("service", sorted(compose()["services"]))
def test_a_service_is_built_from_its_file_and_can_write_its_state_alone(service: str) -> None:
    found = compose()["services"][service]
    assert found["build"]["dockerfile"] == f"deploy/{role_of(service)}.Containerfile"
    assert (ROOT / found["build"]["dockerfile"]).is_file()
    assert (found["read_only"], found["cap_drop"]) == (True, ["ALL"])
    assert found["security_opt"] == ["no-new-privileges:true"]
    mounts = [mount.split(":") for mount in found["volumes"]]
    writable = [(source, target) for source, target, *mode in mounts if mode != ["ro"]]
    assert writable == [(service, STATE)]
    assert service in compose()["volumes"]
    assert "ports" not in found, "a port is published by whoever puts a proxy before it"


@pytest.mark.parametrize("service", sorted(compose()["services"]))
def test_each_path_that_a_service_is_told_is_mounted_or_its_state(service: str) -> None:
    found = compose()["services"][service]
    image = Image.of(role_of(service))
    command = [*image.entry_point(), *found["command"]] if "command" in found else image.command()
    require_a_real_command(command)
    told = [word for word in (*command, *map(str, found.get("environment", {}).values())) if word.startswith("/")]
    targets = [mount.split(":")[1] for mount in found["volumes"]]
    for path in told:
        assert any(path == target or path.startswith(f"{target}/") for target in targets), path
        assert path.startswith((STATE, SETTINGS, SECRETS))


def test_no_two_services_share_a_key_or_a_state() -> None:
    mounts = [mount.split(":")[0] for found in compose()["services"].values() for mount in found["volumes"]]
    twice = {mount for mount in mounts if mounts.count(mount) > 1}
    assert twice == {"./market/market.json"}


def test_the_settings_of_a_node_are_those_that_it_knows() -> None:
    from sealmarket_oracle.config import _KNOWN, ENVIRONMENT_PREFIX

    for service, found in compose()["services"].items():
        if role_of(service) == "oracle":
            names = {name.removeprefix(ENVIRONMENT_PREFIX).lower() for name in found["environment"]}
            assert names <= _KNOWN
            assert found["environment"][f"{ENVIRONMENT_PREFIX}PROFILE"] == "production"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_a_real_command_without_rights_and_its_secrets_are_credentials(unit: Path) -> None:
    text = unit.read_text()
    settings = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    require_a_real_command(settings["ExecStart"].split())
    for name in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictNamespaces"):
        assert settings[name] == "yes", name
    assert (settings["ProtectSystem"], settings["CapabilityBoundingSet"], settings["UMask"]) == ("strict", "", "0077")
    loaded = set(re.findall(r"^LoadCredential=([\w.]+):", text, re.MULTILINE))
    used = set(re.findall(r"(?:%d|\$\{CREDENTIALS_DIRECTORY\}|/run/credentials/[\w.-]+)/([\w.]+)", text))
    assert loaded == used
    assert loaded


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_knows_every_setting_of_a_unit(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if unit.name in line and "is not executable" not in line]
    assert said == []


def test_there_is_a_unit_and_an_image_for_each_server() -> None:
    assert [unit.stem for unit in UNITS] == [f"sealmarket-{role}" for role in ROLES]
    assert sorted(path.stem for path in DEPLOY.glob("*.Containerfile")) == sorted(ROLES)
