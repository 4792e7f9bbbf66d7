"""Oracle nodes that are down, come back, or lie: fewer than t of n may be faulty, and nothing is lost or learned."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from sealmarket.chain import Fault
from sealmarket.client.nodes import node_status
from sealmarket.operate.releases import ReleasePoster, ask_node
from sealmarket.protocol.book import Member
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import NodeStatus
from sealmarket.sealing.evidence import SealedEvidence
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei, decode
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_localnet.market import _environment
from sealmarket_localnet.processes import answers
from sealmarket_oracle.auditing import AskNode, audit_node
from sealmarket_oracle.node_folder import SOCKET_FILE
from sealmarket_oracle.runner import Health
from sealmarket_worker.journal import JobState
from tests.acceptance.host import Host
from tests.acceptance.market import COMPUTE_PRICE, WINDOWS, Rehearsal, changes, node_names
from tests.patience import PATIENCE, until


def test_with_one_node_down_a_job_completes(rehearsal: Rehearsal) -> None:
    rehearsal.kill("oracle-1")
    job_id = rehearsal.job()
    record = rehearsal.reach_status(job_id, Status.SETTLED)
    assert record.decided is not None
    assert set(record.decided.signers) == {0, 2}
    assert rehearsal.consumer.open_result(job_id, rehearsal.result_key)


def test_with_two_nodes_down_a_job_waits_says_why_and_completes_when_one_returns(rehearsal: Rehearsal) -> None:
    rehearsal.kill("oracle-0")
    rehearsal.kill("oracle-2")
    job_id = rehearsal.job()
    rehearsal.reach_status(job_id, Status.QUOTED)
    alive = rehearsal.market.book.committees[0].members[1].url
    until("the third node's decision", lambda: node_status(alive, job_id).state == "decided")
    # The backend follows the chain at its own pace.
    until("the backend's word", lambda: rehearsal.api.jobs.view(job_id).status == "quoted")
    assert "oracle nodes" in rehearsal.api.jobs.view(job_id).waiting_for
    assert node_status(alive, job_id).reason == "waiting for a quorum's decision on chain"
    rehearsal.start("oracle-2")
    rehearsal.reach_status(job_id, Status.SETTLED)


def test_when_the_committee_stays_silent_the_job_ends_and_harms_nobody(rehearsal: Rehearsal) -> None:
    before = rehearsal.still()
    for name in node_names()[:2]:
        rehearsal.kill(name)
    job_id = rehearsal.job()
    rehearsal.reach_status(job_id, Status.QUOTED)
    rehearsal.pass_time(WINDOWS["decide_window"] + 1)
    assert rehearsal.reach_status(job_id, Status.EXPIRED).fault is Fault.COMMITTEE_SILENT
    assert changes(before, rehearsal.balances()) == {}


def test_a_node_that_releases_a_false_share_is_named_and_left_out(rehearsal: Rehearsal) -> None:
    """The false node and one honest one accept; only when the third returns are there two right shares."""
    market, member = rehearsal.market, rehearsal.market.book.committees[0].members[0]
    rehearsal.kill("oracle-0")
    rehearsal.kill("oracle-1")
    config = market.folder / "oracle-0" / "node.toml"
    command: list[str | Path] = [sys.executable, "-m", "tests.acceptance.false_node", "--config", config]
    false = market.programs.start("false-node", command, ready=answers(f"{member.url}/v1/node"), env=_environment())
    try:
        job_id = rehearsal.job()
        rehearsal.reach_status(job_id, Status.ACCEPTED)
        complaints = market.folder / "worker" / "complaints.jsonl"
        until("a complaint", lambda: complaints.exists() and complaints.read_text().strip())
        assert rehearsal.read(job_id).status is Status.ACCEPTED
        rehearsal.start("oracle-1")
        record = rehearsal.reach_status(job_id, Status.SETTLED)
    finally:
        false.kill()
    told = [json.loads(line)["complaint"] for line in complaints.read_text().splitlines()]
    assert {one["node"] for one in told} == {str(member.signer)}
    assert {one["jobId"] for one in told} == {str(job_id)}
    assert {one["assetId"] for one in told} == {str(use.asset_id) for use in record.spec.assets}
    assert rehearsal.consumer.open_result(job_id, rehearsal.result_key)


def test_a_node_put_back_with_an_older_disk_signs_nothing_and_the_logs_of_the_others_hold(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    market = rehearsal.market
    state, older = market.folder / "oracle-1", tmp_path / "older"
    rehearsal.reach_status(rehearsal.job(), Status.SETTLED)
    rehearsal.kill("oracle-1")
    shutil.copytree(state, older, ignore=shutil.ignore_patterns(SOCKET_FILE))
    rehearsal.start("oracle-1")
    rehearsal.reach_status(rehearsal.job(), Status.SETTLED)
    rehearsal.kill("oracle-1")
    newest = state.rename(tmp_path / "newest")
    older.rename(state)
    rehearsal.start("oracle-1")
    urls = [member.url for member in market.book.committees[0].members]
    refusal = "not the journal that the node's keys signed from"
    until("the node's refusal", lambda: refusal in _health(urls[1]).problem)
    record = rehearsal.reach_status(job_id := rehearsal.job(), Status.SETTLED)
    assert record.decided is not None
    assert set(record.decided.signers) == {0, 2}
    assert node_status(urls[1], job_id).decision is None
    for url in (urls[0], urls[2]):
        with closing(AskNode(url)) as ask:
            _signer, audited = audit_node(rehearsal.chain, ask)
        assert audited.findings == ()
        assert audited.anchors
        assert job_id in {entry.job_id for entry in audited.entries}
    rehearsal.kill("oracle-1")
    shutil.rmtree(state)
    newest.rename(state)
    rehearsal.start("oracle-1")
    until("the node at work again", lambda: _health(urls[1]).status == "ok")


def _health(url: str) -> Health:
    return decode(Health, httpx.get(f"{url}/healthz", timeout=PATIENCE, trust_env=False).content)


@contextmanager
def _silent(rehearsal: Rehearsal, *places: int) -> Iterator[None]:
    """Nodes in these places that fall silent once they have decided."""
    market, started = rehearsal.market, []
    for place in places:
        rehearsal.kill(f"oracle-{place}")
        url = market.book.committees[0].members[place].url
        config = market.folder / f"oracle-{place}" / "node.toml"
        command: list[str | Path] = [sys.executable, "-m", "tests.acceptance.silent_node", "--config", config]
        name = f"silent-node-{place}"
        started.append(market.programs.start(name, command, ready=answers(f"{url}/v1/node"), env=_environment()))
    try:
        yield
    finally:
        for process in started:
            process.kill()


def test_a_committee_that_falls_silent_after_it_accepted_costs_an_honest_provider_nothing(
    rehearsal: Rehearsal,
) -> None:
    bank, provider = rehearsal.market.bank, rehearsal.address("provider")
    deposit = rehearsal.chain.market.deposit(ZERO_ADDRESS, Wei(rehearsal.fees(3)), provider)
    rehearsal.settle_block(bank.send(deposit))
    before = rehearsal.still()
    rehearsal.kill("oracle-2")
    with _silent(rehearsal, 0, 1):
        job_id = rehearsal.job()
        record = rehearsal.reach_status(job_id, Status.ACCEPTED)
        request = record.spec.request_hash
        rehearsal.pass_time(record.spec.settle_window - record.spec.stage_seconds)
        until("the report", lambda: rehearsal.chain.at(rehearsal.chain.head()).interruption(request).shares_deadline)
        rehearsal.pass_time(record.spec.decide_window + 1)
        assert rehearsal.reach_status(job_id, Status.EXPIRED).fault is Fault.SHARES_MISSING
    until("what was set aside", lambda: changes(before, rehearsal.balances()).keys() <= {"consumer"})
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}


class _CutOff:
    """Nodes that do not answer this host."""

    def statuses(self, members: Sequence[Member], job_id: JobId) -> list[NodeStatus | None]:
        return [None] * len(members)

    def hand_in(self, member: Member, sealed: SealedEvidence) -> bool:
        return False


def test_a_host_that_no_node_answers_gets_its_shares_from_the_chain_and_pays_the_nodes_that_posted(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    chain, bank, fee = rehearsal.chain, rehearsal.market.bank, rehearsal.fees(1)
    deposit = chain.market.deposit(ZERO_ADDRESS, Wei(3 * fee), rehearsal.address("host"))
    rehearsal.settle_block(bank.send(deposit))
    before = rehearsal.still()
    with Host(rehearsal, tmp_path, nodes=lambda _honest: _CutOff()) as host:
        job_id = rehearsal.job(provider="host")
        record = rehearsal.reach_status(job_id, Status.ACCEPTED)
        for member in rehearsal.market.book.committees[0].members[:2]:
            until("a release", lambda url=member.url: node_status(url, job_id).release)  # type: ignore[misc]
        request = record.spec.request_hash
        rehearsal.pass_time(record.spec.settle_window - record.spec.stage_seconds)
        until("the report", lambda: chain.at(chain.head()).interruption(request).shares_deadline)
        two = rehearsal.market.book.committees[0].members[:2]
        poster = ReleasePoster(chain, bank.send, lambda one, job: ask_node(one, job) if one in two else None)
        assert poster.post(job_id) == 2
        rehearsal.reach_status(job_id, Status.SETTLED)
        assert rehearsal.consumer.open_result(job_id, rehearsal.result_key)
        host.entry(job_id, JobState.DONE)
    rehearsal.pass_time(record.spec.decide_window + 1)
    if chain.at(chain.head()).interruption(request).unspent:
        bank.send(chain.market.return_unspent(request))
    rehearsal.still()
    assert changes(before, rehearsal.balances())["host"] == COMPUTE_PRICE - 2 * fee
