"""Release and stop: only what this node accepted itself, only while nothing speaks against it, and never both."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain.events import JobDecided, JobMatched, JobQuoted
from sealmarket.chain.memory import FINALITY_SECONDS, TRANSFER_SECONDS
from sealmarket.chain.model import Block
from sealmarket.chain.quorum import AtEndpoint
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket.protocol.wire import NodeStatus
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, Uint
from sealmarket_enclave.protocol.job import Settlement
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_enclave.protocol.release import read_release, release_hash
from sealmarket_enclave.protocol.signing import personal_digest, recover
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.shares import Share, join, open_released
from sealmarket_oracle.errors import PromiseConflict
from sealmarket_oracle.gate.inputs import AssetFacts
from sealmarket_oracle.journal import Journal, NewPromise
from sealmarket_oracle.release import core_of, release_info
from sealmarket_oracle.service import Node
from tests.oracle.world import CHAIN_ID, MARKET, MARKET_REF, NOW, Dealt, Enclave, World, terms

WINDOW, STAGES = 600, 60 + 30 + 10
AVAILABLE = WINDOW - STAGES - FINALITY_SECONDS - TRANSFER_SECONDS
"""Seconds of the sample's settle window in which shares are released."""


def _quoted(world: World, *assets: Dealt) -> Node:
    world.match(*(assets or (world.publish(),)))
    world.quote()
    return world.node()


def _after(world: World, node: Node) -> NodeStatus:
    node.tick()
    return node.status(world.job_id)


def open_for_enclave(world: World, asset: Dealt, raw: bytes, enclave: Enclave | None = None) -> Share:
    """Open one released share as the enclave does, with a context that it builds by itself."""
    release = read_release(raw)
    enclave = enclave or world.enclave
    state = world.chain.at(world.chain.head()).asset(asset.asset_id, 1)
    use = next(use for use in world.spec.assets if use.asset_id == asset.asset_id)
    facts = AssetFacts(use=use, seal=asset.seal, state=state)
    decision = world.chain_core
    info = release_info(MARKET_REF, world.job_id, facts, decision, release.index + 1, enclave.hpke.public.digest)
    sealed = next(share.sealed for share in release.shares if share.asset_id == asset.asset_id)
    return open_released(enclave.hpke, asset.share_set.commitments, info, sealed)


def _accept(world: World, decision: Decision, **changes: Any) -> None:
    world.chain_core = core_of(replace(decision, **changes))
    world.accept(world.chain_core)


# --- refusals -----------------------------------------------------------------------------------------------------


def test_nothing_is_released_before_a_quorum_accepted(world: World) -> None:
    node = _quoted(world)
    world.decided(node)
    status = _after(world, node)
    assert (status.state, status.release) == ("decided", None)


def test_nothing_is_released_while_the_acceptance_is_not_final(world: World) -> None:
    node = _quoted(world)
    decision = world.decided(node)
    world.chain.decide(core_of(decision))
    assert _after(world, node).release is None
    world.chain.finalise()
    assert _after(world, node).release is not None


def test_an_acceptance_that_is_reorganised_away_releases_nothing(world: World) -> None:
    node = _quoted(world)
    decision = world.decided(node)
    world.chain.decide(core_of(decision))
    node.tick()
    world.chain.reorganise(1)
    world.chain.mine(3)
    assert _after(world, node).release is None


def test_a_node_that_refused_does_not_release_though_a_quorum_accepted(world: World) -> None:
    world.match(world.publish())
    world.quote()
    strict = world.node(0, grade_floor=Grade.HARDWARE)
    assert world.decided(strict).outcome is Outcome.REQUEST_REFUSED
    _accept(world, world.decided(world.node(1)))
    status = _after(world, strict)
    assert status.release is None
    assert "decided otherwise" in status.reason


