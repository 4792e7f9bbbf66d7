"""Statements about platforms as documents: which machines one means, and the commands that sign and ask."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sealmarket.advisory_file import AdvisoryRefused, read_advisory
from sealmarket.attestation.amd.report import SnpTcbVersion
from sealmarket.http import HttpError
from sealmarket.protocol.advisories import (
    PARTS,
    Advisory,
    Floor,
    PlatformSeen,
    SignedAdvisory,
    Target,
    touched,
)
from sealmarket_enclave.protocol.codec import Bytes32, decode, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.signing import address_of
from sealmarket_oracle import node_folder
from sealmarket_oracle.admin import ask_recall, serving_admin
from sealmarket_oracle.advisory_files import sign_advisory
from sealmarket_oracle.api import create_app
from sealmarket_oracle.cli import app
from sealmarket_oracle.errors import (
    KeyFileRefused,
)
from sealmarket_oracle.keys import advisory_key
from sealmarket_oracle.recalls import PublishedAdvisories, Recall
from sealmarket_oracle.report import Reporter
from sealmarket_oracle.runner import Runner
from tests.oracle.operators import ISSUER, STRANGER, WHOLE, Operator
from tests.oracle.test_api import Client
from tests.oracle.world import NOW, World
from tests.patience import until

# --- which machines -----------------------------------------------------------------------------------------------

MILAN = PlatformSeen(tee="snp", generation="Milan", platform=Bytes32(b"\x01" * 32), levels={"snp": 8, "microcode": 200})


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        (Target(tee="snp"), True),
        (Target(tee="tdx"), False),
        (Target(tee="snp", generation="Milan"), True),
        (Target(tee="snp", generation="Genoa"), False),
        (Target(tee="snp", platform=MILAN.platform), True),
        (Target(tee="snp", platform=Bytes32(b"\x02" * 32)), False),
        (Target(tee="snp", floor=Floor(levels={"snp": 8})), False),
        (Target(tee="snp", floor=Floor(levels={"snp": 9})), True),
        (Target(tee="snp", floor=Floor(levels={"snp": 8, "unknown": 0})), True),
        (Target(tee="snp", floor=Floor(level_date="2026-01-01")), True),
        (Target(tee="snp", floor=Floor()), False),
    ],
)
def test_a_target_means_the_machines_of_all_that_it_names(target: Target, meant: bool) -> None:
    stated = Advisory(title="t", applies_from=0, targets=(Target(tee="sgx"), target))
    assert (touched(MILAN, stated) is target) == meant


@given(st.dictionaries(st.sampled_from(["snp", "microcode", "tee"]), st.integers(0, 255)))
def test_a_machine_below_a_floor_is_below_every_higher_one(levels: dict[str, int]) -> None:
    higher = {part: min(255, level + 1) for part, level in levels.items()}
    low, high = (
        Advisory(title="t", applies_from=0, targets=(Target(tee="snp", floor=Floor(levels=one)),))
        for one in (levels, higher)
    )
    assert touched(MILAN, low) is None or touched(MILAN, high) is not None


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"version":"sealmarket/advisory/1","title":"t","appliesFrom":0,"targets":[]}']
)
def test_a_statement_about_nothing_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedDocument):
        decode(Advisory, raw)


# --- commands and interfaces ----------------------------------------------------------------------------------------


def test_a_statement_is_signed_by_command_and_a_key_that_others_can_read_signs_nothing(tmp_path: Path) -> None:
    stated, key, out = tmp_path / "advisory.json", tmp_path / "issuer.key", tmp_path / "signed.json"
    stated.write_bytes(Advisory(title="t", applies_from=NOW, targets=WHOLE).canonical())
    key.write_text(ISSUER.secret.hex())
    key.chmod(0o644)
    command = ["advise", str(stated), "--key", str(key), "--out", str(out)]
    assert CliRunner().invoke(app, command).exit_code != 0
    assert not out.exists()
    key.chmod(0o600)
    assert CliRunner().invoke(app, command).exit_code == 0
    assert decode(SignedAdvisory, out.read_bytes()).issuer() == address_of(ISSUER.public_key)
    assert CliRunner().invoke(app, command).exit_code != 0, "no file is overwritten"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target(tee="TDX"), "tee is 'TDX', expected one of"),
        (Target(tee="snp", generation="milan"), "generation is 'milan', expected one of Milan, Genoa"),
        (Target(tee="tdx", generation="Emerald"), "expected none: this TEE's evidence shows none"),
        (Target(tee="tdx", floor=Floor()), "names nothing"),
        (Target(tee="tdx", floor=Floor(levels={"microcode": 8})), "whose evidence shows none"),
        (Target(tee="snp", floor=Floor(levels={"bootlader": 8})), "expected parts out of fmc, bootloader"),
        (Target(tee="snp", floor=Floor(level_date="2026-01-01")), "whose evidence shows none"),
    ],
)
def test_a_statement_that_means_no_machine_or_every_one_by_a_slip_is_not_signed(
    target: Target, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "advisory.json"
    path.write_bytes(Advisory(title="t", applies_from=NOW, targets=(*WHOLE, target)).canonical())
    with pytest.raises(AdvisoryRefused, match=f"advisory.json.*target 1: .*{said}") as refused:
        sign_advisory(path, ISSUER)
    assert refused.value.remedy


def test_the_parts_that_a_floor_may_name_are_those_that_evidence_shows() -> None:
    assert SnpTcbVersion.parts() == PARTS


@pytest.mark.parametrize("signature", ["", "0xzz", None])
def test_a_signed_statement_that_does_not_read_says_what_is_wrong_with_it(
    signature: str | None, tmp_path: Path
) -> None:
    path, advisory = tmp_path / "signed.json", Advisory(title="t", applies_from=NOW, targets=WHOLE)
    path.write_text(json.dumps({"advisory": to_builtins(advisory), "signature": signature}))
    with pytest.raises(AdvisoryRefused, match=r"signed.json.*(hex|signature)") as refused:
        read_advisory(path)
    assert "unknown field" not in refused.value.message


def test_an_issuer_without_a_key_is_not_told_to_make_a_nodes(tmp_path: Path) -> None:
    with pytest.raises(KeyFileRefused, match="does not exist") as refused:
        advisory_key(tmp_path / "issuer.key", lambda: "")
    assert "the issuer's account" in refused.value.remedy


def test_an_issuer_signs_with_an_account_under_a_passphrase_and_with_no_other_passphrase(tmp_path: Path) -> None:
    made = node_folder.make(tmp_path / "node", "http://node", 1, "nobody types this passphrase", light=True)
    keystore = tmp_path / "node" / "signer.json"
    for wrong in ("another passphrase of it", ""):
        with pytest.raises(KeyFileRefused, match="under another passphrase"):
            advisory_key(keystore, lambda given=wrong: given)  # type: ignore[misc]
    found = advisory_key(keystore, lambda: "nobody types this passphrase")
    assert address_of(found.public_key) == made.member.signer


@pytest.mark.loopback
def test_a_recall_by_command_asks_the_running_node(world: World, operator: Operator, tmp_path: Path) -> None:
    asset = world.publish()
    world.match(asset)
    world.quote()
    world.decided(operator.node)
    signed = operator.drop(key=STRANGER)
    reporter = cast("Reporter", SimpleNamespace(recall=operator.recall))
    with serving_admin(reporter, str(tmp_path / "admin.sock")):
        until("the socket's answer", (tmp_path / "admin.sock").exists)
        command = ["recall", str(operator.folder / "one.json"), str(tmp_path)]
        text = CliRunner().invoke(app, command)
        found = decode(Recall, CliRunner().invoke(app, [*command, "--json"]).stdout.encode())
        with pytest.raises(HttpError, match="422"):
            ask_recall(tmp_path, cast("Advisory", SimpleNamespace(canonical=lambda: b"{}")))
    assert found == operator.recall(signed.advisory)
    for said in (str(world.job_id), str(asset.asset_id), "accepted", "no share released", "1 of 1 jobs"):
        assert said in text.stdout


def test_everyone_sees_which_statements_a_node_applies_and_from_when_on(world: World, operator: Operator) -> None:
    client = Client(create_app(operator.node, Runner(operator.node, 1.0)))
    assert client.get("/v1/advisories").json()["advisories"] == []
    signed, anchored_at = operator.anchored(), world.chain.head().timestamp
    world.chain.finalise()
    operator.look()
    (shown,) = decode(PublishedAdvisories, client.get("/v1/advisories").content).advisories
    assert (shown.signed, shown.issuer) == (signed, address_of(ISSUER.public_key))
    assert (shown.anchored_at, shown.since) == (anchored_at, anchored_at + 1)
