"""What a node shows its operator, and where; and what a full disk does to it."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from msgspec.structs import replace
from typer.testing import CliRunner

from scripts.toolchain import ROOT
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.chain.alarms import Alarm
from sealmarket.http import HttpError
from sealmarket.protocol.advisories import Advisory, SignedAdvisory, Target
from sealmarket.protocol.book import Member
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, HexBytes, decode
from sealmarket_enclave.protocol.numbers import Timestamp
from sealmarket_enclave.protocol.release import Release
from sealmarket_oracle.admin import _bound, read_report, serving_admin
from sealmarket_oracle.cli import app
from sealmarket_oracle.errors import InvalidConfig, JournalUnwritable, NotRunning
from sealmarket_oracle.log.entries import HeldTail, TailStep
from sealmarket_oracle.node_folder import NodeRecord, TriedBackup
from sealmarket_oracle.peers import Peers
from sealmarket_oracle.recalls import Published
from sealmarket_oracle.report import NodeReport, Reporter, metrics
from sealmarket_oracle.report_text import lines
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node
from tests.oracle.vendor import keeper
from tests.oracle.world import NOW, World
from tests.patience import PATIENCE, until

ALERT_KEYS = ("alert", "expr", "for", "labels", "annotations")


def _reporter(world: World, node: Node, runner: Runner | None = None) -> Reporter:
    journal, keys = world.journal(), world.keys[0]

    def tell(member: Member, _step: TailStep) -> HeldTail:
        if member == world.committee.members[2]:
            raise HttpError("the peer is away", remedy="wait")
        return HeldTail(held=None)

    peers = Peers(world.book, world.committee, journal, keys.signer, tell)
    peers.tell_all()
    member = Member(signer=keys.signer.address, hpke_public_key=HexBytes(keys.hpke.public.raw), url="http://node-0")
    backup = TriedBackup(place="/media/stick", tried_at=1_700_000_000, files={"hpke.json": ZERO_HASH})
    record = NodeRecord(epoch=1, member=member, journal=world.identity().name, backups=(backup,))
    return Reporter(node, runner or Runner(node, 0.1), journal, peers, record, world.folder, "keystore")


def _waiting(world: World) -> Node:
    """A node with one job that it has decided, and one that waits for evidence."""
    asset = world.publish()
    world.match(asset)
    world.quote()
    collateral = IntelCollateral.from_json(world.device.endorsements())
    later = NOW + 2 * 86_400
    kept = keeper(world.folder / "own", world.roots, None, collateral, clock=lambda: later)
    node = world.node(collateral=kept)
    world.accept(world.decided(node))
    world.match(asset)
    world.chain.finalise()
    node.tick()
    return node


# --- a full disk ----------------------------------------------------------------------------------------------------


def test_a_node_on_a_full_disk_promises_nothing_says_so_and_goes_on_when_there_is_room(world: World) -> None:
    world.match(world.publish())
    world.quote()
    node = world.node()
    world.accept(world.decided(node))
    runner, journal = Runner(node, 0.1), node._journal
    before = journal.head()
    journal._run("PRAGMA max_page_count = 1")  # no page more than there are
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Release, "raw", property(lambda _self: HexBytes(bytes(1 << 20))))
        assert runner._tick() is False
    assert "takes no writes" in runner._health.problem
    assert node.status(world.job_id).release is None
    assert (journal.head(), journal.promised(world.job_id)) == (before, None)
    journal._run("PRAGMA max_page_count = 1000000")
    assert runner._tick() is True
    assert node.status(world.job_id).state == "released"


# --- the operator's surface -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["0.0.0.0:0", "192.0.2.1:8452", "[::]:8452"])
def test_the_operators_surface_is_never_on_a_port_beyond_this_machine(place: str, world: World) -> None:
    with pytest.raises(InvalidConfig, match="admin"), serving_admin(_reporter(world, world.node()), place):
        pytest.fail("it was served")


def test_without_a_node_its_folder_shows_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="is no state folder"):
        read_report(tmp_path)
    with pytest.raises(NotRunning, match="there is no"):
        read_report(tmp_path / "absent")
    (tmp_path / "node.json").write_bytes(b"{}")
    with pytest.raises(NotRunning, match="no node runs on") as stopped:
        read_report(tmp_path)
    assert "sealmarket oracle run" in stopped.value.remedy
    done = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert done.exit_code == 1


def test_a_node_that_was_killed_is_not_shown_as_one_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left, chdir(tmp_path):
        left.bind("admin.sock")
    with pytest.raises(NotRunning, match="its last process was killed") as killed:
        read_report(tmp_path)
    assert "sealmarket oracle run" in killed.value.remedy


def test_a_report_names_open_jobs_with_their_reasons_peers_journal_disk_and_backups(world: World) -> None:
    (world.folder / "journal.sqlite").write_bytes(b"a page")
    report = _reporter(world, _waiting(world)).report()
    waiting = [job for job in report.jobs if job.job_id == world.job_id]
    assert [(job.quoted, job.reason) for job in waiting] == [(False, "no evidence hash is on chain at a final block")]
    assert [(peer.holds >= 0, peer.problem) for peer in report.peers] == [(True, ""), (False, "the peer is away")]
    assert (report.log.decisions, report.log.releases, report.log.stops) == (1, 1, 0)
    assert 0 < report.log.anchored < report.log.head.size
    assert report.disk.free > 0
    assert report.disk.journal == len(b"a page")
    text = "\n".join(lines(report))
    for said in (str(world.job_id), "no evidence hash", "the peer is away", "/media/stick", "1 decisions, 1 releases"):
        assert said in text
    assert "evaluation 20" in text
    assert decode(NodeReport, report.canonical()) == report


def test_a_report_names_the_end_of_the_nodes_epoch_once_it_is_announced(world: World) -> None:
    node = _waiting(world)
    assert _reporter(world, node).report().epoch_ends_at == 0
    world.chain.end_epoch(1, NOW + 86_400)
    world.chain.finalise()
    fresh = world.node()
    fresh.tick()
    report = _reporter(world, fresh).report()
    assert report.epoch_ends_at == NOW + 86_400
    assert any(line.startswith("epoch    1 ends ") for line in lines(report))


def test_what_a_peer_answers_neither_moves_the_operators_cursor_nor_looks_like_a_line_of_ours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = _reporter(world, world.node()).report()
    hostile = replace(report.peers[0], problem="\x1b[2Jaway\nhealth   ok")
    monkeypatch.setattr("sealmarket_oracle.admin.read_report", lambda _folder: replace(report, peers=(hostile,)))
    said = CliRunner().invoke(app, ["status", str(world.folder)]).stdout
    assert "away" in said
    assert "\x1b" not in said
    assert "health   ok" not in said.splitlines()[1:]


def test_a_report_says_minutes_below_two_hours_and_the_moment_from_which_an_advisory_counts(world: World) -> None:
    report = _reporter(world, _waiting(world)).report()
    tried = TriedBackup(place="/media/stick", tried_at=report.at - 300, files={})
    advisory = Advisory(title="t", applies_from=0, targets=(Target(tee="tdx"),))
    signed = SignedAdvisory(advisory=advisory, signature=HexBytes(bytes(65)))
    since = Timestamp(report.at + 7200)
    published = Published(signed=signed, issuer=Address(b"\x01" * 20), anchored_at=Timestamp(since - 1), since=since)
    unanchored = replace(published, anchored_at=Timestamp(0), since=Timestamp(0))
    held = replace(report, backups=(tried,), advisories=(published, unanchored), holds=("0xaa: seen on a list",))
    text = "\n".join(lines(held))
    assert "counts for no job: not anchored" in text
    assert "HOLD     0xaa: seen on a list" in text
    assert "the last tried 5 minutes ago" in text
    assert re.search(r"counts for jobs matched from 20\d\d-\d\d-\d\dT\S+Z \(in 2 hours\) on", text)


def test_metrics_are_in_prometheus_text_format_and_each_sample_has_a_type(world: World) -> None:
    text = metrics(_reporter(world, _waiting(world)).report())
    typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    assert {name.split("{")[0] for name, _ in samples} <= typed
    families = [line.split()[2] if line.startswith("#") else re.split("[{ ]", line)[0] for line in text.splitlines()]
    assert [name for name, _ in itertools.groupby(families)] == list(dict.fromkeys(families)), "in one group each"
    assert re.fullmatch(r"(# HELP \w+ [^\n]+\n# TYPE \w+ (gauge|counter)\n(\w+(\{[^}\n]+\})? \d+\n)*)+", text)
    assert all((name.endswith("_total")) == (f"# TYPE {name} counter" in text) for name in typed)
    assert all(int(value) >= 0 for _, value in samples)
    values = dict(samples)
    assert values["sealmarket_oracle_promises_total" + '{kind="release"}'] == "1"
    assert values["sealmarket_oracle_open_jobs"] == "2"
    assert text.endswith("\n")


def test_alarms_about_endpoints_are_counted_by_place_and_name_no_endpoint_in_metrics(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an endpoint answers is a stranger's text: it is shown as one line, and is no label."""
    alarms = (
        Alarm("http://b", "newest block", "an answer", "\x1b[2J", 0),
        Alarm("http://b", "block 7", "0x01", "0x02", 0),
        Alarm("this machine", "clock", "about 2", "1", 0),
    )
    monkeypatch.setattr(type(world.chain), "alarms", property(lambda _self: alarms))
    monkeypatch.setattr(type(world.chain), "endpoints", property(lambda _self: ("http://a", "http://b")))
    report = _reporter(world, world.node()).report()
    text = metrics(report)
    for place, count in enumerate((1, 0, 2)):
        assert f'sealmarket_oracle_endpoint_alarms{{place="{place}"}} {count}' in text
    assert "http" not in text
    monkeypatch.setattr("sealmarket_oracle.admin.read_report", lambda _folder: report)
    said = CliRunner().invoke(app, ["status", str(world.folder)]).stdout
    assert "ALARM    http://b: block 7: expected 0x01, found 0x02" in said
    assert "\x1b" not in said


