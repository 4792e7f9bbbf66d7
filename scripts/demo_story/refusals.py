"""Three jobs that must not run: each is valid on chain, refused by the committee, and paid by the fault table.

All three are matched around the backend, straight at the contract: the chain checks what it can by itself, and the
oracle nodes decide whether an enclave and a workload may open the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.demo_story import setup
from scripts.demo_story.stage import StoryBroken
from scripts.demo_story.story import NAMES, PARAMETERS, Story, draft_of, limits, signed
from sealmarket.chain import Fault
from sealmarket.chain.contracts import AssetOffer, Match
from sealmarket.client import AssetWish, RequestHandle, SealedAsset
from sealmarket.client.errors import JobEndedOtherwise
from sealmarket.client.jobs import JobRecord, read_job, reasons_in_words
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedComputeOrder
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_localnet.market import coin

REFUSING_SIGNATURES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One job that must be refused. ``after_match`` runs between match and decision; ``changes`` says what each party
    has more afterwards, in wei, from the refused job."""

    title: str
    rule: str
    reason: str
    fault: Fault
    workload: Path
    assets: tuple[SealedAsset, ...]
    provider: Address
    expected: str
    found: str
    table: str
    changes: Callable[[JobRecord], dict[str, int]]
    after_match: Callable[[], object] = lambda: None


def refuse_all(story: Story) -> None:
    """Match all three, and compare each refusal and each coin with the fault table."""
    story.console.act(
        "Three jobs that must not run",
        "Each is matched straight at the contract, around the backend. The chain cannot know what is wrong with them;",
        "the oracle nodes do.",
    )
    with story.console.step("refuse_setup", "Another workload, another enclave, and an asset that will be withdrawn"):
        attempts = (_workload(story), _enclave(story), _revoked(story))
    before = story.balances()
    with story.console.step("refuse_match", "All three are matched; one asset is withdrawn right afterwards"):
        handles = [_submit(story, attempt) for attempt in attempts]
        jobs = [_wait_match(story, handle) for handle in handles]
    for attempt, job_id in zip(attempts, jobs, strict=True):
        with story.console.step(f"refuse_{attempt.reason}", attempt.title):
            story.refused[attempt.reason] = _wait_refused(story, job_id)
        _show(story, attempt, story.refused[attempt.reason])
    after = story.balances()
    for name in before:
        due = sum(attempt.changes(story.refused[attempt.reason]).get(name, 0) for attempt in attempts)
        if after[name] - before[name] != due:
            raise StoryBroken(f"{name} changed by {after[name] - before[name]}, and the fault table says {due}")
    story.facts["refused"] = {reason: str(record.job_id) for reason, record in story.refused.items()}


def _signatures(story: Story) -> int:
    """What the oracle nodes earn for a refusal: from the penalty, or from the escrow where no provider is at fault."""
    return REFUSING_SIGNATURES * story.money.signature_fee


def _workload(story: Story) -> Attempt:
    altered = setup.altered_workload(story.workload, story.folder / "altered-workload")
    return Attempt(
        title="The insurer changes one line of the workload, so that it carries rows out",
        rule="the workload must be one that every owner allowed when the key shares were made",
        reason="workload_not_allowed",
        fault=Fault.REQUEST_REFUSED,
        workload=altered.folder,
        assets=tuple(story.sealed.values()),
        provider=story.parties.provider.address,
        expected=f"workload {story.workload.digest}",
        found=f"workload {altered.digest}",
        table="the request's fault: the consumer gets a refund less what holding the others' stake and uses cost",
        changes=lambda record: {"insurer": -record.spec.hold_fee - _signatures(story)},
    )


