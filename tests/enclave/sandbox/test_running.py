"""What a workload may do: compute on its inputs, in threads, repeatably."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealmarket_enclave.sandbox import STRICT, SandboxUnavailable, probe
from tests.enclave.sandbox.cage import Cage


@pytest.fixture
def cage(tmp_path: Path) -> Cage:
    try:
        probe()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    return Cage(tmp_path)


def test_inputs_and_parameters_arrive_whole_and_outputs_come_back(cage: Cage) -> None:
    rows = bytes(range(256)) * 8192
    body = """
    import hashlib
    return say([hashlib.sha256(inputs["rows-1"]).hexdigest(), len(inputs["rows-2"]), parameters])
    """
    import hashlib

    made = cage.said(body, inputs={"rows-1": rows, "rows-2": b""}, parameters={"rate": 0.5, "on": True, "n": "é"})
    assert made == [hashlib.sha256(rows).hexdigest(), 0, {"rate": 0.5, "on": True, "n": "é"}]


def test_threads_work(cage: Cage) -> None:
    body = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        return say(sorted(pool.map(lambda n: n * n, range(9))))
    """
    assert cage.said(body) == [n * n for n in range(9)]


def test_a_module_of_the_bundle_and_of_the_environment_is_importable(cage: Cage) -> None:
    (cage.bundle / "code/mine.py").write_text("A = 1\n")
    (cage.environment / "dep").mkdir()
    (cage.environment / "dep/__init__.py").write_text("B = 2\n")
    assert cage.said("import dep, mine\nreturn say([mine.A, dep.B])") == [1, 2]
    assert not list(cage.environment.rglob("*.pyc"))
    assert not list(cage.bundle.rglob("*.pyc"))


def test_two_runs_with_one_seed_see_one_order_of_sets(cage: Cage) -> None:
    body = "return say([list({str(n) for n in range(50)}), os.environ['SEALMARKET_SEED']])"
    assert cage.said(body) == cage.said(body)
    assert cage.said(body, seed=8) != cage.said(body)


def test_the_standard_library_works(cage: Cage) -> None:
    body = """
    import csv, decimal, hashlib, io, json, lzma, math, random, re, ssl, sqlite3, statistics, zlib, zoneinfo
    return say([math.sqrt(4), hashlib.sha256(b"").hexdigest()[:4], len(os.urandom(3)), zlib.crc32(b"1")])
    """
    assert cage.said(body)[:3] == [2.0, "e3b0", 3]


def test_what_was_used_and_what_was_in_force_is_reported(cage: Cage) -> None:
    outputs = cage.run("n = 0\nwhile n < 3_000_000: n += 1\nreturn say(n)")
    assert 0 < outputs.cpu_seconds < 20
    assert STRICT.required <= set(outputs.layers)
    assert "3000000" not in repr(outputs)
