"""A host keeps environments for later jobs, removes the least recently used one, and none that is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.workloads.wheels import build
from sealmarket_enclave.workload.environment import Environment
from sealmarket_worker.environments import Environments, name_of
from sealmarket_worker.errors import InputMissing
from sealmarket_worker.journal import JobState
from tests.enclave.scene import Scene
from tests.enclave.workload.bundles import lock_line, wheel
from tests.worker.twins import HostTwin

MOST = 2


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostTwin]:
    (tmp_path / "scene").mkdir()
    twin = HostTwin(Scene(tmp_path / "scene"), tmp_path / "host")
    yield twin
    twin.close()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("wheels")
    for number in range(4):
        wheel(folder, f"dep{number}", {f"dep{number}/__init__.py": b"NUMBER = %d\n" % number})
    return folder


@pytest.fixture(scope="module")
def four(wheels: Path) -> list[Environment]:
    return [build(lock_line(made).encode(), [made]) for made in sorted(wheels.iterdir())]


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def names(*environments: Environment) -> set[str]:
    return {name_of(one) for one in environments}


def test_an_environment_that_is_held_is_not_removed_however_many_come_after_it(
    tmp_path: Path, wheels: Path, four: list[Environment]
) -> None:
    environments = Environments(tmp_path, wheels, MOST)
    held = environments.hold(four[0])
    for one in four[1:]:
        environments.release([environments.hold(one)])
        assert (held / "dep0/__init__.py").read_bytes() == b"NUMBER = 0\n"
    assert kept(tmp_path) == names(four[0], four[3])


def test_one_that_two_jobs_hold_is_held_until_both_gave_it_up(
    tmp_path: Path, wheels: Path, four: list[Environment]
) -> None:
    environments = Environments(tmp_path, wheels, 1)
    first, second = environments.hold(four[0]), environments.hold(four[0])
    environments.release([first])
    environments.release([environments.hold(four[1])])
    assert second.is_dir()
    environments.release([second])
    environments.release([environments.hold(four[2])])
    assert kept(tmp_path) == names(four[2])


def test_one_that_the_host_promised_is_not_removed(tmp_path: Path, wheels: Path, four: list[Environment]) -> None:
    environments = Environments(tmp_path, wheels, 1, [name_of(four[0])])
    for one in four:
        environments.release([environments.hold(one)])
    assert name_of(four[0]) in kept(tmp_path)
    assert name_of(four[1]) not in kept(tmp_path)


def test_one_that_was_removed_is_installed_again_and_one_without_wheels_is_not(
    tmp_path: Path, wheels: Path, four: list[Environment]
) -> None:
    environments = Environments(tmp_path / "kept", wheels, 1)
    for one in (four[0], four[1], four[0]):
        held = environments.hold(one)
        environments.release([held])
    assert (held / "dep0/__init__.py").is_file()
    nowhere = Environments(tmp_path / "none", tmp_path, 1)
    with pytest.raises(InputMissing):
        nowhere.hold(four[0])
    assert kept(tmp_path / "none") == set()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 4))
def test_what_is_kept_are_the_ones_that_were_used_last(
    tmp_path_factory: pytest.TempPathFactory, wheels: Path, four: list[Environment], uses: list[int], most: int
) -> None:
    folder = tmp_path_factory.mktemp("kept")
    environments = Environments(folder, wheels, most)
    for number in uses:
        environments.release([environments.hold(four[number])])
    last = list(dict.fromkeys(reversed(uses)))[:most]
    assert kept(folder) == names(*(four[number] for number in last))


def test_a_job_holds_what_its_enclave_copies_and_nothing_afterwards(host: HostTwin) -> None:
    folder, other = host.folder / "environments", build(b"", [])
    environments = host.context.materials.environments = Environments(folder, host.scene.wheels, 1)

    def crowd(_twin: object) -> None:
        environments.release([environments.hold(other)])

    host.driver.on_launch = crowd
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    crowd(None)
    assert kept(folder) == names(other)
