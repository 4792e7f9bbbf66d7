"""The story: two hospitals sell the use of their patient data to an insurer who never sees a row of it.

Each act is a function over one :class:`Story`; only the silicon is simulated, by a virtual TDX
device with a root of its own. The story fails where a result differs from what the text claims: when the pooled model
does not beat each hospital's own, when money is missing, when a job that must be refused runs.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.demo_story import setup
from scripts.demo_story.baseline import train_alone
from scripts.demo_story.console import StoryConsole
from scripts.demo_story.data import TARGET, Part
from scripts.demo_story.money import Money
from scripts.demo_story.score import auc
from scripts.demo_story.stage import StoryBroken
from scripts.toolchain import ROOT
from sealmarket.attestation.intel.measurement import TdxMeasurement
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.client import AssetWish, DraftTerms, JobLimits, PolicyDraft, SealedAsset, create_result_key
from sealmarket.client.jobs import JobRecord, read_job, reasons_in_words
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.decisions import grade_name
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Uint64, to_builtins
from sealmarket_enclave.protocol.numbers import Grade, JobId, Tee
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_localnet.market import LocalMarket, coin

WORKLOAD = ROOT / "workloads" / "train_gradient_boosting"
PARAMETERS = {
    "target": TARGET,
    "task": "classification",
    "n_estimators": 200,
    "max_depth": 4,
    "learning_rate": 0.05,
}
NAMES = {
    "hospital_a": "Hospital A",
    "hospital_b": "Hospital B",
    "insurer": "Insurer",
    "provider": "Provider",
    "rogue": "Rogue provider",
}
DAY = 86_400
CONSENT_MODEL_BYTES = 4 << 20
BUCKET_BYTES = 1 << 16
PROMISED_MEMORY, PROMISED_CIPHERTEXT, PROMISED_THREADS = 8 << 30, 1 << 30, 8


@dataclass(slots=True)
class Story:
    """The state of the story: each act adds what it finds."""

    console: StoryConsole
    market: LocalMarket
    folder: Path
    parts: dict[str, Part]
    workload: setup.PreparedWorkload
    image: Path
    measurement: TdxMeasurement
    parties: setup.Parties
    result_key: PrivateKey
    money: Money
    patience: float
    """Seconds that waiting for final blocks may take longer than on a local chain."""
    before: dict[str, int] = field(default_factory=dict)
    sealed: dict[str, SealedAsset] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)
    baselines: dict[str, Future[bytes]] = field(default_factory=dict)
    """What each hospital makes of its own rows, trained beside the market while that waits for blocks."""
    job: JobRecord | None = None
    refused: dict[str, JobRecord] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the JSON document names beside scores and times."""

    @property
    def promise(self) -> Capability:
        """What a provider promises in its order: this enclave, and room for the story's work."""
        return Capability(
            tee=Tee.TDX,
            measurements=(to_builtins(self.measurement),),
            platform_classes=(),
            memory_bytes=Uint64(PROMISED_MEMORY),
            threads=PROMISED_THREADS,
            environments=(),
            ciphertext_bytes=Uint64(PROMISED_CIPHERTEXT),
        )

    def balances(self) -> dict[str, int]:
        """What each party owns inside the market: free and staked, in wei."""
        head = self.market.chain.at(self.market.chain.head())
        names = (*setup.HOSPITALS, "insurer", "provider", "rogue")
        accounts = {name: head.account(ZERO_ADDRESS, self.parties.purses[name].address) for name in names}
        return {name: account.free + account.staked for name, account in accounts.items()}


def seal_and_publish(story: Story) -> None:
    """Each hospital encrypts its rows at home, splits the key over the oracle nodes, and publishes its terms."""
    story.console.act(
        "Two hospitals seal their data and publish their terms",
        "Rows are encrypted at home. The key is split 2 of 3: no single oracle node can open anything.",
        f"Allowed: this one enclave ({str(story.measurement.digest())[:12]}…) with this one workload "
        f"({str(story.workload.digest)[:12]}…).",
    )
    for name, owner in zip(setup.HOSPITALS, story.parties.hospitals, strict=True):
        rows = story.parts[name]
        with story.console.step(f"seal_{name}", f"{NAMES[name]} seals {len(rows.rows):,} rows and publishes them"):
            sealed = owner.seal(rows.csv(), draft_of(story, name), story.folder / name, confirm_unencrypted_key=True)
            owner.publish(sealed)
        story.sealed[name] = sealed
        story.console.say(
            f"[dim]left the house: ciphertext {str(sealed.seal.content_root)[:14]}…, three sealed shares, a policy; "
            f"price {coin(story.money.prices[name])} a use[/]",
            indent=5,
        )


