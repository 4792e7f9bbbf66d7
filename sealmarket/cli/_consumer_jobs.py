"""`consumer status`, `watch`, `fetch`, `challenge`, `explain`: from the match to the ending, by final blocks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from msgspec import UNSET

from sealmarket.chain import Chain
from sealmarket.chain.events import JobChallenged
from sealmarket.cli._asking import pasted, progress
from sealmarket.cli._consumer_request import address_of
from sealmarket.cli._job_text import explain_lines, explain_payload, status_lines, status_payload
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PassphraseFile,
    PriorityFee,
    RpcUrl,
    answer,
    hash_option,
    home_folder,
    load_key,
    market,
    sending,
)
from sealmarket.cli._plain import harmless
from sealmarket.cli._profile import next_command
from sealmarket.cli._quote_text import quote_lines, quote_payload
from sealmarket.cli._request_options import open_result_key
from sealmarket.client.consumer import Consumer
from sealmarket.client.explain import meaning
from sealmarket.client.jobs import JobRecord
from sealmarket.client.sent import SentRequests
from sealmarket.client.standing import RequestStanding, Standing, money_of
from sealmarket.client.waiting import Waiting
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.moments import beside, moment
from sealmarket.receipts.bundle import SUFFIX, gather_proof, write_proof
from sealmarket.receipts.notices import failed_receipt, notice_of
from sealmarket.service.errors import ServiceError
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import to_builtins
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.notices import Notice
from sealmarket_enclave.sealed.outputs import NAME

Job = Annotated[str, typer.Argument(help="The job's id (0x and 64 digits).")]
JobOrRequest = Annotated[
    str, typer.Argument(metavar="JOB_OR_REQUEST", help="A job's id or a request's hash (0x and 64 digits).")
]
OwnKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="SEALMARKET_KEY_FILE",
        help="Your account, to find the requests that you signed here. Only its address is read.",
    ),
]


def status(
    job: JobOrRequest, book: BookFile, rpc: RpcUrl, key_file: OwnKeyFile = None, as_json: AsJson = False
) -> None:
    """Where a job or a request stands at the newest final block, and what its reasons mean.

    Example: sealmarket consumer status 0xJOB --book market.json --rpc URL
    """
    with market(book, rpc) as (chain, store, api):
        found = _standing(chain, store, api, key_file).find(hash_option(job))
    if isinstance(found, RequestStanding):
        answer(_request_payload(found), _request_lines(found), as_json)
    else:
        answer(status_payload(found), status_lines(found), as_json)


def explain(
    job: JobOrRequest,
    book: BookFile,
    rpc: RpcUrl,
    key_file: OwnKeyFile = None,
    notice_key: Annotated[
        Path | None,
        typer.Option(
            "--notice-key",
            help="Your result key, or as an owner the key of your policy's noticeKey: what failed about an input.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Why a request is not matched yet; or what a job's ending means, and what was paid to whom and why.

    The money is read from the chain's events, exact to the smallest unit; all of it sums to zero. An input that failed
    has a public code in the receipt; which column it was, only the consumer and its owner can open.

    Example: sealmarket consumer explain 0xJOB --book market.json --rpc URL
    """
    with market(book, rpc) as (chain, store, api):
        found = _standing(chain, store, api, key_file).find(hash_option(job))
        if isinstance(found, RequestStanding):
            payload, lines = _request_payload(found), _request_lines(found)
        else:
            money = money_of(chain, found)
            payload, lines = explain_payload(found, money), explain_lines(found, money)
            key = open_result_key(notice_key, passphrase_file) if notice_key is not None else None
            fault, more = _fault(chain, store, found, key)
            payload, lines = payload | fault, [*lines, *more]
    answer(payload, lines, as_json)


def _fault(
    chain: Chain, store: Store, record: JobRecord, key: PrivateKey | None
) -> tuple[dict[str, object], list[str]]:
    """What the receipt of a failed input says, and what ``key`` opens of it: for programs and for people."""
    try:
        receipt = failed_receipt(store, record)
    except ServiceError as error:
        return {}, [f"the receipt of its enclave is not to be read: {error}"]
    if receipt is None or receipt.input_fault is UNSET:
        return {}, []
    notice = notice_of(receipt, key, chain.book) if key is not None else None
    payload = {"inputFault": receipt.input_fault, "notice": to_builtins(notice)}
    return payload, _fault_lines(receipt.input_fault, notice)


def _fault_lines(code: str, notice: Notice | None) -> list[str]:
    """What failed about an input, as far as the reader may know."""
    if notice is None:
        return [f"the input failed by {code}; its owner and the consumer can open the rest (--notice-key)"]
    column = f", column {harmless(repr(notice.column))}" if notice.column is not None else ""
    rows = f", {notice.rows} rows" if notice.rows is not None else ""
    return [f"asset {notice.asset_index} of the job failed by {code}{column}{rows}"]


def watch(
    job: JobOrRequest,
    book: BookFile,
    rpc: RpcUrl,
    key_file: OwnKeyFile = None,
    wait: Annotated[float, typer.Option(help="Seconds to follow it at most.")] = 3600,
    as_json: AsJson = False,
) -> None:
    """Follow a request to its match and a job to its result, step by step, or until it ends in another way.

    Exit 0: there is a result; 1: it ended without one, or the time is over.

    Example: sealmarket consumer watch 0xJOB --book market.json --rpc URL
    """
    name = hash_option(job)
    with market(book, rpc) as (chain, store, api):
        began = time.monotonic()
        found = _standing(chain, store, api, key_file).until_matched(name, wait, _tell_standing)
        if isinstance(found, RequestStanding):
            answer(_request_payload(found), _request_lines(found), as_json)
            raise typer.Exit(1)
        left = max(0.0, wait - (time.monotonic() - began))
        record = Waiting(chain).for_result(found.job_id, left, _tell_change)
        money = money_of(chain, record)
    following = _fetching(record.job_id, book, rpc)
    answer(explain_payload(record, money), [*status_lines(record), f"next: {following}"], as_json)


