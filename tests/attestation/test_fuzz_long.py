"""Each parser under coverage-guided fuzzing: only typed refusals, no hang, bounded memory."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = (
    "evidence",
    "quote",
    "report",
    "eventlog",
    "collateral",
    "endorsement",
    "chain",
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


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_a_parser_withstands_the_fuzzer(target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: `pip install atheris`")
    limits = (
        f"-max_total_time={SECONDS}",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-max_len=20000",
        f"-artifact_prefix={tmp_path}/finding-",
    )
    command = [sys.executable, "-W", "ignore", "-m", "tests.attestation.fuzz_targets", target, str(tmp_path), *limits]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 120, check=False)

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
