"""The steps that an owner names, as clients meet them: what goes into the store, and what a consumer is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

import sealmarket
from sealmarket.client.content import steps_to_store
from sealmarket.store.memory import MemoryStore
from sealmarket.workloads.errors import StepTooLarge, StepUnknown
from sealmarket.workloads.folders import read_files
from sealmarket.workloads.steps import shipped_as
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.policy import PolicyDocument, Validator
from sealmarket_enclave.workload.bundle import ENVIRONMENT, BundleFile, bundle_of
from tests.client.bundles import Case
from tests.enclave.scene import write_step

JSON = Path(sealmarket.__file__).parent / "validators" / "json"


def naming(*digests: Bytes32) -> PolicyDocument:
    """A policy that names validators."""
    checks = tuple(Validator(media_type="application/json", digest=digest, rules={}) for digest in digests)
    policy = Case().policy
    return replace(policy, output=replace(policy.output, validators=checks))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))


def test_a_validator_that_is_not_here_stops_publishing_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealmarket.workloads.steps.names", lambda _kind="readers": ())
    with pytest.raises(StepUnknown, match="0x0707"):
        list(steps_to_store(naming(Bytes32(b"\x07" * 32)), MemoryStore()))


def test_a_validator_that_no_enclave_would_take_is_not_published(tmp_path: Path) -> None:
    step = write_step(tmp_path / "big", "big", f"A = '{'x' * (1 << 20)}'\n\ndef run(i, p):\n    return {{}}\n")
    with pytest.raises(StepTooLarge, match="at most 1048576"):
        list(steps_to_store(naming(step.digest), MemoryStore(), [tmp_path / "big" / "bundle"]))


def test_of_the_validators_of_a_policy_those_that_the_store_lacks_go_into_it_once(tmp_path: Path) -> None:
    first, second = (write_step(tmp_path / name, name) for name in ("first", "second"))
    folders = [tmp_path / name / "bundle" for name in ("first", "second")]
    store = MemoryStore()
    store.blobs.add(("workloads", first.digest))
    policy = naming(first.digest, second.digest, second.digest)
    assert [bundle.digest for bundle in steps_to_store(policy, store, folders)] == [second.digest]


def test_a_shipped_step_is_known_by_its_code_whatever_interpreter_it_is_locked_for() -> None:
    files = read_files(JSON)
    files[ENVIRONMENT] = BundleFile(executable=False, data=build(b"", []).canonical())
    assert shipped_as(bundle_of(files)) == "json"
    changed = BundleFile(executable=False, data=files["code/json_output.py"].data + b"\n")
    assert shipped_as(bundle_of(files | {"code/json_output.py": changed})) is None
