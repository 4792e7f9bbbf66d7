"""Machines that an operator holds back: what they get meanwhile, and what a hold that does not read ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from sealmarket.advisory_file import AdvisoryRefused
from sealmarket.chain.errors import ChainUnavailable
from sealmarket.protocol.advisories import (
    Floor,
    PlatformSeen,
    Target,
)
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Uint64
from sealmarket_enclave.protocol.numbers import JobId, Kind
from sealmarket_oracle.errors import (
    AdvisoriesUnlisted,
    RenewalRefused,
)
from sealmarket_oracle.runner import Runner
from tests.enclave.session.services import terms_of
from tests.oracle.operators import STRANGER_ADDRESS, Operator, decided
from tests.oracle.test_renewals import allowing, served, service
from tests.oracle.test_serving import LEASE
from tests.oracle.world import World


def test_a_machine_that_the_operator_holds_back_is_not_accepted_until_the_hold_is_lifted(
    world: World, operator: Operator
) -> None:
    """At once, of its own, without an issuer, an anchor or a date: it is no decision."""
    hold = operator.hold()
    world.match(world.publish())
    world.quote()
    operator.node.tick()
    status = operator.node.status(world.job_id)
    assert status.decision is None
    assert "the operator holds platforms back by statement 0x" in status.reason
    assert "seen on a list" in status.reason
    hold.unlink()
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED


def test_no_share_is_released_to_a_machine_that_is_held_back_after_the_decision(
    world: World, operator: Operator
) -> None:
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(operator.node))
    hold = operator.hold()
    operator.node.tick()
    status = operator.node.status(world.job_id)
    assert status.release is None
    assert "holds platforms back" in status.reason
    hold.unlink()
    operator.node.tick()
    assert operator.node.status(world.job_id).state == "released"


def test_a_release_that_was_promised_before_its_machine_was_held_back_is_not_served_until_the_hold_is_lifted(
    world: World, operator: Operator
) -> None:
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(operator.node))
    operator.node.tick()
    promised = operator.node.status(world.job_id).release
    assert promised is not None
    hold = operator.hold()
    operator.node.tick()
    status = operator.node.status(world.job_id)
    assert (status.state, status.release) == ("decided", None)
    assert status.reason.startswith("a release is promised, and not served: the operator holds platforms back by")
    hold.unlink()
    operator.node.tick()
    assert operator.node.status(world.job_id).release == promised


def test_a_stop_that_was_promised_is_served_while_its_machine_is_held_back(world: World, operator: Operator) -> None:
    asset = world.publish()
    world.match(asset)
    world.quote()
    world.accept(world.decided(operator.node))
    world.chain.revoke(asset.asset_id)
    world.chain.finalise()
    operator.node.tick()
    operator.hold()
    operator.node.tick()
    assert operator.node.status(world.job_id).state == "stopped"


def test_a_machine_that_is_held_back_before_the_decision_gets_no_renewal_although_others_accept_it(
    world: World, operator: Operator
) -> None:
    hold = operator.hold()
    job, request = _service_that_others_accept(world, operator)
    for _ in range(2):
        with pytest.raises(RenewalRefused, match="the operator holds platforms back by statement"):
            operator.node.renewals.sign(job, request())
        operator.node.tick()
    hold.unlink()
    operator.node.tick()
    assert operator.node.renewals.sign(job, request())


def test_a_machine_whose_decision_waited_for_a_hold_is_known_and_blocked_by_no_hold_on_another(
    world: World, operator: Operator
) -> None:
    operator.hold()
    job, request = _service_that_others_accept(world, operator)
    operator.hold(targets=(Target(tee="snp"),))
    operator.node.tick()
    assert operator.node.renewals.sign(job, request())


def _service_that_others_accept(world: World, operator: Operator) -> tuple[JobId, Callable[[], RenewalRequest]]:
    """A service that this node did not decide on, and how its renewal is asked for at the newest final block."""
    asset = world.publish(edit_policy=allowing)
    offered = replace(terms_of(asset.asset_id), lease=LEASE)
    job = world.match(asset, **served(world, offered, Kind.SESSION))
    world.quote(session_terms=HexBytes(offered.canonical()))
    operator.node.tick()
    assert operator.node.status(job).decision is None
    world.accept(world.decided(world.node(1)))
    world.chain.set_service(job, service(), {})
    world.chain.finalise()
    operator.node.tick()
    return job, lambda: RenewalRequest(
        nonce=Bytes32(b"n" * 32), block_number=Uint64(world.chain.final().number), accounts=(STRANGER_ADDRESS,)
    )


def test_a_job_whose_machine_is_not_known_here_gets_nothing_while_there_is_a_hold(
    world: World, operator: Operator
) -> None:
    """Another process of the node decided it, or the file of machines is lost: it may be the machine that is meant."""
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(operator.node))
    (world.folder / "platforms.sqlite").unlink()
    operator.node, operator.held = operator.start()
    hold = operator.hold(targets=(Target(tee="snp"),))
    operator.node.tick()
    assert operator.node.status(world.job_id).release is None
    assert "is not known here" in operator.node.status(world.job_id).reason
    hold.unlink()
    operator.node.tick()
    assert operator.node.status(world.job_id).state == "released"


def test_a_revocation_is_promised_for_a_job_on_a_machine_that_is_held_back(world: World, operator: Operator) -> None:
    """A promise to stop gives nothing, and ends the job for its payer."""
    asset = world.publish()
    world.match(asset)
    world.quote()
    world.accept(world.decided(operator.node))
    operator.hold()
    world.chain.revoke(asset.asset_id)
    world.chain.finalise()
    operator.node.tick()
    assert operator.node.status(world.job_id).state == "stopped"


def test_a_refusal_goes_on_while_its_machine_is_held_back(world: World, operator: Operator) -> None:
    operator.hold()
    world.match(world.publish())
    world.quote(debug=True)
    assert world.decided(operator.node).outcome is Outcome.PLATFORM_REFUSED


def test_a_hold_on_another_machine_holds_none_back(world: World, operator: Operator) -> None:
    operator.hold(targets=(Target(tee="snp"),))
    assert decided(world, operator).outcome is Outcome.ACCEPTED


def test_a_hold_that_does_not_read_ends_every_decision_and_gives_nothing_to_any_machine(
    world: World, operator: Operator
) -> None:
    hold = operator.hold(b"[")
    world.match(world.publish())
    world.quote()
    with pytest.raises(AdvisoryRefused, match=r"one\.json is no statement"):
        operator.node.tick()
    assert operator.node.status(world.job_id).decision is None
    assert operator.held.held(()) == "the operator's holds do not read", "and no path of the operator's is public"
    hold.unlink()
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("how", ["a file that is no statement", "a file that is gone when it is read", "a folder away"])
def test_a_node_whose_holds_did_not_read_says_so_until_they_do_and_then_decides(
    how: str, world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is then as it was when it was read well: that must not pass for nothing new to read."""
    runner, folder = Runner(operator.node, 1.0), world.folder / "holds"
    folder.mkdir()
    assert runner._tick()
    world.match(world.publish())
    world.quote()
    with monkeypatch.context() as patched:
        if how == "a folder away":
            patched.setattr(Path, "iterdir", _away)
        if how == "a file that is gone when it is read":
            patched.setattr("sealmarket_oracle.holds.read_advisory", _away)
        bad = operator.hold(b"[") if how != "a folder away" else None
        for _ in range(2):
            assert not runner._tick()
            assert str(folder) in runner._health.problem
            assert operator.held.unread == "the operator's holds do not read"
    if bad is not None:
        bad.unlink()
    assert runner._tick()
    assert (operator.held.unread, operator.held.held(())) == ("", None)
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED


