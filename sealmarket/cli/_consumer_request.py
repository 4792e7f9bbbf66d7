"""`consumer quote` and `consumer request`: the same checks, before anything is signed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules
from sealmarket.chain import Chain
from sealmarket.chain.fees import FeeLimits, suggest
from sealmarket.cli._asking import Yes, pasted, progress, require_yes
from sealmarket.cli._groups import takes
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PriorityFee,
    RpcUrl,
    Usage,
    answer,
    home_folder,
    load_key,
    market,
    pending_folder,
    require_cards_of,
    sending,
)
from sealmarket.cli._plain import harmless
from sealmarket.cli._profile import next_command
from sealmarket.cli._quote_text import quote_lines, quote_payload
from sealmarket.cli._request_options import RequestOptions, result_key_of, secret_values, wanted
from sealmarket.cli._rules import graded, rules_in
from sealmarket.client.accounts import address_in
from sealmarket.client.consumer import Consumer
from sealmarket.client.errors import NotMatched, WaitedTooLong
from sealmarket.client.owner import Owner
from sealmarket.client.pending import Pending, PendingRequest, pending_request
from sealmarket.client.quote import Quote
from sealmarket.client.reading import Reading
from sealmarket.client.requests import RequestHandle, UnsignedRequest, compose
from sealmarket.client.secret_parameters import SecretParameters
from sealmarket.client.sent import SentRequests
from sealmarket_enclave.protocol.codec import Address, from_builtins
from sealmarket_enclave.protocol.numbers import JobId

REFUSED = 1
"""Exit code of a quote whose request would be refused."""


@takes(RequestOptions)
def quote(
    options: RequestOptions,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    as_json: AsJson = False,
) -> None:
    """Say what a request would cost, how long it takes, and what would refuse it. Signs and pays nothing.

    Exit 0: it would be taken now; 1: it would be refused, with each clause and what to do.

    Example: sealmarket consumer quote --workload workloads/train_gradient_boosting --asset 0xA --asset 0xB
    --parameter target=mdvis --max-compute-price 1coin --result-key result.key --book market.json --rpc URL
    --key-file consumer.json
    """
    public, asked = result_key_of(options).public.raw, wanted(options)
    address = address_of(key_file)
    with market(book, rpc) as (chain, store, api):
        require_cards_of(chain.book, options.asset)
        progress("reading the chain, the owners' policies and the book")
        reading = Reading(chain, store, api)
        unsigned = compose(asked, address, [bytes(public)], chain, reading.output_rules(asked))
        found = reading.quote(unsigned, gas_price_of(chain))
    answer(quote_payload(found), quote_lines(found), as_json)
    raise typer.Exit(0 if found.taken else REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretOptions:
    """The options of `consumer request` about parameters that no host sees: publishing them is what costs gas."""

    secret_parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--secret-parameter",
            help="NAME=@FILE: a value that no host sees, for the workload's input NAME; it is sealed and published as"
            " an asset of yours for one use. Repeat for each.",
        ),
    ] = None
    evidence: Annotated[
        Path | None,
        typer.Option(
            help="With --secret-parameter: the enclaves that may read it, as `worker image measure` writes them, or an"
            " appraisal policy."
        ),
    ] = None
    max_fee: MaxFee = None
    priority_fee: PriorityFee = None


@takes(RequestOptions, SecretOptions)
def request(
    options: RequestOptions,
    hidden: SecretOptions,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the match; 0 does not wait.")] = 120,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave a request in the book that no match used in time; else it is voided.")
    ] = False,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Check a request as `quote` does, ask, sign it over the terms in force, and put it into the book.

    What would be refused is refused here, for free. With --keep a request may wait in the book for an offer.

    Example: sealmarket consumer request --workload workloads/train_gradient_boosting --asset 0xA --asset 0xB
    --parameter target=mdvis --max-compute-price 1coin --result-key result.key --book market.json --rpc URL
    --key-file consumer.json
    """
    values = secret_values(hidden.secret_parameter)
    rules = _own_rules(hidden.evidence, options.allow_simulated) if values else None
    secret, asked = result_key_of(options), wanted(options, len(values))
    with market(book, rpc, accept_code) as (chain, store, api):
        require_cards_of(chain.book, options.asset)
        account, limits = load_key(key_file), sending(hidden.max_fee, hidden.priority_fee)
        consumer = Consumer(chain, account, store, api, development=development, sending=limits)
        consumer.require_market()
        if rules is not None:
            progress(f"sealing {', '.join(values)} for one use, and publishing: this costs gas, and nothing else")
            owner = Owner(chain, account, store, api, development=development, sending=limits)
            asked = SecretParameters(owner, chain, store, home_folder() / "secrets").seal(asked, values, rules)
        pending = pending_request(pending_folder(), chain.book, consumer.address)
        unsigned = consumer.compose(asked, secret)
        if (before := consumer.earlier(unsigned, pending)) is None:
            _agreed(consumer, unsigned, gas_price_of(chain), keep=keep, yes=yes)
        else:
            _tell([f"request {before.request_hash} was signed by an earlier call, and goes on"])
        handle, job = _sent(consumer, chain, unsigned, pending, wait, keep=keep)
        locked = consumer.escrow(handle.request)
    locks = {name: str(int(part)) for name, part in asdict(locked).items()}
    payload = {"requestHash": str(handle.request_hash), "jobId": str(job) if job else None, "locks": locks}
    lines = [f"request {handle.request_hash} is in the book"]
    if job:
        following = next_command(pasted("consumer", "watch", job), book, rpc)
        lines += [f"job {job} is matched", f"next: {following}"]
    answer(payload, lines, as_json)


