"""The last act: an auditor verifies the whole job from its proof bundle, and trusts no party."""

from __future__ import annotations

from scripts.demo_story.stage import StoryBroken
from scripts.demo_story.story import Story
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.receipts.bundle import SUFFIX, gather_proof, write_proof
from sealmarket.receipts.facts import chain_facts
from sealmarket.receipts.model import Conclusion, Trusted
from sealmarket.receipts.verify import verify_receipt

_MARKS = {"ok": "[green]ok[/]", "failed": "[red]failed[/]", "unknown": "[yellow]unknown[/]"}


def prove(story: Story) -> None:
    """Write the consumer's proof bundle, and verify it as an auditor would, under a block hash named by the reader."""
    if story.job is None:
        raise StoryBroken("there is no job to prove")
    story.console.act(
        "An auditor checks it all afterwards",
        "One file holds what the job left behind. The auditor knows the market's address, one block hash, and the root",
        "that the evidence has to end in; nothing in the file is trusted.",
    )
    job_id, market = story.job.job_id, story.market
    path = story.folder / f"{str(job_id)[2:14]}{SUFFIX}"
    with story.console.step("proof", "Policies, evidence, decisions, releases, receipt and settlement are checked"):
        evidence = story.parties.insurer.evidence(job_id, story.result_key)
        bundle = gather_proof(market.chain, story.parties.store, job_id, evidence=evidence)
        write_proof(path, bundle)
        roots = TrustAnchors.production().with_development(market.root_file.read_bytes())
        facts = chain_facts(market.chain, job_id, at=market.chain.final().hash)
        report = verify_receipt(bundle, Trusted(book=market.book, facts=facts, roots=roots))
    rows = [
        (f"{step.number}. {step.name}", _MARKS[step.state.value], step.about, str(len(step.checks)))
        for step in report.steps
    ]
    story.console.table(
        f"sealmarket verify {path.name}: {report.conclusion.value}"
        + (", evidence SIMULATED" if report.simulated else ""),
        ("step", "", "what it is about", "checks"),
        rows,
        right=(3,),
    )
    story.facts["verified"] = {"conclusion": report.conclusion.value, "simulated": report.simulated}
    if report.conclusion is not Conclusion.PROVEN or not report.simulated:
        raise StoryBroken(f"expected a proven, simulated job, found {report.conclusion.value}: {report.failures}")