def _enclave(story: Story) -> Attempt:
    """A provider whose enclave has one line more than the one that was allowed, and that it promised."""
    image = setup.altered_image(story.image, story.folder / "altered-image")
    rogue = story.parties.rogue
    rogue.stake(story.money.stake)
    rogue.offer(story.money.offer(story.promise, volume=1))
    story.market.start_worker(story.parties.purses["rogue"], story.workload.wheels, name="rogue", image=image)
    return Attempt(
        title="A provider runs an enclave with one line more than the one that it promised",
        rule="the enclave must be the one that the provider promised in its order, and that every owner allowed",
        reason="capability_broken",
        fault=Fault.PLATFORM_REFUSED,
        workload=story.workload.folder,
        assets=tuple(story.sealed.values()),
        provider=rogue.address,
        expected=f"measurement {story.measurement.digest()}",
        found=f"measurement {setup.measure_image(image).digest()}",
        table="the platform's fault: the consumer gets all back, the penalty pays the nodes, the rest of it is burned",
        changes=lambda _record: {"rogue": -story.money.penalty},
    )


def _revoked(story: Story) -> Attempt:
    """Hospital B publishes a second file, and withdraws it between match and decision."""
    owner = story.parties.hospitals[1]
    sealed = owner.seal(
        story.parts["hospital_b"].csv(),
        draft_of(story, "hospital_b"),
        story.folder / "second-file",
        confirm_unencrypted_key=True,
    )
    owner.publish(sealed)
    return Attempt(
        title="Hospital B withdraws an asset after it was matched, before any node decided",
        rule="an owner can revoke at any block, with effect on every later acceptance and release",
        reason="asset_revoked",
        fault=Fault.TERMS_REFUSED,
        workload=story.workload.folder,
        assets=(story.sealed["hospital_a"], sealed),
        provider=story.parties.provider.address,
        expected=f"asset {sealed.asset_id} on sale",
        found="revoked",
        table="no party's fault: the consumer gets a refund, the provider is unharmed",
        changes=lambda _record: {"insurer": -_signatures(story)},
        after_match=lambda: owner.revoke(sealed.asset_id, sealed.version),
    )


def _submit(story: Story, attempt: Attempt) -> RequestHandle:
    """Sign a request, and submit its match to the contract."""
    insurer = story.parties.insurer
    wishes = [AssetWish(asset_id=sealed.asset_id) for sealed in attempt.assets]
    handle = insurer.request(attempt.workload, PARAMETERS, wishes, limits(story), story.result_key, post=False)
    deal = Match(
        request=handle.signed, compute=_offer(story, attempt.provider), offers=tuple(AssetOffer() for _ in wishes)
    )
    story.parties.purses["insurer"].sender.send(story.market.chain.market.match(deal))
    attempt.after_match()
    return handle


def _wait_match(story: Story, handle: RequestHandle) -> JobId:
    """Wait until a match is final, and show its parameters."""
    job_id = story.parties.insurer.wait_match(handle, timeout=60 + story.patience)
    story.parties.store.post_parameters(handle.request_hash, handle.parameters)
    return job_id


def _offer(story: Story, provider: Address) -> SignedComputeOrder:
    return next(signed for signed in story.parties.api.orders.compute_orders() if signed.order.provider == provider)


def _wait_refused(story: Story, job_id: JobId) -> JobRecord:
    try:
        story.parties.insurer.wait(job_id, timeout=180 + story.patience)
    except JobEndedOtherwise:
        return read_job(story.market.chain, job_id)
    raise StoryBroken(f"job {job_id} ran, and must not have")


def _show(story: Story, attempt: Attempt, record: JobRecord) -> None:
    reasons = reasons_in_words(record.reasons)
    money = [f"{NAMES[name]} {signed(change)}" for name, change in attempt.changes(record).items()]
    story.console.refusal(
        "Refused by the committee: " + ", ".join(reason.word.replace("_", " ") for reason in reasons),
        [
            ("rule", attempt.rule),
            ("expected", attempt.expected),
            ("found", attempt.found),
            ("what to do", reasons[0].remedy if reasons else ""),
            ("fault table", attempt.table),
            ("money", f"{', '.join(money)} (oracle signatures: {coin(_signatures(story))})"),
        ],
    )
    found = {reason.word for reason in reasons}
    if record.status is not Status.REFUSED or found != {attempt.reason} or record.fault is not attempt.fault:
        raise StoryBroken(
            f"expected {attempt.reason}, found {record.status.name}, {record.fault.name}, {sorted(found)}"
        )