@pytest.mark.parametrize("field", ["enclave_signer", "enclave_key_hash", "evidence_hash", "terms_digest"])
def test_a_node_does_not_release_to_another_enclave_than_it_accepted(field: str, world: World) -> None:
    node = _quoted(world)
    decision = world.decided(node)
    other = type(getattr(decision, field))(b"\x55" * len(getattr(decision, field)))
    _accept(world, decision, **{field: other})
    assert _after(world, node).release is None


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("revoked", JobReason.ASSET_REVOKED),
        ("tightened", JobReason.TERMS_TIGHTENED),
        ("expired", JobReason.ASSET_EXPIRED),
    ],
)
def test_what_speaks_against_it_at_the_head_stops_the_release(what: str, reason: JobReason, world: World) -> None:
    asset = world.publish(policy_terms=terms(expiry=NOW + 300))
    node = _quoted(world, asset)
    _accept(world, world.decided(node))
    if what == "revoked":
        world.chain.revoke(asset.asset_id)
    elif what == "tightened":
        world.chain.tighten(asset.asset_id, 1, terms(allow_root=ZERO_HASH))
    else:
        world.chain.mine(1, seconds=400)
    status = _after(world, node)
    assert (status.state, status.release) == ("stopped", None)
    assert status.stop is not None
    assert reason_codes(status.stop.stop.reasons) == (reason.code,)
    assert status.stop.findings[0].remedy
    digest = status.stop.stop.digest(CHAIN_ID, MARKET)
    assert recover(digest, status.stop.signature) == world.keys[0].signer.address


def test_what_another_endpoint_shows_at_its_head_holds_a_release_back_and_all_together_stop_it(world: World) -> None:
    asset = world.publish()
    node = _quoted(world, asset)
    _accept(world, world.decided(node))
    world.chain.revoke(asset.asset_id)
    world.chain.behind, world.chain.others = 1, [0]  # the endpoint that is asked keeps the revocation back
    status = _after(world, node)
    assert (status.state, status.release) == ("decided", None)
    assert "endpoints speak for different answers: allow, stop" in status.reason
    world.chain.mine()
    assert _after(world, node).state == "stopped"


def test_a_release_goes_on_where_all_endpoints_allow_it(world: World) -> None:
    node = _quoted(world)
    _accept(world, world.decided(node))
    world.chain.others = [0, 1, 0]
    assert _after(world, node).state == "released"


def test_nothing_is_released_once_the_enclaves_part_of_the_settle_window_has_begun(world: World) -> None:
    node = _quoted(world)
    _accept(world, world.decided(node))
    world.chain.mine(1, seconds=AVAILABLE + 1)
    status = _after(world, node)
    assert (status.state, status.release) == ("stopped", None)
    assert status.stop is not None
    assert reason_codes(status.stop.stop.reasons) == (JobReason.TIME_TO_RELEASE_PASSED.code,)
    assert "a settle window that leaves time" in status.stop.findings[0].remedy


def test_a_node_that_accepted_nothing_stops_a_job_in_the_enclaves_part_as_well(world: World) -> None:
    node = _quoted(world)
    decision = world.decided(node)
    world.store.fall_silent()
    blind = world.node(1)
    assert _after(world, blind).decision is None
    _accept(world, decision)
    world.chain.mine(1, seconds=AVAILABLE + 1)
    assert _after(world, blind).state == "stopped"


def test_after_the_settle_window_there_is_nothing_left_to_promise(world: World) -> None:
    node = _quoted(world)
    _accept(world, world.decided(node))
    world.chain.mine(1, seconds=601)
    status = _after(world, node)
    assert (status.state, status.release, status.stop) == ("decided", None, None)


def test_nothing_is_accepted_while_finality_lags_by_all_that_a_release_has(world: World) -> None:
    node = _quoted(world)
    world.chain.mine(1, seconds=AVAILABLE)
    status = _after(world, node)
    assert status.decision is None
    assert "ahead of the final one" in status.reason
    world.chain.mine(1)
    assert world.decided(node).outcome is Outcome.ACCEPTED


def test_a_node_that_stopped_never_releases(world: World) -> None:
    asset = world.publish()
    node = _quoted(world, asset)
    _accept(world, world.decided(node))
    at_head = world.chain.revoke(asset.asset_id)
    assert _after(world, node).state == "stopped"
    world.chain.reorganise(1)
    world.chain.mine(3)
    assert world.chain.block(at_head.block_number).hash != at_head.block_hash
    status = _after(world, node)
    assert (status.state, status.release) == ("stopped", None)
    assert _after(world, world.node(0)).state == "stopped"


def test_a_node_that_released_never_signs_a_stop(world: World) -> None:
    asset = world.publish()
    node = _quoted(world, asset)
    _accept(world, world.decided(node))
    released = _after(world, node)
    world.chain.revoke(asset.asset_id)
    assert _after(world, node) == released
    assert _after(world, world.node(0)).stop is None


