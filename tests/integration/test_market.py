"""The life of a job on a real chain, step by step through the SDK and the chain client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from sealmarket.chain import Chain, DevelopmentKeyRefused, Fault, Reverted, Sender, WrongChain
from sealmarket.chain.calls import Call
from sealmarket.chain.deploy import PARTS, deploy, write_book
from sealmarket.chain.events import AllowListReplaced, JobDecided, JobEnded, JobMatched, VersionPublished
from sealmarket.chain.layout import variable
from sealmarket.chain.ledger_events import AllOrdersCancelled
from sealmarket.chain.proof import ProofRefused, proven_account, proven_header
from sealmarket.cli.main import main
from sealmarket.client import JobRecord, Offer, SealedAsset, read_job
from sealmarket.client.accounts import create_account
from sealmarket.client.errors import JobEndedOtherwise
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason, reason_bits
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedComputeOrder
from sealmarket.receipts.bundle import gather_proof, read_proof, write_proof
from sealmarket.receipts.facts import chain_facts
from sealmarket.receipts.model import Conclusion, State, Trusted
from sealmarket.receipts.verify import verify_receipt
from sealmarket_backend.index import Index
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Wei, decode
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import terms_digest
from sealmarket_enclave.protocol.numbers import Grade, JobId, Tee
from sealmarket_enclave.sealed.result import seal_result
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.integration.market import PROMISE, EnclaveKeys, Market, development_account
from tests.patience import PATIENCE, until

EVIDENCE = keccak(b"evidence")


CHAINS = [
    pytest.param(lambda programs: chains.anvil(programs, "--block-time", "0.25"), id="anvil"),
    # A minute each, at a block a second: the same steps on chains without finality of their own.
    pytest.param(chains.hardhat, id="hardhat", marks=pytest.mark.long),
    pytest.param(chains.ganache, id="ganache", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=CHAINS)
def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with Supervisor(folder) as programs:
        chain = request.param(programs)
        market = Market(chain.url, folder, chain.finality)
        yield market
        market.close()


@pytest.fixture(scope="module")
def sealed(market: Market) -> SealedAsset:
    return market.ready()


@pytest.fixture
def job(market: Market, sealed: SealedAsset) -> JobRecord:
    return read_job(market.chain, market.match(market.request(sealed)), market.chain.head())


@pytest.fixture
def quoted(market: Market, job: JobRecord) -> JobRecord:
    market.provider_sender.send(market.chain.market.quote(job.spec, EVIDENCE))
    return read_job(market.chain, job.job_id, market.chain.head())


def now(market: Market, job_id: JobId) -> JobRecord:
    return read_job(market.chain, job_id, market.chain.head())


class NoText(Call):
    """A publication whose location is no text: what no client of ours sends."""

    @property
    def data(self) -> bytes:
        return Call(self.contract, self.to, self.function, self.arguments).data.replace(b"a mark", b"\xff\xfemark")


def test_a_location_that_is_no_text_halts_nobody(market: Market, sealed: SealedAsset) -> None:
    before = market.chain.head()
    call = market.chain.registry.publish(keccak(b"salt"), sealed.seal, sealed.terms, "a mark")
    mined = market.anybody.send(NoText(call.contract, call.to, call.function, call.arguments))
    (told,) = mined.events
    assert isinstance(told, VersionPublished)
    assert told.location == "\\xff\\xfemark"
    job_id = market.match(market.request(sealed))
    assert job_id in {getattr(event, "job_id", None) for event in market.chain.events(before.number, _final(market))}
    assert market.chain.about_asset(told.asset_id, market.chain.final()) == [told]
    with Database(None) as database:
        index = Index(database, market.chain, start=market.book.deployed_at)
        index.advance()
        assert index.job(job_id).status == "matched"
        assert index.asset(told.asset_id, 1).seal == sealed.seal


def _final(market: Market) -> int:
    """The newest final block, once what is now the newest block is final."""
    head = market.chain.head().number
    until("the newest block to be final", lambda: market.chain.final().number >= head)
    return market.chain.final().number


def test_a_publicly_known_key_is_refused_unless_its_caller_started_the_chain(market: Market) -> None:
    with pytest.raises(DevelopmentKeyRefused):
        Sender(market.chain, development_account(0))


def test_an_address_book_of_another_chain_is_refused(market: Market) -> None:
    elsewhere = Chain(replace(market.book, chain_id=1), market.rpc_url)
    with pytest.raises(WrongChain, match="expected 1"):
        elsewhere.head()
    elsewhere.close()


def test_a_stranger_cannot_quote_and_is_told_why(market: Market, job: JobRecord) -> None:
    with pytest.raises(Reverted, match="the signature over 0x") as refused:
        market.anybody.send(market.chain.market.quote(job.spec, EVIDENCE))
    assert refused.value.name == "BadSignature"
    assert refused.value.remedy


def test_a_second_quote_is_refused(market: Market, quoted: JobRecord) -> None:
    with pytest.raises(Reverted, match="is quoted, this step takes one that is matched"):
        market.provider_sender.send(market.chain.market.quote(quoted.spec, keccak(b"other")))


def test_an_edited_specification_is_refused(market: Market, job: JobRecord) -> None:
    edited = replace(job.spec, compute_price=Wei(1))
    with pytest.raises(Reverted, match="not what the job"):
        market.provider_sender.send(market.chain.market.quote(edited, EVIDENCE))


def test_one_node_does_not_make_a_quorum(market: Market, quoted: JobRecord) -> None:
    decision = market.decision(quoted.spec, EnclaveKeys(), EVIDENCE)
    with pytest.raises(Reverted, match="the quorum takes exactly 2"):
        market.anybody.send(market.chain.market.decide(quoted.spec, market.signed(decision, [1]), market.committee))


def test_a_refused_job_returns_the_money_and_says_the_reason(market: Market, quoted: JobRecord) -> None:
    bits = reason_bits([JobReason.WORKLOAD_NOT_ALLOWED.code])
    decision = market.decision(
        quoted.spec, EnclaveKeys(), EVIDENCE, outcome=Outcome.REQUEST_REFUSED, reasons=bits, grade=0
    )
    mined = market.anybody.send(market.chain.market.decide(quoted.spec, market.signed(decision), market.committee))
    ended = next(event for event in mined.events if isinstance(event, JobEnded))
    assert ended.fault is Fault.REQUEST_REFUSED
    assert ended.payout.stake_returned == 2 * 1000 + 700
    with pytest.raises(JobEndedOtherwise, match="workload_not_allowed"):
        market.consumer.wait(quoted.job_id, timeout=PATIENCE)


def test_a_smaller_number_of_uses_lets_a_job_that_is_not_yet_accepted_stand(
    market: Market, sealed: SealedAsset, quoted: JobRecord
) -> None:
    market.owner.tighten(sealed.asset_id, 1, max_uses=90)
    decision = market.decision(quoted.spec, EnclaveKeys(), EVIDENCE)
    mined = market.anybody.send(market.chain.market.decide(quoted.spec, market.signed(decision), market.committee))
    decided = next(event for event in mined.events if isinstance(event, JobDecided))
    assert decided.outcome is Outcome.ACCEPTED
    assert decided.fees_returned == quoted.spec.hold_fee


def test_a_list_replaced_meanwhile_turns_an_acceptance_into_a_refusal(
    market: Market, sealed: SealedAsset, quoted: JobRecord
) -> None:
    market.owner.replace_allow_list(sealed.asset_id, 1, [keccak(b"another leaf")])
    decision = market.decision(quoted.spec, EnclaveKeys(), EVIDENCE)
    mined = market.anybody.send(market.chain.market.decide(quoted.spec, market.signed(decision), market.committee))
    decided = next(event for event in mined.events if isinstance(event, JobDecided))
    assert decided.outcome is Outcome.TERMS_REFUSED
    assert decided.core.outcome is Outcome.ACCEPTED
    assert decided.core.epoch == 1
    assert now(market, quoted.job_id).status is Status.REFUSED


def test_terms_cannot_be_loosened(market: Market, sealed: SealedAsset) -> None:
    with pytest.raises(Reverted, match="terms only tighten"):
        market.owner.tighten(sealed.asset_id, 1, max_uses=200)


def test_a_new_allow_list_is_told_by_its_root_and_leaves_the_other_terms(market: Market, sealed: SealedAsset) -> None:
    before = market.chain.at(market.chain.head()).asset(sealed.asset_id, 1)
    mined = market.owner.replace_allow_list(sealed.asset_id, 1, [sealed.terms.allow_root])
    changed = next(event for event in mined.events if isinstance(event, AllowListReplaced))
    state = market.chain.at(market.chain.head()).asset(sealed.asset_id, 1)
    assert replace(before.terms, allow_root=changed.allow_root) == state.terms
    assert changed.terms_version == state.terms_version


def test_a_job_settles_and_everybody_is_paid(market: Market, sealed: SealedAsset) -> None:
    before = {who: market.free(who) for who in (market.owner, market.consumer, market.provider)}
    handle = market.request(sealed)
    market.match(handle)
    job_id = market.consumer.wait_match(handle, timeout=PATIENCE)
    record = now(market, job_id)
    market.provider_sender.send(market.chain.market.quote(record.spec, EVIDENCE))
    keys = EnclaveKeys()
    decision = market.decision(record.spec, keys, EVIDENCE)
    market.anybody.send(market.chain.market.decide(record.spec, market.signed(decision, [0, 1, 2]), market.committee))
    book = market.book
    envelope, container = seal_result(
        {"count.json": b"1"},
        [market.result_key.public],
        chain_id=book.chain_id,
        market=book.market,
        job_id=job_id,
        bucket=4096,
    )
    store = market.backend.store()
    result = store.put_document(envelope.canonical())
    store.put_container_bytes(envelope.content_root, container)
    word, signature = market.settlement(record.spec, keys, result, keccak(b"receipt"))
    market.anybody.send(market.chain.market.settle(record.spec, market.enclave(decision), word, signature))
    seen = market.consumer.wait(job_id, timeout=PATIENCE)
    assert seen.enclave == market.enclave(decision)
    assert market.consumer.open_result(job_id, market.result_key) == {"count.json": b"1"}
    market.consumer.acknowledge(job_id, on_chain=True)
    assert now(market, job_id).status is Status.MATURED
    fees = 2 * int(market.settings.tokens[ZERO_ADDRESS])
    assert market.free(market.owner) - before[market.owner] == 2 * 1000
    assert market.free(market.provider) - before[market.provider] == 500
    assert before[market.consumer] - market.free(market.consumer) == 2 * 1000 + 500 + fees


def test_after_all_orders_in_a_token_are_cancelled_only_new_ones_count(market: Market, sealed: SealedAsset) -> None:
    mined = market.provider_sender.send(market.chain.market.cancel_all_orders(ZERO_ADDRESS))
    (told,) = (event for event in mined.events if isinstance(event, AllOrdersCancelled))
    assert (told.token, told.generation) == (ZERO_ADDRESS, 1)
    handle = market.request(sealed)
    with pytest.raises(Reverted, match="of generation 0, only 1 counts"):
        market.match(handle)
    order = market.provider.offer(
        Offer(
            tee=Tee.TDX,
            grade=Grade.SIMULATED,
            price=Wei(500),
            penalty=Wei(700),
            volume=100,
            capability_hash=PROMISE.digest(),
        )
    )
    job = read_job(market.chain, market.match(handle), market.chain.head())
    assert job.matched.compute_order == order.struct_hash()
    assert market.chain.at(job.at).order_used(market.provider.address, order.struct_hash()) == 1


def test_events_are_the_same_by_range_and_by_job(market: Market, job: JobRecord) -> None:
    head = market.chain.head()
    ranged = [event for event in market.chain.events(0, head.number) if getattr(event, "job_id", 0) == job.job_id]
    assert ranged == market.chain.about_job(job.job_id, head)
    assert isinstance(ranged[0], JobMatched)


def test_a_past_block_still_shows_the_state_of_then(market: Market, job: JobRecord) -> None:
    then = market.chain.block(job.matched.at.block_number)
    market.provider_sender.send(market.chain.market.quote(job.spec, EVIDENCE))
    assert market.chain.at(then).job(job.spec.request_hash).status is Status.MATCHED
    assert now(market, job.job_id).status is Status.QUOTED


def test_an_interrupted_deployment_goes_on_and_sends_nothing_twice(market: Market, tmp_path: Path) -> None:
    progress = tmp_path / "deploying.json"
    parts: list[str] = []

    class Interrupted(Exception):
        pass

    def stop_after_the_first(part: object) -> None:
        raise Interrupted

    account = development_account(8)
    with pytest.raises(Interrupted):
        deploy(
            market.rpc_url, account, market.settings, development=True, progress=progress, report=stop_after_the_first
        )
    book = deploy(
        market.rpc_url,
        account,
        market.settings,
        development=True,
        progress=progress,
        report=lambda part: parts.append(f"{part.name} {'sent' if part.mined else 'kept'}"),
    )
    assert parts == ["AssetRegistry kept", *(f"{name} sent" for name in PARTS[1:])]
    again = deploy(market.rpc_url, account, market.settings, development=True, progress=progress)
    assert again == book


@pytest.fixture(scope="module")
def settled(market: Market, sealed: SealedAsset) -> JobId:
    """A job with a real receipt, settled."""
    handle = market.request(sealed)
    job_id = market.match(handle)
    record = now(market, job_id)
    market.provider_sender.send(market.chain.market.quote(record.spec, EVIDENCE))
    keys = EnclaveKeys()
    decision = market.decision(
        record.spec, keys, EVIDENCE, terms_digest=terms_digest(record.spec.assets, [sealed.seal, market.second.seal])
    )
    market.anybody.send(market.chain.market.decide(record.spec, market.signed(decision), market.committee))
    receipt, word, signature = market.finish(record.spec, keys, decision, [sealed.seal, market.second.seal])
    market.backend.store().put_document(receipt)
    market.anybody.send(market.chain.market.settle(record.spec, market.enclave(decision), word, signature))
    market.consumer.wait(job_id, timeout=PATIENCE)
    return job_id


def test_a_whole_job_is_held_against_the_chain_and_its_slot_proven_under_a_block_hash(
    market: Market, settled: JobId, tmp_path: Path
) -> None:
    proof = gather_proof(market.chain, market.backend.store(), settled)
    write_proof(tmp_path / "job.sealproof.json", proof)
    again = read_proof(tmp_path / "job.sealproof.json")
    assert verify_receipt(again, Trusted()).conclusion is Conclusion.CONSISTENT
    final = market.chain.final()
    for facts in (chain_facts(market.chain, settled), chain_facts(market.chain, settled, at=final.hash)):
        told = verify_receipt(again, Trusted(book=market.book, facts=facts))
        assert (told.failures, told.conclusion) == ((), Conclusion.INCOMPLETE)  # no nodes run in this market
    assert "a quorum signed it" in {check.what for check in told.checks_that_are(State.UNKNOWN)}
    assert facts.slot_proven


def test_a_proof_under_another_hash_is_refused(market: Market, settled: JobId) -> None:
    with pytest.raises(SealmarketError):
        chain_facts(market.chain, settled, at=keccak(b"a block that never was"))
    (slot,) = variable("Market", "_slots").slots(read_job(market.chain, settled).spec.request_hash)
    header = proven_header(market.chain.rpc, market.chain.final().hash)
    found = proven_account(market.chain.rpc, header, market.book.market, [slot, keccak(b"never written")])
    assert (found.words[0] > 0, found.words[1]) == (True, 0)
    with pytest.raises(ProofRefused, match="none at this address"):
        proven_account(market.chain.rpc, header, Address(b"\x77" * 20), [slot])


def test_an_auditor_verifies_with_one_command(
    market: Market, settled: JobId, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, book = tmp_path / "job.sealproof.json", tmp_path / "market.json"
    write_proof(proof, gather_proof(market.chain, market.backend.store(), settled))
    write_book(book, market.book)

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        code = ended.value.code
        return (code if isinstance(code, int) else 0), capsys.readouterr().out

    code, said = run("verify", str(proof))
    assert (code, "consistent, not proven" in said, "SIMULATED" in said) == (3, True, True)
    code, said = run("verify", str(proof), "--book", str(book), "--rpc", market.rpc_url, "--json")
    assert (code, json.loads(said)["conclusion"]) == (3, "incomplete")
    trusted = str(market.chain.final().hash)
    code, said = run("verify", str(proof), "--book", str(book), "--rpc", market.rpc_url, "--at", trusted)
    assert (code, "left out: a quorum signed it" in said) == (3, True)
    document = json.loads(proof.read_text())
    document["core"]["enclaveSigner"] = "0x" + "11" * 20
    proof.write_text(json.dumps(document))
    code, said = run("verify", str(proof), "--book", str(book), "--rpc", market.rpc_url)
    assert (code, "conclusion: refuted" in said) == (1, True)
    code, said = run("chain", "status", "--book", str(book), "--rpc", market.rpc_url)
    assert (code, "as the chain has it" in said) == (0, True)


def test_a_provider_stakes_offers_and_leaves_from_the_command_line(
    market: Market, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    book, key = tmp_path / "market.json", tmp_path / "provider.key"
    write_book(book, market.book)
    account = Address.parse(create_account(key).address.lower())
    market.anybody.transfer(account, 5 * 10**18)
    monkeypatch.setattr("sealmarket.cli._options.MarketApi", lambda _url: market.backend.api())

    def run(words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words.split(), "--book", str(book), "--rpc", market.rpc_url, "--key-file", str(key)])
        code = ended.value.code
        said = capsys.readouterr()
        return (code if isinstance(code, int) else 0), said.out, said.err

    assert run("provider stake 6coin")[0] == 1
    assert run("provider stake 3coin")[:1] == (0,)
    assert run("provider balance")[1].splitlines()[1:3] == [
        "  0 coin  free: sealmarket provider withdraw",
        "  3 coin  staked, and backs the next jobs",
    ]
    assert (
        "2 jobs on simulated TDX, 0.5 coin each"
        in run("provider offer --price 0.5coin --penalty 1coin --volume 2 --simulated")[1]
    )
    assert decode(SignedComputeOrder, market.backend.posted["compute-orders"][-1]).order.provider == account
    assert run("provider unstake 3coin")[0] == 0
    code, _, said = run("provider unstake")
    assert (code, "wait for the delay" in said) == (1, True)
    assert run("provider withdraw")[:2] == (0, "nothing is free\n")
    assert run("consumer deposit 1coin")[0] == 0
    assert run("consumer withdraw")[1] == "1 coin withdrawn\n"
