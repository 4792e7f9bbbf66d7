"""Each parser under coverage-guided fuzzing: only typed refusals, no hang, bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from scripts.isolated import install
from scripts.toolchain import BUILD, ROOT

_FIRST_WITHOUT_WHEELS = (3, 14)
TARGETS = (
    "evidence",
    "quote",
    "report",
    "eventlog",
    "collateral",
    "endorsement",
    "chain",
    "leaf",
    "tcbinfo",
    "qeidentity",
    "cbor",
    "nitro",
    "hcl",
    "tpmquote",
    "cca",
    "ccadocument",
    "realmkey",
    "dstack",
    "device",
    "manifest",
    "devicefile",
    "answer",
    "rules",
)
SECONDS = int(os.environ.get("SEALMARKET_FUZZ_SECONDS", "30"))


@pytest.fixture(scope="session")
def atheris() -> Path:
    """The folder of packages that holds the fuzzer, installed by its own lock's hashes."""
    if sys.version_info >= _FIRST_WITHOUT_WHEELS:
        pytest.skip("atheris has no wheel for this interpreter: take Python 3.11 to 3.13")
    folder = install(ROOT / "requirements" / "fuzz.txt", BUILD / "fuzz").parent
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_a_parser_withstands_the_fuzzer(target: str, atheris: Path, tmp_path: Path) -> None:
    limits = (
        f"-max_total_time={SECONDS}",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-max_len=20000",
        f"-artifact_prefix={tmp_path}/finding-",
    )
    command = [sys.executable, "-W", "ignore", "-m", "tests.attestation.fuzz_targets", target, str(tmp_path), *limits]

    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(atheris)},
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]


def test_every_target_has_seeds_that_it_takes_or_refuses_in_a_typed_way() -> None:
    from tests.attestation.fuzz_targets import seeds, targets

    table = targets()
    assert set(table) == set(seeds()) == set(TARGETS)
    for name, inputs in seeds().items():
        target, allowed = table[name]
        for raw in inputs:
            try:
                target(raw)
            except allowed:
                assert name in ("rules", "report")
