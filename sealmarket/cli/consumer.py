"""Request a job over sealed data, follow it, and open its result."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sealmarket.chain.endpoints import printable
from sealmarket.cli import _consumer_card, _consumer_proposals
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
    Usage,
    amount,
    answer,
    asset_option,
    choice,
    coins,
    earlier,
    hash_option,
    home_folder,
    load_key,
    market,
    pending_folder,
    read_passphrase,
    sending,
    withdraw_free,
)
from sealmarket.client.accounts import address_in
from sealmarket.client.consumer import (
    AssetWish,
    Consumer,
    RequestHandle,
    complete_parameters,
    create_result_key,
    load_result_key,
)
from sealmarket.client.errors import NotMatched, WaitedTooLong
from sealmarket.client.escrow import Escrow
from sealmarket.client.jobs import JobRecord, read_job, reasons_in_words
from sealmarket.client.keyfile import KeyFile as StoredKey
from sealmarket.client.limits import JobLimits
from sealmarket.client.pending import pending_request
from sealmarket.client.sent import SentRequests, state_of
from sealmarket.files import read_file
from sealmarket.protocol.orders import Purpose
from sealmarket.receipts.bundle import SUFFIX, gather_proof, write_proof
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Wei, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Grade, JobId, Tee
from sealmarket_enclave.sealed.outputs import NAME

app = typer.Typer(no_args_is_help=True, help="Request a job over sealed data, follow it, and open its result.")

for _part in (_consumer_proposals.app, _consumer_card.app):
    app.add_typer(_part)

_Job = Annotated[str, typer.Argument(help="The job's id (0x and 64 digits).")]


@app.command()
def key(
    path: Annotated[Path, typer.Argument(help="Where the new key file goes.")],
    passphrase_file: PassphraseFile = None,
    plain: Annotated[bool, typer.Option("--plain", help="Keep it unencrypted in its file (mode 0600).")] = False,
) -> None:
    """Make a result key: results are sealed to it, and only its file opens them.

    Example: sealmarket consumer key result.key
    """
    passphrase = None if plain else read_passphrase(passphrase_file, "Passphrase for the result key", confirm=True)
    create_result_key(path, passphrase=passphrase, confirm_unencrypted=plain)
    typer.echo(f"{path} written: keep it, a result cannot be opened without it")


@app.command()
def deposit(
    value: Annotated[str, typer.Argument(help="1500 in the smallest unit, or 1.5coin.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Put money into the market's ledger; a match locks it, and what is not used returns.

    Example: sealmarket consumer deposit 10coin --book market.json --rpc URL --key-file consumer.key
    """
    wanted = amount(value)
    with market(book, rpc, accept_code) as (chain, store, api):
        consumer = Consumer(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        )
        mined = consumer.deposit(wanted)
    payload = {"deposited": str(int(wanted)), "block": mined.block.number, "resumed": mined.resumed}
    said = [f"deposited {coins(wanted)} in block {mined.block.number}", *earlier(mined)]
    answer(payload, said, as_json)


