"""Three oracle nodes over a real chain and its contracts: what they sign is what the market takes, and pays by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain import Block, Fault
from sealmarket.chain.events import JobEnded
from sealmarket.client import JobRecord, SealedAsset, read_job
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage, NodeStatus, SignedDecision, SignedStop
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import evidence_hash, report_data
from sealmarket_enclave.protocol.numbers import Grade, JobId, Tee
from sealmarket_enclave.protocol.release import read_release
from sealmarket_enclave.protocol.signing import address_of
from sealmarket_enclave.sealed.shares import Share, join, open_released
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from sealmarket_oracle import service
from sealmarket_oracle.gate.inputs import AssetFacts, MarketRef
from sealmarket_oracle.journal import Journal, JournalIdentity
from sealmarket_oracle.keys import NodeKeys, Signer
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.release import release_info
from sealmarket_oracle.service import Node
from tests.integration.market import EnclaveKeys, Market
from tests.oracle.world import Agreeing
from tests.patience import until

LAUNCH = LaunchMeasurement(image=b"\x01" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48)
OTHER = LaunchMeasurement(image=b"\x09" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48)


@dataclass
class Committee:
    """A market with its three nodes, and what a provider does around them."""

    market: Market
    nodes: list[Node]
    device: VirtualTdx
    sealed: SealedAsset

    def matched(self) -> JobRecord:
        """A job whose match is final."""
        market = self.market
        job_id, head = market.match(market.request(self.sealed)), market.chain.head()
        self.until(lambda: market.chain.final().number >= head.number)
        return read_job(market.chain, job_id, head)

    def quote(self, job: JobRecord, enclave: EnclaveKeys, launch: LaunchMeasurement = LAUNCH) -> EvidencePackage:
        """The provider's enclave quotes, its hash goes on chain, the evidence into the store."""
        chain, key = self.market.chain, bytes(enclave.hpke.public.raw)
        named: Block = chain.final()
        signer = address_of(enclave.signer.public_key)
        data = report_data(job.job_id, signer, keccak(key), named.hash)
        package = EvidencePackage(
            job_id=job.job_id,
            tee=Tee.TDX,
            quote=HexBytes(self.device.guest(launch, debug=False).quote(data)),
            collateral=self.device.endorsements(),
            enclave_signer=signer,
            enclave_key=HexBytes(key),
            block_number=named.number,
            block_hash=named.hash,
        )
        posted = evidence_hash(package.quote, signer, keccak(key), named.hash)
        self.market.provider_sender.send(chain.market.quote(job.spec, posted))
        self.market.show(package, posted)
        return package

    def until(self, true: Callable[[], bool]) -> None:
        """Let the nodes tick until something is so."""

        def ticked() -> bool:
            if true():
                return True
            for node in self.nodes:
                node.tick()
            return False

        try:
            until("what the nodes have to do", ticked)
        except AssertionError as error:
            raise AssertionError([pause.reason for n in self.nodes for pause in n._waiting._pauses.values()]) from error

    def statuses(self, job_id: JobId) -> list[NodeStatus]:
        """What the nodes say of a job."""
        return [node.status(job_id) for node in self.nodes]

    def decisions(self, job_id: JobId) -> list[SignedDecision]:
        """All three decisions."""
        self.until(lambda: all(status.decision for status in self.statuses(job_id)))
        return [status.decision for status in self.statuses(job_id) if status.decision is not None]

    def decide(self, job: JobRecord) -> list[SignedDecision]:
        """Submit what the nodes signed."""
        decisions = self.decisions(job.job_id)
        chain = self.market.chain
        self.market.anybody.send(chain.market.decide(job.spec, decisions, self.market.committee))
        return decisions

    def ended(self, job: JobRecord) -> JobEnded:
        """How a job ended."""
        chain = self.market.chain
        events = chain.events(0, chain.head().number)
        return next(event for event in events if isinstance(event, JobEnded) and event.job_id == job.job_id)


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Committee]:
    folder = tmp_path_factory.mktemp("committee")
    with Supervisor(folder) as programs, ExitStack() as opened:
        chain = chains.anvil(programs, "--block-time", "0.25")
        market = Market(chain.url, folder, FinalityRule(kind="finalized"))
        opened.callback(market.close)
        device = VirtualTdx(folder / "device", lambda: datetime.now(UTC))
        journals = [opened.enter_context(_journal(market, folder, n)) for n in range(3)]
        nodes = [_node(market, device, journal, n) for n, journal in enumerate(journals)]
        yield Committee(market, nodes, device, market.ready())


