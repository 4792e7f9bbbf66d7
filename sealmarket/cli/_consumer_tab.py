"""`consumer tab`: lock money for a service, see what of it is paid, and take the rest back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealmarket.chain import Chain, Sending
from sealmarket.cli._asking import progress
from sealmarket.cli._consumer_request import address_of
from sealmarket.cli._infer_service import HostUrl, ServiceId, metered, service_option
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PriorityFee,
    RpcUrl,
    amount,
    answer,
    coins,
    load_key,
    market,
    sending,
)
from sealmarket.client.jobs import read_job
from sealmarket.client.stopping import pause
from sealmarket.client.tabs import Closing, Tabs, TabStatus, tab_status
from sealmarket.protocol.moments import beside
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.protocol.numbers import JobId

if TYPE_CHECKING:
    from sealmarket_enclave.protocol.job import JobSpec
    from sealmarket_enclave.protocol.session import SessionTerms

    _Locking = Callable[[Tabs, JobSpec, SessionTerms, Wei], object]

app = typer.Typer(name="tab", no_args_is_help=True, help="Lock money for a service, and take the rest back.")

_Opened = tuple[Chain, Tabs]
FINALITIES, POLL_SECONDS = 2, 1.0
"""For how many times a block's finality the nodes are asked to confirm, and how often."""
_Amount = Annotated[str, typer.Argument(help="1500 in the smallest unit, or 1.5coin, of your free balance.")]


@app.command("open")
def open_command(
    value: _Amount,
    service: ServiceId,
    provider: HostUrl,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Open your tab at a service: answers are paid from it, and no more than it holds.

    The terms come from the provider's host and count only with the hash that the job on chain names. Says what counts
    your units: a meter that all owners name, or the workload.

    Example: sealmarket consumer tab open 1coin --service ID --provider URL --book market.json --rpc URL
    --key-file user.key
    """
    with _tabs(book, rpc, key_file, sending(max_fee, priority_fee), code=accept_code, own=development) as opened:
        _lock(opened, Tabs.open, amount(value), service, provider, "are locked", as_json=as_json)


@app.command()
def add(
    value: _Amount,
    service: ServiceId,
    provider: HostUrl,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Lock more in your open tab.

    Example: sealmarket consumer tab add 1coin --service ID --provider URL --book market.json --rpc URL
    --key-file user.key
    """
    with _tabs(book, rpc, key_file, sending(max_fee, priority_fee), code=accept_code, own=development) as opened:
        _lock(opened, Tabs.add, amount(value), service, provider, "more are locked", as_json=as_json)


@app.command()
def close(
    service: ServiceId,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Ask to close your tab, have the oracle nodes confirm it, and, once that may be, take back what it has not paid.

    The enclave states what you were served with its next renewal, and its host posts that: then the rest is yours. With
    the nodes' confirmation it is yours one redemption window later, whatever that host does. Interrupted, or called
    again, the command goes on.

    Example: sealmarket consumer tab close --service ID --book market.json --rpc URL --key-file user.key
    """
    job_id = service_option(service)
    with _tabs(book, rpc, key_file, sending(max_fee, priority_fee), code=None, own=development) as (chain, tabs):
        what, found = tabs.close(job_id)
        if what in (Closing.REQUESTED, Closing.WAITS) and _confirmed(chain, tabs, job_id):
            what, found = Closing.CONFIRMED, tabs.status(job_id)
    words = {
        Closing.RETURNED: f"{coins(Wei(found.tab.limit - found.tab.paid))} returned to your free balance",
        Closing.REQUESTED: "asked to close; the nodes did not confirm it yet: run this command again",
        Closing.WAITS: "it was asked before; the nodes did not confirm it yet: run this command again",
        Closing.CONFIRMED: "the nodes confirmed it: the rest is yours at the time below, or once the host posts your "
        "last units; then run this command again",
    }
    _said(found, words[what], as_json)


def _confirmed(chain: Chain, tabs: Tabs, job_id: JobId) -> bool:
    """Ask the nodes until they confirm, for as long as a block takes to become final, and a little longer."""
    from sealmarket.client.renewals import NODE_SECONDS, post
    from sealmarket.http import HttpClient

    final = chain.book.timing.finality_seconds
    progress(f"asked to close; the nodes confirm it once that is final, within about {final} s")
    spec = read_job(chain, job_id).spec
    deadline = time.monotonic() + FINALITIES * final + NODE_SECONDS
    with closing(HttpClient(seconds=NODE_SECONDS)) as client:
        while not tabs.confirm(spec, partial(post, client)):
            if time.monotonic() > deadline:
                return False
            pause(POLL_SECONDS)
    return True


@app.command()
def status(service: ServiceId, book: BookFile, rpc: RpcUrl, key_file: KeyFile, as_json: AsJson = False) -> None:
    """What your tab holds, what of it is paid, and when the rest may return.

    Example: sealmarket consumer tab status --service ID --book market.json --rpc URL --key-file user.key
    """
    account = address_of(key_file)
    with market(book, rpc) as (chain, *_):
        found = tab_status(chain, service_option(service), account)
    _said(found, "your tab" if found.tab.limit else "no tab of this account", as_json)


@contextmanager
def _tabs(book: Path, rpc: str, key_file: Path, limits: Sending, *, code: str | None, own: bool) -> Iterator[_Opened]:
    with market(book, rpc, code) as (chain, store, _):
        yield chain, Tabs(chain, load_key(key_file), store, development=own, sending=limits)


def _lock(opened: _Opened, by: _Locking, wanted: Wei, service: str, provider: str, what: str, *, as_json: bool) -> None:
    chain, tabs = opened
    job_id = service_option(service)
    spec = read_job(chain, job_id).spec
    by(tabs, spec, _terms(provider, service, spec), wanted)
    _said(tabs.status(job_id), f"{coins(wanted)} {what}", as_json)


def _terms(provider: str, service: str, spec: JobSpec) -> SessionTerms:
    """The terms that the host shows; says what counts their units, by the policies that the job names."""
    from sealmarket.inference.host import ServiceHost
    from sealmarket.inference.service import owners_rules

    with closing(ServiceHost(provider, service_option(service))) as host:
        document = host.document()
    progress(metered(owners_rules(document, spec).meter))
    return document.terms


def _said(found: TabStatus, what: str, as_json: bool) -> None:
    service, tab = found.service, found.tab
    payload = {
        "limit": str(int(tab.limit)),
        "paid": str(int(tab.paid)),
        "left": str(int(tab.left)),
        "unitPrice": str(int(service.unit_price)),
        "end": service.end,
        "state": "returned" if found.returned else "closing" if tab.closing else "open" if tab.limit else "none",
        "closableAt": found.closable_at,
    }
    lines = [what]
    if tab.limit:
        lines += [f"  {coins(tab.paid)} of {coins(tab.limit)} paid, {coins(tab.left)} left"]
        lines += [f"  {coins(service.unit_price)} for each unit; the service ends {beside(service.end, found.now)}"]
        if not found.returned:
            lines += [f"  the rest may return {beside(found.closable_at, found.now)}: sealmarket consumer tab close"]
    answer(payload, lines, as_json)