def draft_of(story: Story, name: str) -> PolicyDraft:
    """A hospital's policy: this enclave, this workload, these prices; what leaves is a model of both hospitals."""
    part = story.parts[name]
    rules = AppraisalPolicy(measurements=(story.measurement,), platforms="any", lowest_grade="simulated")
    now = story.market.chain.head().timestamp
    return PolicyDraft(
        title=f"{NAMES[name]}: outpatient visits",
        evidence=to_builtins(rules),
        workloads=(story.workload.digest,),
        terms=DraftTerms(
            price=story.money.prices[name],
            expiry=now + 30 * DAY,
            max_uses=100,
            purposes=("train",),
            min_grade="simulated",
        ),
        output=OutputRules(
            media_types=("application/json", "application/onnx"),
            max_outputs=2,
            max_bytes=CONSENT_MODEL_BYTES + 4096,
            bucket_bytes=BUCKET_BYTES,
            minimum_owners=2,
        ),
        data_card=to_builtins(setup.describe_rows(part.csv(), "RAND Health Insurance Experiment")),
    )


def offer_compute(story: Story) -> None:
    """A provider stakes, and offers an enclave."""
    provider = story.parties.provider
    with story.console.step(
        "offer", f"A provider stakes {coin(story.money.stake)} and offers a TDX enclave (SIMULATED)"
    ):
        provider.stake(story.money.stake)
        story.parties.store.put_document(story.promise.canonical())
        provider.offer(story.money.offer(story.promise, volume=100))
    with story.console.step("worker", "Its worker starts and follows the market"):
        story.market.start_worker(story.parties.purses["provider"], story.workload.wheels)


def limits(story: Story) -> JobLimits:
    """What the insurer pays at most and waits for. Short windows, so that no party waits long for an end."""
    more = round(story.patience)
    return JobLimits(
        max_compute_price=story.money.compute_price,
        min_grade=Grade.SIMULATED,
        capabilities=(story.promise.digest(),),
        quote_window=120 + more,
        decide_window=120 + more,
        settle_window=1200 + more,
        challenge_window=60,
    )


def train_at_home(story: Story, pool: ThreadPoolExecutor) -> None:
    """Each hospital trains on its own rows, outside the market: what pooling has to beat."""
    for name in setup.HOSPITALS:
        story.baselines[name] = pool.submit(train_alone, story.workload, story.parts[name].csv(), PARAMETERS)


def request(story: Story) -> JobId:
    """The insurer pays in, signs one request over both assets, and waits for the match."""
    insurer = story.parties.insurer
    total = sum(story.money.prices.values()) + story.money.compute_price
    story.console.act(
        "The insurer asks for one model, trained on both",
        "A signed request: this workload, these two assets, at most these prices, the result sealed to my key.",
    )
    with story.console.step("deposit", f"The insurer deposits {coin(story.money.deposit)}"):
        insurer.deposit(story.money.deposit)
    story.before = story.balances()
    wishes = [AssetWish(asset_id=sealed.asset_id) for sealed in story.sealed.values()]
    with story.console.step(
        "match", f"The market matches it: {coin(total)} and fees in escrow, the provider's stake locked"
    ):
        handle = insurer.request(story.workload.folder, PARAMETERS, wishes, limits(story), story.result_key)
        job_id = insurer.wait_match(handle, timeout=120 + story.patience)
    story.console.say(f"[dim]job {job_id}[/]", indent=5)
    return job_id


def attest_and_compute(story: Story, job_id: JobId) -> None:
    """Evidence hash on chain, three decisions, shares released, training, settlement: followed as it happens."""
    story.console.act(
        "An enclave proves itself, and only then gets the keys",
        "Its quote names this job and its own fresh keys; the hash goes on chain before any oracle node looks.",
    )
    steps = {
        Status.QUOTED: ("quote", "The enclave starts; the hash of its evidence is on chain"),
        Status.ACCEPTED: ("decision", "Oracle nodes verify it with Intel's rules, each for itself, and 2 of 3 sign"),
        Status.SETTLED: ("compute", "Shares are released, the model is trained in a sandbox, sealed, and settled"),
    }
    for status, (name, text) in steps.items():
        with story.console.step(name, text):
            record = _reach(story, job_id, status)
        if status is Status.ACCEPTED:
            _show_signers(story, record)
    story.job = record