def _journal(market: Market, folder: Path, index: int) -> Journal:
    book = market.book
    identity = JournalIdentity(
        chain_id=book.chain_id,
        market=book.market,
        signer=Signer(market.nodes[index].secret).address,
        hpke_key=market.node_hpke[index].public.digest,
        epoch=1,
        name=keccak(b"journal %d" % index),
    )
    return Journal(folder / f"node-{index}.sqlite", identity, TailMark(folder / f"node-{index}.mark"))


def _node(market: Market, device: VirtualTdx, journal: Journal, index: int) -> Node:
    keys = NodeKeys(Signer(market.nodes[index].secret), market.node_hpke[index])
    roots = TrustAnchors.production().with_development(device.root)
    held = service.NodePolicy(roots=roots, grade_floor=Grade.SIMULATED, max_head_age_seconds=600)
    return Node(market.chain, journal, market.backend.store(), keys, held, Agreeing())


def test_a_measurement_that_was_not_promised_costs_the_provider_and_nobody_else(committee: Committee) -> None:
    job = committee.matched()
    committee.quote(job, EnclaveKeys(), OTHER)
    decision = committee.decide(job)[0].decision
    assert decision.outcome is Outcome.PLATFORM_REFUSED
    assert reason_codes(decision.reasons) == (JobReason.CAPABILITY_BROKEN.code,)
    ended = committee.ended(job)
    assert ended.fault == Fault.PLATFORM_REFUSED
    fees = committee.market.committee.refusal_threshold * committee.market.settings.tokens[ZERO_ADDRESS]
    assert ended.payout.burned == job.spec.penalty - fees


def test_an_accepted_enclave_gets_shares_that_join_to_the_owners_key(committee: Committee) -> None:
    job, enclave = committee.matched(), EnclaveKeys()
    committee.quote(job, enclave)
    decisions = committee.decide(job)
    committee.until(lambda: all(status.release for status in committee.statuses(job.job_id)))
    releases = [status.release for status in committee.statuses(job.job_id) if status.release is not None]
    shares = [_opened(committee, job, decisions[0], release, enclave) for release in releases]
    key = join(shares[1:], committee.sealed.share_set.commitments)
    committee.sealed.share_set.commitments.check_key(key)
    slot = committee.market.chain.at(committee.market.chain.head()).job(job.spec.request_hash)
    assert slot.status is Status.ACCEPTED


def _opened(committee: Committee, job: JobRecord, signed: SignedDecision, raw: bytes, enclave: EnclaveKeys) -> Share:
    release = read_release(raw)
    book, chain = committee.market.book, committee.market.chain
    use = job.spec.assets[0]
    facts = AssetFacts(
        use=use, seal=committee.sealed.summary.seal, state=chain.at(chain.head()).asset(use.asset_id, use.version)
    )
    market_ref = MarketRef(chain_id=book.chain_id, address=book.market, registry=book.registry)
    info = release_info(market_ref, job.job_id, facts, signed.decision, release.index + 1, enclave.hpke.public.digest)
    share = release.shares[0]
    return open_released(enclave.hpke, committee.sealed.share_set.commitments, info, share.sealed)


def test_a_revocation_after_acceptance_stops_the_job_and_harms_nobody(committee: Committee) -> None:
    job, chain = committee.matched(), committee.market.chain
    package = committee.quote(job, EnclaveKeys())
    decisions = committee.decisions(job.job_id)
    committee.market.anybody.send(chain.market.decide(job.spec, decisions, committee.market.committee))
    committee.market.owner.revoke(committee.sealed.asset_id, 1)
    committee.until(lambda: all(status.stop for status in committee.statuses(job.job_id)))
    stops: list[SignedStop] = [s.stop for s in committee.statuses(job.job_id) if s.stop is not None]
    assert all(status.release is None for status in committee.statuses(job.job_id))
    assert {reason_codes(stop.stop.reasons) for stop in stops} == {(JobReason.ASSET_REVOKED.code,)}
    accepted = committee.market.enclave(decisions[0].decision)
    assert accepted.evidence_hash == evidence_hash(
        package.quote, package.enclave_signer, keccak(package.enclave_key), package.block_hash
    )
    committee.market.anybody.send(chain.market.stop(job.spec, accepted, stops, committee.market.committee))
    committee.market.provider_sender.send(chain.market.end_interrupted(job.spec, accepted))
    ended = committee.ended(job)
    assert ended.fault == Fault.STOPPED_BEFORE_RELEASE
    assert ended.payout.burned == 0