def fetch(
    job: Job,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    result_key: Annotated[Path, typer.Option("--result-key", help="Your result key file.", exists=True)],
    out: Annotated[Path, typer.Option("--out", help="A folder for the outputs and the proof.")],
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Confirm that it arrived, which pays the provider.")
    ] = False,
    with_evidence: Annotated[
        bool, typer.Option("--with-evidence", help="Put the evidence into the proof; it names the provider's hardware.")
    ] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the result.")] = 600,
    passphrase_file: PassphraseFile = None,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Wait for a job's result, open it, and keep the proof of the whole job beside it.

    Example: sealmarket consumer fetch 0xJOB --result-key result.key --out result --acknowledge
    --book market.json --rpc URL --key-file consumer.json
    """
    job_id = JobId(hash_option(job))
    secret = open_result_key(result_key, passphrase_file)
    with market(book, rpc, accept_code) as (chain, store, api):
        limits = sending(max_fee, priority_fee)
        consumer = Consumer(chain, load_key(key_file), store, api, development=development, sending=limits)
        consumer.wait(job_id, timeout=wait, on_change=_tell_change)
        outputs = consumer.open_result(job_id, secret)
        _keep(out, outputs)
        proof = out / f"{str(job_id)[2:14]}{SUFFIX}"
        evidence = consumer.evidence(job_id, secret) if with_evidence else None
        write_proof(proof, gather_proof(chain, store, job_id, evidence=evidence))
        if acknowledge:
            consumer.acknowledge(job_id)
    payload = {"outputs": {name: len(data) for name, data in outputs.items()}, "proof": str(proof)}
    lines = [f"{out / name}  {len(data)} bytes" for name, data in outputs.items()]
    following = next_command(pasted("verify", proof), book, rpc)
    lines += [f"next: {following}", *_about_evidence(with_evidence)]
    answer(payload, lines, as_json)


def challenge(
    job: Job,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Claim, against a bond, that a settled job's result is not available; the oracle nodes look for it.

    Where they find it you get it from them by `consumer fetch`, and the bond is spent. Where enough of them do not, the
    payer is refunded out of the provider's stake and the bond returns.

    Example: sealmarket consumer challenge 0xJOB --book market.json --rpc URL --key-file consumer.json
    """
    job_id = JobId(hash_option(job))
    with market(book, rpc, accept_code) as (chain, store, api):
        account, limits = load_key(key_file, passphrase_file), sending(max_fee, priority_fee)
        consumer = Consumer(chain, account, store, api, development=development, sending=limits)
        mined = consumer.challenge(job_id)
    made = next(event for event in mined.events if isinstance(event, JobChallenged))
    payload = {"job": str(job_id), "bond": str(made.bond), "deadline": made.deadline}
    following = _fetching(job_id, book, rpc)
    lines = [f"job {job_id} is challenged; the oracle nodes answer until {moment(made.deadline)}", f"next: {following}"]
    answer(payload, lines, as_json)


def _fetching(job_id: JobId, book: Path, rpc: str) -> str:
    """The command that opens a job's result, with the names of files that the role's page uses."""
    words = ("consumer", "fetch", job_id, "--result-key", "result.key", "--out", "result", "--acknowledge")
    return next_command(pasted(*words), book, rpc)


def _about_evidence(with_evidence: bool) -> list[str]:
    if with_evidence:
        return ["  add --development-root FILE if the enclave was SIMULATED"]
    return ["  without --with-evidence the proof leaves the evidence out, and `verify` says that it is not shown"]


def _keep(out: Path, outputs: dict[str, bytes]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, data in outputs.items():
        # Names were checked when the result was opened; a file outside `out` must stay impossible all the same.
        assert NAME.fullmatch(name)
        (out / name).write_bytes(data)


def _tell_standing(found: RequestStanding) -> None:
    progress(
        harmless(f"the request {_STATES[found.state]}; the backend says: {'; '.join(found.explanation) or 'nothing'}")
    )


def _tell_change(record: JobRecord) -> None:
    until = f", until {beside(record.slot.deadline, record.at.timestamp)}" if record.slot.deadline else ""
    progress(f"{record.status.name.lower()}: {meaning(record)}{until}")


def _standing(chain: Chain, store: Store, api: MarketApi, key_file: Path | None) -> Standing:
    sent = None if key_file is None else SentRequests(home_folder(), chain.book, address_of(key_file))
    return Standing(chain, store, api, sent)


def _request_payload(found: RequestStanding) -> dict[str, object]:
    return {
        "request": str(found.request_hash),
        "state": found.state,
        "backendSays": list(found.explanation),
        "quote": quote_payload(found.quote) if found.quote else None,
    }


_STATES = {
    "open": "is open: no match has used it yet, and it charges nothing until then",
    "voided": "is voided: no match can use it, and it charges nothing",
    "expired": "expired before it was matched, and charges nothing",
    "matched": "is matched, in a block that is not final yet",
    "unknown": "is not matched; it was not signed here, so that the backend alone knows it",
}


def _request_lines(found: RequestStanding) -> list[str]:
    lines = [f"request {found.request_hash} {_STATES[found.state]}"]
    if found.quote is not None:
        lines += quote_lines(found.quote)
    lines += [f"the backend says: {line}" for line in found.explanation]
    if found.state == "open":
        lines.append(f"next: {pasted('sealmarket', 'consumer', 'cancel', found.request_hash)} voids it")
    return lines