def test_each_alert_asks_for_metrics_that_there_are_and_stands_in_the_runbook(world: World) -> None:
    text = metrics(_reporter(world, world.node()).report())
    served = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "oracle-alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for rule in rules:
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys() <= {*ALERT_KEYS}, rule["alert"]
        assert re.fullmatch(r"(\d+[smhd])?", rule.get("for", ""))
        assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
        assert rule["expr"].count("(") == rule["expr"].count(")")
        asked = set(re.findall(r"sealmarket_oracle_\w+", rule["expr"]))
        assert asked
        assert asked <= served, rule["alert"]
        assert f"| {rule['alert']} |" in runbook
    assert len(re.findall(r"^\| Oracle\w+ \|", runbook, re.MULTILINE)) == len(rules)


def test_a_report_comes_though_the_journal_is_away_and_has_what_was_read_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise JournalUnwritable("the journal's database takes no writes: it is away", "start it")

    node = _waiting(world)
    known, new = _reporter(world, node), _reporter(world, node)
    before = known.report()
    assert before.jobs
    for journal in (node._journal, known._journal, new._journal):
        monkeypatch.setattr(journal, "_rows", away)
    assert (known.report().jobs, known.report().log) == (before.jobs, before.log)
    assert (new.report().jobs, new.report().log.head) == ((), before.log.head)