def test_a_node_that_was_down_at_the_decision_can_still_promise_never_to_release(world: World) -> None:
    asset = world.publish()
    _accept(world, world.decided(_quoted(world, asset)))
    world.chain.revoke(asset.asset_id)
    world.chain.finalise()
    late = world.node(1)
    status = _after(world, late)
    assert status.state == "stopped"
    assert status.decision is not None
    assert status.decision.decision.outcome is Outcome.TERMS_REFUSED


def test_nothing_is_released_after_the_time_to_settle(world: World) -> None:
    node = _quoted(world)
    _accept(world, world.decided(node))
    world.chain.mine(1, seconds=700)
    status = _after(world, node)
    assert status.release is None
    assert "time to settle" in status.reason


def test_nothing_is_released_for_a_job_that_ended(world: World) -> None:
    node = _quoted(world)
    decision = world.decided(node)
    world.accept(core_of(decision))
    zero = Bytes32(bytes(32))
    world.chain.settle(Settlement(job_id=world.job_id, result_hash=zero, receipt_hash=zero, units=0, last=True))
    status = _after(world, node)
    assert status.release is None
    assert status.stop is None


def test_an_old_view_of_the_chain_releases_nothing(world: World) -> None:
    from sealmarket_oracle.errors import StaleChain

    node = _quoted(world)
    _accept(world, world.decided(node))
    world.time += 10_000
    with pytest.raises(StaleChain):
        node.tick()
    assert node.status(world.job_id).release is None


def test_a_chain_node_that_goes_back_behind_a_seen_revocation_releases_nothing(world: World) -> None:
    asset = world.publish()
    node = _quoted(world, asset)
    decision = world.decided(node)
    world.accept(core_of(decision))
    lagging = world.chain.head()
    world.chain.revoke(asset.asset_id)
    seen = world.chain.head()

    class Flipping:
        """The same chain behind a balancer: a head that was seen, then an older one."""

        def __init__(self) -> None:
            self.shown = [seen, lagging]

        def head(self) -> Block:
            return self.shown.pop(0)

        def heads(self, read: Any) -> Any:
            return [AtEndpoint("balancer", head := self.head(), read(world.chain.at(head)))]

        def __getattr__(self, name: str) -> Any:
            return getattr(world.chain, name)

    flipped = world.node(1, chain=Flipping())
    status = _after(world, flipped)
    assert (status.release, status.stop) == (None, None)
    assert "newest block" in status.reason


class Inventing:
    """The same chain behind an endpoint that changes an event on its way."""

    def __init__(self, world: World, kind: type, **changes: Any) -> None:
        self._world, self._kind, self._changes = world, kind, changes

    def events(self, first: int, last: int) -> list[Any]:
        found = self._world.chain.events(first, last)
        return [dataclasses.replace(e, **self._changes) if isinstance(e, self._kind) else e for e in found]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.chain, name)


@pytest.mark.parametrize("what", ["evidence", "enclave", "specification"])
def test_an_event_that_the_jobs_slot_contradicts_is_not_acted_on(world: World, what: str) -> None:
    """The slot, which a proof shows, commits to the whole specification, the evidence and the accepted enclave."""
    _quoted(world)
    inventing: dict[str, tuple[type, dict[str, Any]]] = {
        "evidence": (JobQuoted, {"evidence_hash": Bytes32(b"\x66" * 32)}),
        "specification": (JobMatched, {"spec": replace(world.spec, epoch=1, settle_window=9999)}),
    }
    if what == "enclave":
        core = core_of(world.decided(world.node()))
        _accept(world, core)
        inventing[what] = (JobDecided, {"core": replace(core, enclave_signer=MARKET)})
    kind, changes = inventing[what]
    status = _after(world, world.node(1, chain=Inventing(world, kind, **changes)))
    assert (status.decision, status.release) == (None, None)
    assert "job's slot" in status.reason


def test_a_quote_that_an_endpoint_dates_otherwise_is_not_acted_on(world: World) -> None:
    """The time of the quote's block is the one by which evidence is judged; the slot's deadline shows it."""
    _quoted(world)

    class Dating(Inventing):
        def block(self, number: int) -> Block:
            found = world.chain.block(number)
            return dataclasses.replace(found, timestamp=found.timestamp - 1)

    status = _after(world, world.node(1, chain=Dating(world, type(None))))
    assert (status.decision, "of a quote at" in status.reason) == (None, True)


