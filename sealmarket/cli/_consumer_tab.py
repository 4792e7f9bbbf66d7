"""`consumer tab`: lock money for a service, see what of it is paid, and take the rest back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import UNSET

from sealmarket.chain import Chain, Sending
from sealmarket.cli._asking import Yes, progress, require_yes
from sealmarket.cli._consumer_request import address_of
from sealmarket.cli._infer_service import (
    AllowSimulated,
    Named,
    OfAsset,
    OfWorkload,
    ServiceId,
    metered,
    service_option,
    wish_of,
)
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
from sealmarket.client.tabs import Closing, Tabs, TabStatus, opened_terms, tab_status
from sealmarket.protocol.moments import beside
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.policy import strictest_serving

if TYPE_CHECKING:
    from sealmarket.client.offered_services import OfferedService, ServiceWish
    from sealmarket.market_api.client import MarketApi
    from sealmarket.store.blobs import Store
    from sealmarket_enclave.protocol.codec import Address
    from sealmarket_enclave.protocol.job import JobSpec

app = typer.Typer(name="tab", no_args_is_help=True, help="Lock money for a service, and take the rest back.")

FINALITIES, POLL_SECONDS = 2, 1.0
"""For how many times a block's finality the nodes are asked to confirm, and how often."""
_Amount = Annotated[str, typer.Argument(help="1500 in the smallest unit, or 1.5coin, of your free balance.")]


@app.command("open")
def open_command(
    value: _Amount,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    service: Annotated[str | None, typer.Option("--service", help="The service: the id of its job.")] = None,
    asset: OfAsset = None,
    workload: OfWorkload = None,
    allow_simulated: AllowSimulated = False,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Open your tab at a service: answers are paid from it, and no more than it holds.

    With --asset it is the cheapest service of that model that takes a tab of yours, and you are asked first.
    The terms are those on chain. Says what counts your units: a meter that all owners name, or the workload.

    Example: sealmarket consumer tab open 1coin --asset 0xID --book market.json --rpc URL --key-file user.key
    """
    limits, wanted = sending(max_fee, priority_fee), amount(value)
    Named(service=None if service is None else [service], asset=asset, workload=workload)
    wish = wish_of(asset, workload, simulated=allow_simulated)
    with _tabs(book, rpc, key_file, limits, code=accept_code, own=development) as (chain, store, api, tabs):
        if service is None:
            chosen = _cheapest(chain, api, tabs.address, wish)
            job_id, spec = chosen.job_id, chosen.spec
        else:
            job_id = service_option(service)
            spec = read_job(chain, job_id).spec
        _say_meter(chain, store, spec)
        if service is None:
            require_yes(f"Lock {coins(wanted)} for this service?", yes=yes)
        tabs.open(spec, opened_terms(chain, job_id), wanted)
        _said(job_id, tabs.status(job_id), f"{coins(wanted)} are locked", as_json)


@app.command()
def add(
    value: _Amount,
    service: ServiceId,
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

    Example: sealmarket consumer tab add 1coin --service ID --book market.json --rpc URL --key-file user.key
    """
    limits, wanted, job_id = sending(max_fee, priority_fee), amount(value), service_option(service)
    with _tabs(book, rpc, key_file, limits, code=accept_code, own=development) as (chain, _, _, tabs):
        tabs.add(read_job(chain, job_id).spec, opened_terms(chain, job_id), wanted)
        _said(job_id, tabs.status(job_id), f"{coins(wanted)} more are locked", as_json)


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
    limits = sending(max_fee, priority_fee)
    with _tabs(book, rpc, key_file, limits, code=None, own=development) as (chain, _, _, tabs):
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
    _said(job_id, found, words[what], as_json)


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
    account, job_id = address_of(key_file), service_option(service)
    with market(book, rpc) as (chain, *_):
        found = tab_status(chain, job_id, account)
    _said(job_id, found, "your tab" if found.tab.limit else "no tab of this account", as_json)


@contextmanager
def _tabs(
    book: Path, rpc: str, key_file: Path, limits: Sending, *, code: str | None, own: bool
) -> Iterator[tuple[Chain, Store, MarketApi, Tabs]]:
    with market(book, rpc, code) as (chain, store, api):
        yield chain, store, api, Tabs(chain, load_key(key_file), store, development=own, sending=limits)


def _say_meter(chain: Chain, store: Store, spec: JobSpec) -> None:
    """Say what counts units, by the policies that the job's owners published."""
    from sealmarket.client.approvals import policy_of

    head = chain.head()
    policies = [policy_of(chain, store, head, use.asset_id, use.version) for use in spec.assets]
    progress(metered(strictest_serving(tuple(one.serving for one in policies if one.serving is not UNSET)).meter))


def _cheapest(chain: Chain, api: MarketApi, account: Address, wish: ServiceWish) -> OfferedService:
    """The cheapest service that fits, as the user is shown it."""
    from sealmarket.cli._infer_choice import cheapest, service_lines
    from sealmarket.client.offered_services import ServiceFinder

    progress("looking for the cheapest service that takes a tab of yours")
    found = cheapest(ServiceFinder(chain, api), chain, account, wish)
    for line in service_lines(found):
        typer.echo(line, err=True)
    return found


def _said(job_id: JobId, found: TabStatus, what: str, as_json: bool) -> None:
    service, tab = found.service, found.tab
    payload = {
        "service": str(job_id),
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