def _away(path: Path) -> NoReturn:
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize("place", ["holds", "advisories"])
@pytest.mark.parametrize("what", ["a file", "a link to nothing"])
def test_a_folder_of_statements_that_is_there_and_cannot_be_listed_is_not_an_empty_one(
    place: str, what: str, world: World, operator: Operator
) -> None:
    folder = world.folder / place
    if folder.exists():
        folder.rmdir()
    folder.write_text("") if what == "a file" else folder.symlink_to("not mounted")
    world.match(world.publish())
    world.quote()
    with pytest.raises(AdvisoriesUnlisted, match=f"{place} cannot be listed") as refused:
        operator.node.tick()
    assert refused.value.remedy
    assert operator.node.status(world.job_id).decision is None
    folder.unlink()
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("target", [Target(tee="TDX"), Target(tee="tdx", floor=Floor())])
def test_a_hold_that_names_no_machine_by_a_slip_gives_nothing_to_any_machine_and_is_refused(
    target: Target, world: World, operator: Operator
) -> None:
    operator.hold(targets=(target,))
    world.match(world.publish())
    world.quote()
    with pytest.raises(AdvisoryRefused, match=r"one\.json is no statement about platforms: target 0: "):
        operator.node.tick()
    assert operator.node.status(world.job_id).decision is None
    assert operator.held.held(()) == "the operator's holds do not read"


def test_a_hold_counts_while_the_chain_is_away(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> NoReturn:
        raise ChainUnavailable("http://chain", "no answer")

    operator.node.tick()
    operator.hold()
    with monkeypatch.context() as patched:
        patched.setattr(operator.node._follower, "advance", away)
        with pytest.raises(ChainUnavailable):
            operator.node.tick()
    assert "holds platforms back" in (operator.held.held((PlatformSeen(tee="tdx"),)) or "")


def test_before_the_holds_are_read_nothing_is_given(world: World, operator: Operator) -> None:
    assert operator.held.held_job(world.match(world.publish())) == "the operator's holds are not read yet"