def test_a_share_that_vanished_from_the_store_is_not_released_wrongly(world: World) -> None:
    asset = world.publish()
    node = _quoted(world, asset)
    decision = world.decided(node)
    _accept(world, decision)
    fresh = world.node(0)
    world.store.documents.clear()
    status = _after(world, fresh)
    assert status.release is None
    assert "nothing in the store" in status.reason


# --- the promise --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("release", "stop"), ("stop", "release")])
def test_release_and_stop_exclude_each_other_across_a_crash(first: Any, second: Any, world: World) -> None:
    job = world.match(world.publish())
    world.journal("promises.sqlite").promise(NewPromise(job, first, b"{}", world.chain.final()))
    reopened = world.journal("promises.sqlite")
    with pytest.raises(PromiseConflict):
        reopened.promise(NewPromise(job, second, b"{}", world.chain.final()))
    assert reopened.promised(job) == (first, b"{}")


def test_a_crash_between_sealing_and_writing_down_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = world.publish()
    node = _quoted(world, asset)
    _accept(world, world.decided(node))

    def crash(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "promise", crash)
        with pytest.raises(KeyboardInterrupt):
            node.tick()
    assert node.status(world.job_id).release is None
    world.chain.revoke(asset.asset_id)
    assert _after(world, world.node(0)).state == "stopped"


# --- what passes --------------------------------------------------------------------------------------------------


def test_two_nodes_releases_join_to_the_owners_key(world: World) -> None:
    assets = [world.publish(1), world.publish(2)]
    nodes = [_quoted(world, *assets), world.node(2)]
    decisions = [world.decided(node) for node in nodes]
    assert core_of(decisions[0]) == core_of(decisions[1])
    _accept(world, decisions[0])
    releases = [_after(world, node).release for node in nodes]
    for asset in assets:
        opened = [open_for_enclave(world, asset, release) for release in releases if release is not None]
        assert [share.index for share in opened] == [1, 3]
        assert join(opened, asset.share_set.commitments) == asset.key


def test_a_release_opens_for_no_other_enclave(world: World) -> None:
    asset = world.publish()
    node = _quoted(world, asset)
    _accept(world, world.decided(node))
    release = _after(world, node).release
    assert release is not None
    with pytest.raises(NotOpened):
        open_for_enclave(world, asset, release, Enclave())


def test_a_release_is_signed_and_sent_again_unchanged_after_a_restart(world: World) -> None:
    node = _quoted(world)
    _accept(world, world.decided(node))
    raw = _after(world, node).release
    assert raw is not None
    release = read_release(raw)
    digest = release_hash(release.job_id, release.evidence_hash, release.index, release.shares)
    assert recover(personal_digest(digest), release.signature) == world.keys[0].signer.address
    assert _after(world, world.node(0)).release == raw == release.raw


def test_a_node_that_was_down_decides_and_releases_after_the_quorum(world: World) -> None:
    asset = world.publish()
    _accept(world, world.decided(_quoted(world, asset)))
    late = world.node(1)
    assert _after(world, late).state == "released"


def test_no_key_share_or_key_is_in_the_journal(world: World) -> None:
    asset = world.publish()
    node = _quoted(world, asset)
    _accept(world, world.decided(node))
    release = _after(world, node).release
    assert release is not None
    share = open_for_enclave(world, asset, release)
    kept = b"".join(path.read_bytes() for path in world.folder.iterdir())
    for secret in (share.value, share.salt, asset.key, world.keys[0].hpke.secret_bytes()):
        assert secret not in kept
        assert secret.hex().encode() not in kept


def test_nothing_secret_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    asset = world.publish()
    node = _quoted(world, asset)
    _accept(world, world.decided(node))
    release = _after(world, node).release
    assert release is not None
    assert "SIMULATED" in caplog.text
    share = open_for_enclave(world, asset, release)
    for secret in (share.value, asset.key, world.keys[0].hpke.secret_bytes()):
        assert secret.hex() not in caplog.text
        assert repr(secret) not in caplog.text


def test_a_quorums_refusal_releases_nothing(world: World) -> None:
    node = _quoted(world)
    decision = world.decided(node)
    refusal = replace(core_of(decision), outcome=Outcome.PLATFORM_REFUSED, reasons=Uint(1 << 19))
    world.accept(refusal)
    assert _after(world, node).release is None
