"""The story of one job: two hospitals sell the use of their patient data to an insurer who never sees a row of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from scripts.demo_story import own_data, setup, story
from scripts.demo_story.chain import return_coin
from scripts.demo_story.data import parts
from scripts.demo_story.proof import prove
from scripts.demo_story.refusals import refuse_all
from scripts.demo_story.stage import Stage, StoryResult
from scripts.demo_story.story import Story
from sealmarket_localnet.market import LocalMarket, coin

TITLE = (
    "Sealmarket: two hospitals, one insurer, and no other party sees a row",
    "Everything below is real: contracts, cryptography, processes, quotes in Intel's format.",
    "Only the silicon is not: a virtual TDX device with a development root stands in for it,",
    "and everything that it signs says [bold yellow]SIMULATED[/].",
)


def perform(stage: Stage) -> StoryResult:
    """Run it, on a chain that runs. Raises :class:`StoryBroken`, and whatever a party raises."""
    state = _prepare(stage, stage.start_market())
    story.seal_and_publish(state)
    story.offer_compute(state)
    with ThreadPoolExecutor(max_workers=1) as home:
        story.train_at_home(state, home)
        job_id = story.request(state)
        story.attest_and_compute(state, job_id)
        story.open_and_score(state)
    story.count_money(state)
    refuse_all(state)
    prove(state)
    if stage.chain.bank_key is not None and not stage.keep:
        with stage.console.step("return_coin", "The coin that is left returns to the account that paid"):
            returned = return_coin(state.market)
        stage.console.say(f"[dim]{coin(returned)} coins returned[/]", indent=5)
    facts = {
        "job": str(state.job.job_id) if state.job else None,
        "scores": {name: round(score, 6) for name, score in state.scores.items()},
        **state.facts,
    }
    return StoryResult(
        market=state.market,
        facts=facts,
        outputs=state.outputs,
        paths=tuple(state.folder.glob("*.sealproof.json")),
        show_kept=lambda: own_data.show_commands(state, own_data.prepare(state)),
        next_steps="[bold]scripts/test[/], or your own data: README.md, “Your own data”.",
    )


def _prepare(stage: Stage, market: LocalMarket) -> Story:
    """Prepare image, workload and accounts."""
    console, folder = stage.console, stage.folder
    with console.step("image", "The enclave image is built, and measured by those who will trust it"):
        image, measurement = setup.prepare_image(folder / "image")
    with console.step("workload", "The workload's dependencies are locked, file by file"):
        workload = setup.prepare_workload(story.WORKLOAD, folder / "workload")
    with console.step("purses", "Each party gets an account of its own"):
        parties = setup.create_parties(market)
    return Story(
        console=console,
        market=market,
        folder=folder,
        parts=parts(),
        workload=workload,
        image=image,
        measurement=measurement,
        parties=parties,
        result_key=story.result_key(folder),
        money=stage.chain.money,
        patience=stage.chain.patience,
    )