def _reach(story: Story, job_id: JobId, status: Status) -> JobRecord:
    timeout = 240 + story.patience
    deadline = time.monotonic() + timeout
    while True:
        record = read_job(story.market.chain, job_id)
        if record.status >= Status.REFUSED:  # the ends that are no success
            raise StoryBroken(f"job {job_id} ended as {record.status.name.lower()}: {_because(record)}")
        if record.status >= status:
            return record
        story.market.programs.require_running()
        if time.monotonic() > deadline:
            logs = story.market.programs.logs
            raise StoryBroken(f"job {job_id} is {record.status.name.lower()} after {timeout:.0f} s; the logs: {logs}")
        time.sleep(0.2)


def _because(record: JobRecord) -> str:
    return "; ".join(f"{reason.word}: {reason.remedy}" for reason in reasons_in_words(record.reasons))


def _show_signers(story: Story, record: JobRecord) -> None:
    decision = record.decision
    if decision is None or record.decided is None:
        raise StoryBroken("an accepted job without a decision")
    nodes = " and ".join(map(str, record.decided.signers))
    story.console.say(
        f"[dim]signed by nodes {nodes}; grade [bold yellow]{grade_name(decision.grade).upper()}[/]: "
        "a development root stands behind it, no hardware[/]",
        indent=5,
    )


def open_and_score(story: Story) -> None:
    """The insurer opens the result and scores it on its own people, beside each hospital's own model."""
    if story.job is None:
        raise StoryBroken("there is no job yet")
    story.console.act(
        "The insurer opens the sealed model",
        "Only its result key opens it. It is scored on the insurer's own people, whom no model has seen.",
    )
    with story.console.step("open", "The result is fetched, opened, and acknowledged: the provider is paid"):
        story.outputs = story.parties.insurer.open_result(story.job.job_id, story.result_key)
        story.parties.insurer.acknowledge(story.job.job_id)
        story.job = _reach(story, story.job.job_id, Status.MATURED)
    with story.console.step("baseline", "Meanwhile each hospital trained the same workload on its own rows, at home"):
        for name, model in story.baselines.items():
            story.scores[name] = auc(model.result(), story.parts["insurer"])
    story.scores["pooled"] = auc(story.outputs["model.onnx"], story.parts["insurer"])
    low = min(story.scores.values()) - 0.02
    high = max(story.scores.values()) + 0.005
    story.console.bars(
        "Who will need a doctor often? Area under the ROC curve, on people whom no model has seen",
        [
            ("Hospital A alone", story.scores["hospital_a"], "blue"),
            ("Hospital B alone", story.scores["hospital_b"], "blue"),
            ("Both, sealed", story.scores["pooled"], "green"),
        ],
        low=round(low, 2),
        high=round(high, 2),
    )
    for name in setup.HOSPITALS:
        if story.scores["pooled"] <= story.scores[name]:
            raise StoryBroken(f"pooled {story.scores['pooled']:.4f} does not beat {name} {story.scores[name]:.4f}")


def count_money(story: Story) -> None:
    """Balances before and after, and who learned what."""
    after = story.balances()
    rows = [
        (NAMES[name], coin(story.before[name]), coin(after[name]), signed(after[name] - story.before[name]))
        for name in story.before
        if story.before[name] or after[name]
    ]
    fees = sum(story.before.values()) - sum(after.values())
    rows.append(("Oracle nodes, for their signatures", coin(0), coin(fees), signed(fees)))
    story.console.act("Each party is paid, exactly")
    story.console.table("Inside the market, in coins", ("", "before", "after", "change"), rows, right=(1, 2, 3))
    for name in setup.HOSPITALS:
        if after[name] - story.before[name] != story.money.prices[name]:
            raise StoryBroken(f"{name} got {after[name] - story.before[name]}, expected {story.money.prices[name]}")
    if after["provider"] - story.before["provider"] != story.money.compute_price or fees <= 0:
        raise StoryBroken("the provider or the oracle nodes were not paid as agreed")
    story.facts["balances"] = {
        name: {"before": str(story.before[name]), "after": str(after[name])} for name in story.before
    }
    story.console.table(
        "Who learned what",
        ("", "rows of A", "rows of B", "the model", "that the job ran"),
        [
            ("Hospital A", "its own", "no", "no", "yes"),
            ("Hospital B", "no", "its own", "no", "yes"),
            ("Insurer", "no", "no", "yes", "yes"),
            ("Provider", "sizes", "sizes", "its size", "yes"),
            ("Each oracle node", "no", "no", "no", "yes"),
            ("All others", "no", "no", "no", "yes"),
        ],
    )


def signed(change: int) -> str:
    return f"{'+' if change > 0 else '-' if change < 0 else '±'}{coin(abs(change))}"


def result_key(folder: Path) -> PrivateKey:
    """The insurer's result key, its backup written first."""
    return create_result_key(folder / f"result-{secrets.token_hex(4)}.key", confirm_unencrypted=True, about="demo")
