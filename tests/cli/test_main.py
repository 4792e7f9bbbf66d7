"""The command line names every group, loads only the one that is called, and explains errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sealmarket.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_an_unknown_group_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "no-such-group")[0] == 2


def test_a_refusal_is_one_line_with_its_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text("{}")

    code, out, err = run(capsys, "policy", "check", str(rules))

    assert (code, out) == (1, "")
    assert err.startswith("error: not an appraisal policy")
    assert "what to do" in err


def test_a_file_that_the_system_refuses_is_named_with_a_next_step(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    absent = tmp_path / "rules.json"
    for path, said in ((absent, "check the name"), (tmp_path, "this is a folder")):
        code, out, err = run(capsys, "policy", "check", str(path))
        assert (code, out, "Traceback" in err) == (1, "", False)
        assert str(path) in err
        assert said in err


def test_every_group_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")

    assert code == 0
    for group in ("evidence", "collateral", "policy", "oracle", "backend", "worker"):
        assert group in out


def test_naming_the_groups_loads_none_of_them() -> None:
    program = (
        "import sys\n"
        "from sealmarket.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'web3', 'dcap_qvl', 'fastapi', 'sealmarket.attestation.policy.verify'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