def _own_rules(evidence: Path | None, allow_simulated: bool) -> AppraisalPolicy:
    """Which enclaves may read a secret parameter is the consumer's to say. Raises :class:`Usage` where it does not."""
    if evidence is None:
        raise Usage(
            "--secret-parameter needs --evidence: which enclaves may read it",
            remedy="name the file of `sealmarket worker image measure`, of an image that you trust",
        )
    rules = from_builtins(AppraisalPolicy, graded(rules_in(str(evidence)), allow_simulated=allow_simulated))
    check_rules(rules)
    return rules


def _agreed(consumer: Consumer, unsigned: UnsignedRequest, gas_price: int, *, keep: bool, yes: bool) -> None:
    """Quote the request, refuse it where it would be refused, show the price, and ask."""
    progress("reading the chain, the owners' policies and the book")
    found = consumer.quote(unsigned, gas_price=gas_price)
    _require_taken(found, keep=keep)
    _tell(quote_lines(found))
    _tell([f"request {unsigned.request.struct_hash()} is not signed yet"])
    require_yes("Sign it?", yes=yes)


def _require_taken(found: Quote, *, keep: bool) -> None:
    """Refuse for free what would be refused for money; a request that is kept may wait for an offer."""
    waits = keep and {clause.code for clause in found.clauses} <= {"no_offer"}
    if not found.taken and not waits:
        _tell(quote_lines(found))
        found.require()


def _sent(
    consumer: Consumer,
    chain: Chain,
    unsigned: UnsignedRequest,
    pending: Pending[PendingRequest],
    wait: float,
    *,
    keep: bool,
) -> tuple[RequestHandle, JobId | None]:
    sent = SentRequests(home_folder(), chain.book, consumer.address)

    def signed(handle: RequestHandle) -> None:
        sent.keep(handle)
        # On the error output, at once: whatever happens next, this request may be matched.
        _tell([f"request {handle.request_hash} is signed"])

    handle = consumer.send(unsigned, pending=pending, on_signed=signed)
    job = _matched(consumer, handle, wait, keep=keep) if wait else None
    pending.clear()
    return handle, job


def _matched(consumer: Consumer, handle: RequestHandle, seconds: float, *, keep: bool) -> JobId:
    """The job of a request. One that is not matched in time is voided, so that it charges nothing later."""
    progress(f"waiting up to {seconds:g} s for a match")
    try:
        return consumer.wait_match(handle, timeout=seconds)
    except WaitedTooLong as error:
        if keep:
            raise WaitedTooLong("a match", seconds, f"{error.detail}; the request stays in the book") from error
        _tell([f"no match within {seconds:g} s ({error.detail}): the request is withdrawn"])
        if consumer.cancel_unless_matched(handle):
            raise NotMatched(handle.request_hash, error.detail) from error
        return consumer.wait_match(handle, timeout=seconds)


def _tell(lines: list[str]) -> None:
    for line in lines:
        typer.echo(harmless(line), err=True)


def gas_price_of(chain: Chain) -> int:
    """What one gas costs now, in wei, tip included."""
    fees = suggest(chain.rpc, FeeLimits())
    return max(fees.values())


def address_of(key_file: Path) -> Address:
    """An account's address, without its passphrase where the file shows it."""
    return address_in(key_file) or Address.parse(load_key(key_file).address.lower())