@contextmanager
def _served(world: World, folder: Path) -> Iterator[Path]:
    reporter = _reporter(world, _waiting(world))
    with serving_admin(reporter, str(folder / "admin.sock")):
        until("the socket's answer", (folder / "admin.sock").exists)
        yield folder


@pytest.mark.loopback
def test_the_socket_is_its_users_alone_takes_over_from_a_killed_process_and_is_removed_at_the_end(
    world: World, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with chdir(deep), socket.socket(socket.AF_UNIX) as killed:
        killed.bind("admin.sock")
    with _served(world, deep):
        status = (deep / "admin.sock").stat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert read_report(deep).signer == world.keys[0].signer.address
        done = CliRunner().invoke(app, ["status", str(deep), "--json"])
        assert json.loads(done.stdout)["log"]["decisions"] == 1
        assert done.exit_code == 1  # it has not ticked by its runner, so it is not well yet
        shown = CliRunner().invoke(app, ["collateral", str(deep), "--json"])
        assert json.loads(shown.stdout)["kinds"][0]["evaluation"] == 20
        assert shown.exit_code == 0
    assert not (deep / "admin.sock").exists()


@pytest.mark.loopback
def test_a_port_of_this_machine_serves_metrics_and_the_public_surface_has_neither(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    own = world.folder / "admin.sock"
    with serving_admin(_reporter(world, _waiting(world)), str(own), f"127.0.0.1:{port}"):
        until("the socket's answer", own.exists)
        assert read_report(world.folder).log.decisions == 1, "the commands of the runbook name the folder"
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE, trust_env=False)
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "sealmarket_oracle_deciding 0" in answer.text
    from sealmarket_oracle.api import create_app

    node = world.node()
    paths = {getattr(route, "path", "") for route in create_app(node, Runner(node, 0.1)).routes}
    assert not paths & {"/metrics", "/v1/report"}


@pytest.mark.parametrize("kind", ["a key", "a link", "a folder", "a socket where a program answers"])
def test_no_file_but_the_socket_of_a_killed_process_is_removed_for_admin(kind: str, tmp_path: Path) -> None:
    place, key = tmp_path / "place", tmp_path / "signer.json"
    key.write_bytes(b"a key")
    with socket.socket(socket.AF_UNIX) as other:
        if kind == "a key":
            place = key
        elif kind == "a link":
            place.symlink_to(key)
        elif kind == "a folder":
            place.mkdir()
        else:
            other.bind(str(place))
            other.listen()
        with pytest.raises(InvalidConfig, match=r"no socket|a program answers"), _bound(str(place)):
            pass
        assert key.read_bytes() == b"a key"
        assert os.path.lexists(place)


def test_the_socket_that_a_killed_process_left_gives_its_place(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "place"))
    with _bound(str(tmp_path / "place")):
        assert (tmp_path / "place").is_socket()
    assert not (tmp_path / "place").exists()
