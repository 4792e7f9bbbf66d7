"""The story of private inference: a model answers two users, and its provider reads neither weights nor prompts.

Each act is a function over one :class:`Service`. The story fails where a result differs from what the text claims: when
an answer is not the plain one, when a receipt does not hold, when a coin is missing, when a revoked model still answers
after its lease.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from scripts.demo_story.inference import parts
from scripts.demo_story.inference.ending import close_all, count, revoke
from scripts.demo_story.inference.parts import NAMES, USERS
from scripts.demo_story.inference.state import WORKER, Service
from scripts.demo_story.inference.users import User, start_user
from scripts.demo_story.stage import Stage, StoryBroken, StoryResult
from sealmarket.client import AssetWish, Consumer
from sealmarket.client.jobs import JobRecord, read_job, reasons_in_words
from sealmarket.client.offered_services import OfferedService, ServiceFinder, ServiceWish
from sealmarket.client.services import ServiceMaker
from sealmarket.client.tabs import opened_terms
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.local_session import LocalSession
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_localnet.market import coin
from sealmarket_localnet.processes import free_port

TITLE = (
    "Sealmarket: a language model answers, and its provider reads neither weights nor prompts",
    "Everything below is real: the model, contracts, cryptography, processes, quotes in Intel's format.",
    "Only the silicon is not: a virtual TDX device with a development root stands in for it,",
    "and everything that it signs says [bold yellow]SIMULATED[/].",
)
ASKED: dict[str, dict[str, Any]] = {
    "user_a": {
        "model": parts.MODEL_NAME,
        "messages": [{"role": "user", "content": "I have a headache. What may help me? Answer in one short sentence."}],
        "temperature": 0,
        "max_tokens": 48,
    },
    "user_b": {
        "model": parts.MODEL_NAME,
        "messages": [{"role": "user", "content": "What does a notary do? Answer in one sentence."}],
        "temperature": 0,
        "max_tokens": 48,
    },
}
_WEIGHTS_SAMPLE = 64


def perform(stage: Stage) -> StoryResult:
    """Run it. Raises :class:`StoryUnavailable`, :class:`StoryBroken`, and whatever a party raises."""
    with stage.console.step("fetch", "A real model (98 MB), its engine and OpenAI's client are fetched, once, by hash"):
        fetched = parts.fetch(stage.folder)
    market = stage.start_market()
    with stage.console.step("cast", "Each party gets an account; the enclave image is built and measured"):
        cast = parts.create_cast(market)
    service = Service(stage=stage, market=market, fetched=fetched, cast=cast)
    with closing(cast):
        _seal(service)
        _serve(service)
        _open_tabs(service)
        _ask(service)
        _check_receipts(service)
        _compare(service)
        _search(service)
        _redeem(service)
        if not stage.keep:
            revoke(service)
            close_all(service)
            count(service)
    return StoryResult(
        market=market,
        facts={"job": str(service.job_id), **service.facts},
        outputs={f"{name}.txt": text.encode() for name, text in service.answers.items()},
        show_kept=partial(_show_kept, service),
        next_steps="a model of your own: docs/inference.md, or docs/roles/provider.md to serve one.",
    )


def _seal(service: Service) -> None:
    stage, cast = service.stage, service.cast
    draft = parts.policy(cast, service.fetched, service.market.chain.head().timestamp)
    stage.console.act(
        "A model's owner seals the weights and says under which terms they may answer",
        "Allowed: one enclave, one engine, text and nothing else, at a price for each token.",
    )
    size = len(service.fetched.model) / 1e6
    with stage.console.step("seal", f"{parts.MODEL_NAME} ({size:.0f} MB) is encrypted at home, its key split 2 of 3"):
        folder = stage.folder / "sealed"
        service.sealed = cast.owner.seal(service.fetched.model, draft, folder, confirm_unencrypted_key=True)
    with stage.console.step("publish", "Ciphertext, sealed shares and terms are published"):
        cast.owner.publish(service.sealed, steps=[service.fetched.meter.folder])
    stage.console.say(
        f"[dim]{coin(parts.OPENING_PRICE)} for each opening, {coin(parts.ROYALTY)} for each token; "
        f"at most {parts.LEASE:,} tokens and {parts.LEASE_SECONDS} s between two renewals; tokens are counted by a "
        "meter of the owner's choice, whatever the engine says[/]",
        indent=5,
    )


def _serve(service: Service) -> None:
    stage, market, cast = service.stage, service.market, service.cast
    stage.console.act(
        "A provider serves the model",
        "Its enclave proves itself; the nodes check it for themselves, and only then release the key of the weights.",
    )
    with stage.console.step("stake", f"The provider stakes {coin(parts.STAKE)} and starts a worker for services"):
        cast.provider.stake(parts.STAKE)
        purse, listen = cast.purses["provider"], f"127.0.0.1:{free_port()}"
        purse.sender.send(market.chain.market.deposit(ZERO_ADDRESS, parts.DEPOSIT))
        market.start_worker(purse, service.fetched.wheels, name=WORKER, image=cast.image, listen=listen)
    service.url, service.before = f"http://{listen}", service.balances()
    with stage.console.step("match", "It signs order and request of the service, and the market matches them"):
        maker = ServiceMaker(market.chain, purse.account, cast.store, cast.api)
        assert service.sealed is not None
        wish = AssetWish(asset_id=service.sealed.asset_id, version=service.sealed.version)
        key = PrivateKey.generate()
        made = maker.compose(service.fetched.bundle, parts.PARAMETERS, [wish], parts.PLAN, key)
        service.made, service.job_id = made, maker.make(made, market.folder / WORKER)
    stage.console.say(f"[dim]service {service.job_id}[/]", indent=5)
    with stage.console.step("accept", "The enclave's evidence is on chain; 2 of 3 oracle nodes accept it") as now:
        service.wait("the enclave is accepted", partial(_reached, service, Status.ACCEPTED, now))
    with stage.console.step("open", "The weights are opened inside, and the service is on chain with its bond"):
        service.wait("the service is open", lambda: service.state.bond >= made.bond)


def _reached(service: Service, wanted: Status, now: Callable[[str], None]) -> bool:
    record: JobRecord = read_job(service.market.chain, service.job_id)
    now(record.status.name.lower())
    if record.status >= Status.REFUSED:
        reasons = "; ".join(f"{reason.word}: {reason.remedy}" for reason in reasons_in_words(record.reasons))
        raise StoryBroken(f"the service ended as {record.status.name.lower()}: {reasons}")
    return record.status >= wanted


def _open_tabs(service: Service) -> None:
    stage, market = service.stage, service.market
    stage.console.act(
        "Two users find the service, open tabs, and verify it for themselves",
        "`sealmarket infer proxy` checks market, decision, evidence and key, and then answers on the user's machine.",
    )
    with stage.console.step("find", "The market lists it, where its provider says; price and terms are the chain's"):
        found = service.wait("the market lists the service", partial(_listed, service))
        terms = opened_terms(market.chain, found.job_id)
    with stage.console.step("tabs", f"Each locks {coin(parts.TAB)}: no more than that can ever be charged"):
        for name in USERS:
            account = market.purses[name].account
            Consumer(market.chain, account, service.cast.store, service.cast.api).deposit(parts.TAB)
            service.before[name] = service.balances()[name]
            service.tabs(name).open(found.spec, terms, parts.TAB)
    with (
        stage.console.step("prove", "Each starts a proxy, which verifies the service and then listens"),
        ThreadPoolExecutor() as side_by_side,
    ):
        model = str(found.spec.assets[0].asset_id)
        started = side_by_side.map(lambda name: start_user(market, name, service.job_id, "--asset", model), USERS)
        service.users = dict(zip(USERS, started, strict=True))
    shown = service.users["user_a"].shown
    for line in shown[shown.index(f"  workload {found.spec.workload_digest}") : -1]:
        stage.console.say(f"[dim]{line.strip()}[/]", indent=5)
    with stage.console.step("renewal", "The nodes renew the service's lease, and name both tabs in it"):
        for user in service.users.values():
            service.wait(f"{user.name} is served", partial(_is_served, user))


def _listed(service: Service) -> OfferedService | None:
    assert service.sealed is not None
    wish = ServiceWish(asset=service.sealed.asset_id, simulated=True)
    return next(iter(ServiceFinder(service.market.chain, service.cast.api).find(wish)), None)


def _is_served(user: User) -> bool:
    return user.status() == 200


def _ask(service: Service) -> None:
    stage, client = service.stage, service.fetched.client
    stage.console.act(
        "Both ask at once, with OpenAI's own client",
        "Nothing but the address is changed in it. Each answer comes from a process that serves this user alone.",
    )
    with ThreadPoolExecutor(max_workers=1) as other:
        second = other.submit(lambda: list(service.users["user_b"].stream(client, ASKED["user_b"])))
        pieces = {"user_a": service.users["user_a"].stream(client, ASKED["user_a"])}
        for name in USERS:
            stage.console.say(f"[dim]{NAMES[name]}: {ASKED[name]['messages'][0]['content']}[/]", indent=5)
            came = pieces.get(name) or second.result()
            service.answers[name] = stage.console.stream(f"{NAMES[name]} reads:", came)
    if not all(service.answers.values()):
        raise StoryBroken(f"an answer is empty: {service.answers}")
    service.facts["answers"] = dict(service.answers)


def _check_receipts(service: Service) -> None:
    """Signed receipts for all, and one answer whose bodies the user kept."""
    stage, rows = service.stage, []
    stage.console.act(
        "Each answer has a receipt",
        "The enclave signs weights, engine, request, answer and cost. The request's own secret salts the hashes.",
    )
    with stage.console.step(
        "receipts", "The receipts are checked offline; of one the user kept both bodies, and its meter counts again"
    ):
        user, fetched = service.users["user_a"], service.fetched
        meter = (fetched.meter.folder, fetched.wheels)
        asked, answered, name = user.whole(ASKED["user_a"], stage.folder)
        if not user.holds(name, asked, answered, *meter):
            raise StoryBroken(f"receipt {name} does not hold for the bodies that were kept")
        answered.write_bytes(answered.read_bytes() + b" ")
        if user.holds(name, asked, answered, *meter):
            raise StoryBroken(f"receipt {name} holds for an answer that was changed")
        for user in service.users.values():
            found = user.receipts
            rows.append((NAMES[user.name], str(len(found)), f"{user.units:,}", "[green]hold[/]"))
    stage.console.table("sealmarket infer receipts", ("", "receipts", "tokens", ""), rows, right=(1, 2))
    stage.console.say(
        "[dim]Each user had tried first whether it is served, and User A asked once more to keep both bodies. "
        "An answer with one byte more is refused.[/]",
        indent=5,
    )
    service.facts["receipts"] = {user.name: len(user.receipts) for user in service.users.values()}


def _compare(service: Service) -> None:
    """The same questions to the same workload without seal, market and enclave."""
    stage, fetched = service.stage, service.fetched
    values = fetched.bundle.manifest.check_parameters(parts.PARAMETERS)
    with (
        stage.console.step(
            "plain", "The same questions to the same model, served plainly: the same text and tokens, to the letter"
        ),
        LocalSession(fetched.bundle, fetched.environment, {"model": fetched.model}, values) as session,
    ):
        for name, said in service.answers.items():
            whole = json.loads(b"".join(session.ask("chat", json.dumps(ASKED[name]).encode(), 4096)))
            plain = whole["choices"][0]["message"]["content"]
            if plain != said:
                raise StoryBroken(f"{NAMES[name]} read {said!r}, and plain serving says {plain!r}")
            used, charged = session.used, service.users[name].charged
            assert used is not None
            if (used.prompt_units, used.output_units) not in charged:
                raise StoryBroken(f"{NAMES[name]} paid for one of {charged}, and plain serving counts {used}")
    service.facts["equalToPlain"] = True


def _search(service: Service) -> None:
    """Look for questions, answers and weights in every file that a party other than a user or the owner wrote."""
    middle = len(service.fetched.model) // 2
    secrets = {"weights": service.fetched.model[middle : middle + _WEIGHTS_SAMPLE]}
    for name in USERS:
        secrets[f"the question of {NAMES[name]}"] = ASKED[name]["messages"][0]["content"].encode()
        secrets[f"the answer of {NAMES[name]}"] = service.answers[name].encode()
    folder = service.market.folder
    theirs = [folder / WORKER, folder / "backend", *folder.glob("oracle-*"), folder / "logs"]
    with service.stage.console.step("search", "Every file of provider, backend and oracle nodes is searched for them"):
        count = searched(theirs, secrets)
    service.stage.console.table(
        f"Who learned what: none of it is in {count} files of theirs",
        ("", "weights", "prompts and answers", "who asked, when, how long"),
        [
            ("Model owner", "its own", "no", "tokens paid"),
            ("User A", "no", "its own", "its own"),
            ("User B", "no", "its own", "its own"),
            ("Provider", "size", "padded sizes", "yes"),
            ("Each oracle node", "no", "no", "who has a tab"),
            ("All others", "no", "no", "tokens paid"),
        ],
    )


def searched(roots: Iterable[Path], secrets: Mapping[str, bytes]) -> int:
    """How many files there are, in none of which a secret stands. Raises :class:`StoryBroken`."""
    count = 0
    for path in (path for root in roots for path in root.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        with suppress(FileNotFoundError):  # the programs run, and remove what they need no more
            content = path.read_bytes()
            count += 1
            for what, secret in secrets.items():
                if secret in content:
                    raise StoryBroken(f"{path.name} holds {what}")
    return count


def _redeem(service: Service) -> None:
    stage = service.stage
    stage.console.act(
        "The enclave's statement is redeemed on chain",
        "It says how many tokens each user had. The host posts it; the tabs pay, and the owner's part is set aside.",
    )
    with stage.console.step("redeem", "The tabs pay what the receipts say") as now:
        for user in service.users.values():
            service.wait(f"{user.name} has paid", partial(_paid, service, user, now))
    service.facts["redeemed"] = int(service.state.redeemed)


def _paid(service: Service, user: User, now: Callable[[str], None]) -> bool:
    paid, due = service.tabs(user.name).status(service.job_id).tab.paid, user.units * parts.UNIT_PRICE
    now(f"{NAMES[user.name]} {coin(paid)} of {coin(due)}")
    if paid > due:
        raise StoryBroken(f"{NAMES[user.name]} paid {paid}, and its receipts say {due}")
    return bool(paid == due)


def _show_kept(service: Service) -> None:
    """Where the service and the proxies are."""
    users = [(f"{NAMES[user.name]}'s proxy, for OpenAI's clients", user.url) for user in service.users.values()]
    service.stage.console.table(
        "Still running; Ctrl-C ends it",
        ("what", "where"),
        [
            *users,
            ("the provider's host", service.url),
            ("market page", f"{service.market.book.backend}/"),
            ("chain", service.market.rpc),
            ("address book", str(service.market.book_file)),
            ("logs", str(service.market.programs.logs)),
        ],
    )
    url = service.users["user_a"].url
    body = '{"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'
    service.stage.console.commands(
        "Ask it yourself",
        [
            f"curl -N {url}/chat/completions -H 'content-type: application/json' -d '{body}'",
            f'{service.fetched.client} -c \'from openai import OpenAI; c = OpenAI(base_url="{url}", api_key="none"); '
            "print(c.models.list().data[0].id)'",
        ],
    )