@app.command()
def withdraw(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Take out what no job has locked, to your account.

    Example: sealmarket consumer withdraw --book market.json --rpc URL --key-file consumer.key
    """
    with market(book, rpc) as (chain, store, api):
        withdraw_free(
            chain,
            Consumer(
                chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
            ),
            as_json,
        )


@app.command()
def request(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    workload: Annotated[Path, typer.Option("--workload", help="The workload's folder.", exists=True)],
    asset: Annotated[list[str], typer.Option("--asset", help="0xID, 0xID:VERSION, or a card; repeat in order.")],
    result_key: Annotated[Path, typer.Option("--result-key", help="Your result key file (`consumer key`).")],
    max_compute_price: Annotated[str, typer.Option(help="Most for the computation: 1500, or 1.5coin.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", help="name=value; values are JSON or text.")
    ] = None,
    max_unit_price: Annotated[str, typer.Option(help="Most for one metered unit.")] = "0",
    max_units: Annotated[int, typer.Option(help="Most units.", min=0)] = 0,
    min_penalty: Annotated[
        str, typer.Option(help="Least that a provider loses when it is at fault; the market has a least of its own.")
    ] = "0",
    timeout_limit: Annotated[
        str | None,
        typer.Option(
            help="Most that owners and provider together get when the workload's time is used up. Without it: the"
            " assets' prices and the compute price."
        ),
    ] = None,
    run_seconds: Annotated[
        int | None, typer.Option(help="For importing and running the workload. Without it: by its manifest.", min=1)
    ] = None,
    read_seconds: Annotated[
        int | None, typer.Option(help="For reading its inputs. Without it: by the memory that it may use.", min=1)
    ] = None,
    validate_seconds: Annotated[
        int | None, typer.Option(help="For the owners' checks of its outputs. Without it: a minute.", min=1)
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option(
            help="The hash of a capability document that you accept; repeat; or any. Without it: offers without one;"
            " an owner who does not accept the machine then costs you the oracle's fees, and no hold fee."
        ),
    ] = None,
    purpose: Annotated[str, typer.Option(help="train, fine_tune, infer or query.")] = "train",
    tee: Annotated[str, typer.Option(help="sgx, tdx, snp, cca or nitro.")] = "tdx",
    allow_simulated: Annotated[
        bool, typer.Option("--allow-simulated", help="Accept an enclave that NO hardware stands behind.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the match; 0 does not wait.")] = 120,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave a request in the book that no match used in time; else it is voided.")
    ] = False,
    accept_code: AcceptCode = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Sign a request over the terms in force and put it into the book.

    Example: sealmarket consumer request --workload workloads/train_gradient_boosting --asset 0xA --asset 0xB
    --parameter target=mdvis --max-compute-price 1coin --result-key result.key --book market.json --rpc URL
    --key-file consumer.key
    """
    secret = load_result_key(result_key, passphrase=_passphrase_of(result_key, passphrase_file))
    limits = JobLimits(
        max_compute_price=amount(max_compute_price),
        max_unit_price=amount(max_unit_price),
        max_units=max_units,
        min_penalty=amount(min_penalty),
        timeout_limit=None if timeout_limit is None else amount(timeout_limit),
        run_seconds=run_seconds,
        read_seconds=read_seconds,
        validate_seconds=validate_seconds,
        capabilities=_capabilities(capability),
        tee=Tee[choice(tee, "sgx", "tdx", "snp", "cca", "nitro").upper()],
        min_grade=Grade.SIMULATED if allow_simulated else Grade.HARDWARE,
    )
    wishes = [_wish(text) for text in asset]
    wanted = Purpose[choice(purpose, "train", "fine_tune", "infer", "query").upper()]
    bundle = read_bundle(workload)
    values = complete_parameters(bundle, _parameters(parameter or []), len(wishes))
    with market(book, rpc, accept_code) as (chain, store, api):
        consumer = Consumer(chain, load_key(key_file), store, api, development=development, sending=sending(None, None))
        pending = pending_request(pending_folder(), chain.book, consumer.address)
        sent = SentRequests(home_folder(), chain.book, consumer.address)

        def signed(handle: RequestHandle) -> None:
            sent.keep(handle)
            _tell_signed(handle)

        handle = consumer.request(
            bundle, values, wishes, limits, secret, purpose=wanted, pending=pending, on_signed=signed
        )
        escrow = consumer.escrow(handle.request)
        _tell_escrow(escrow, chain.at(chain.head()).account(handle.request.token, consumer.address).free)
        job = _matched(consumer, handle, wait, keep=keep) if wait else None
        pending.clear()
    locks = {name: str(int(part)) for name, part in asdict(escrow).items()}
    payload = {"requestHash": str(handle.request_hash), "jobId": str(job) if job else None, "locks": locks}
    lines = [f"request {handle.request_hash} is in the book"]
    if job:
        lines += [f"job {job} is matched", f"next: sealmarket consumer status {job}"]
    answer(payload, lines, as_json)


def _matched(consumer: Consumer, handle: RequestHandle, seconds: float, *, keep: bool) -> JobId:
    """The job of a request. One that is not matched in time is voided, so that it charges nothing later."""
    try:
        return consumer.wait_match(handle, timeout=seconds)
    except WaitedTooLong as error:
        if keep:
            raise WaitedTooLong("a match", seconds, f"{error.detail}; the request stays in the book") from error
        typer.echo(f"no match within {seconds:g} s ({error.detail}): the request is withdrawn", err=True)
        if consumer.cancel_unless_matched(handle):
            raise NotMatched(handle.request_hash, error.detail) from error
        return consumer.wait_match(handle, timeout=seconds)


def _tell_signed(handle: RequestHandle) -> None:
    """On the error output, at once: whatever happens next, this request may be matched."""
    typer.echo(f"request {handle.request_hash} is signed", err=True)


def _tell_escrow(escrow: Escrow, free: Wei) -> None:
    """On the error output, before the match: what it locks, and what is missing for it."""
    said = [
        f"a match locks at most {coins(escrow.total)}: {coins(escrow.assets)} for the assets, "
        f"{coins(escrow.compute)} for the computation, {coins(escrow.units)} for units, "
        f"{coins(escrow.fees)} for the oracle, and a hold fee of {coins(escrow.hold)}",
        "the hold fee returns when the enclave is accepted; to withdraw the job before that burns it",
    ]
    if free < escrow.total:
        said.append(
            f"{coins(free)} are free: it may need {coins(escrow.total - free)} more (sealmarket consumer deposit)"
        )
    for line in said:
        typer.echo(line, err=True)


@app.command("list")
def list_command(book: BookFile, rpc: RpcUrl, key_file: KeyFile, as_json: AsJson = False) -> None:
    """List the requests that you signed here, the latest first: open ones may still be matched, and charge then.

    Example: sealmarket consumer list --book market.json --rpc URL --key-file consumer.json
    """
    with market(book, rpc) as (chain, *_):
        sent = SentRequests(home_folder(), chain.book, _address(key_file))
        states = {str(handle.request_hash): state_of(chain, handle) for handle in sent}
    lines = [f"{request}  {state}" for request, state in states.items()] or ["no request was signed here"]
    lines += ["next: sealmarket consumer cancel REQUEST voids an open one"] if "open" in states.values() else []
    answer(states, lines, as_json)


@app.command()
def cancel(
    request: Annotated[str, typer.Argument(help="The request's hash (0x and 64 digits), as `list` shows it.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    development: OwnChain = False,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    as_json: AsJson = False,
) -> None:
    """Void a request that is not matched yet: no match can use it any more, and none charges you.

    Example: sealmarket consumer cancel 0xREQUEST --book market.json --rpc URL --key-file consumer.json
    """
    request_hash = hash_option(request)
    with market(book, rpc) as (chain, store, api):
        account = load_key(key_file, passphrase_file)
        consumer = Consumer(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        handle = SentRequests(home_folder(), chain.book, consumer.address).find(request_hash)
        if handle is None:
            raise Usage(f"request {request_hash} was not signed here", remedy="see `sealmarket consumer list`")
        state = state_of(chain, handle)
        if state == "open":
            state = "voided" if consumer.cancel_unless_matched(handle) else "matched"
    answer({"request": str(request_hash), "state": state}, [f"request {request_hash} is {state}"], as_json)
    raise typer.Exit(1 if state == "matched" else 0)


def _address(key_file: Path) -> Address:
    return address_in(key_file) or Address.parse(load_key(key_file).address.lower())


@app.command()
def status(job: _Job, book: BookFile, rpc: RpcUrl, as_json: AsJson = False) -> None:
    """Where a job stands at the newest final block, and what its reasons mean.

    Example: sealmarket consumer status 0xJOB --book market.json --rpc URL
    """
    with market(book, rpc) as (chain, *_):
        record = read_job(chain, JobId(hash_option(job)))
    answer(_payload(record), _lines(record), as_json)


@app.command()
def result(
    job: _Job,
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

    Example: sealmarket consumer result 0xJOB --result-key result.key --out result --acknowledge
    --book market.json --rpc URL --key-file consumer.key
    """
    job_id = JobId(hash_option(job))
    secret = load_result_key(result_key, passphrase=_passphrase_of(result_key, passphrase_file))
    with market(book, rpc, accept_code) as (chain, store, api):
        consumer = Consumer(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        )
        consumer.wait(job_id, timeout=wait)
        outputs = consumer.open_result(job_id, secret)
        out.mkdir(parents=True, exist_ok=True)
        for name, data in outputs.items():
            # Names were checked when the result was opened; a file outside `out` must stay impossible all the same.
            assert NAME.fullmatch(name)
            (out / name).write_bytes(data)
        proof = out / f"{str(job_id)[2:14]}{SUFFIX}"
        evidence = consumer.evidence(job_id, secret) if with_evidence else None
        write_proof(proof, gather_proof(chain, store, job_id, evidence=evidence))
        if acknowledge:
            consumer.acknowledge(job_id)
    payload = {"outputs": {name: len(data) for name, data in outputs.items()}, "proof": str(proof)}
    lines = [f"{out / name}  {len(data)} bytes" for name, data in outputs.items()]
    answer(payload, [*lines, f"next: sealmarket verify {proof} --book {book} --rpc {printable(rpc)}"], as_json)


def _payload(record: JobRecord) -> dict[str, Any]:
    return {
        "jobId": str(record.job_id),
        "status": record.status.name.lower(),
        "deadline": record.slot.deadline,
        "block": record.at.number,
        "provider": record.spec.provider,
        "reasons": [{"reason": r.word, "remedy": r.remedy} for r in reasons_in_words(record.reasons)],
        "fault": record.fault.name.lower(),
        "history": [{"event": type(e).__name__, "block": e.at.block_number} for e in record.history],
    }


def _lines(record: JobRecord) -> list[str]:
    lines = [f"job {record.job_id} is {record.status.name.lower()} (block {record.at.number}, final)"]
    lines += [f"  {type(event).__name__:<12} block {event.at.block_number}" for event in record.history]
    for reason in reasons_in_words(record.reasons):
        lines += [f"  reason: {reason.word}", f"    what to do: {reason.remedy}"]
    return lines


def _parameters(given: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Usage(f"{text!r} is no parameter", remedy="write name=value")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def _capabilities(named: list[str] | None) -> tuple[Bytes32, ...]:
    """The accepted capability documents, as :class:`JobLimits` names them."""
    if named is None:
        return (ZERO_HASH,)
    return () if named == ["any"] else tuple(map(hash_option, named))


def _wish(text: str) -> AssetWish:
    asset, version = asset_option(text)
    return AssetWish(asset_id=asset, version=version or 1)


def _passphrase_of(path: Path, file: Path | None) -> str | None:
    try:
        encrypted = decode(StoredKey, read_file(path)).scrypt is not None
    except (OSError, MalformedDocument) as error:
        why = error.message if isinstance(error, MalformedDocument) else error.strerror
        raise Usage(f"{path} is no key file: {why}", remedy="make one with `sealmarket consumer key`") from error
    return read_passphrase(file, f"Passphrase of {path}") if encrypted else None
