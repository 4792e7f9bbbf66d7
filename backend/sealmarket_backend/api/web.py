"""One page for people: the assets on sale, the offers, and where each job stands. No script, nothing to sign."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from sealmarket.client.jobs import reasons_in_words
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import JobView, SignedComputeOrder
from sealmarket_backend.index import IndexedAsset
from sealmarket_backend.listing import Listings
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, HexBytes, Wei, decode
from sealmarket_enclave.protocol.numbers import Grade

if TYPE_CHECKING:
    from sealmarket_backend.service import Backend

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5b6b7b;--line:#d9e0e7;--paper:#fff;--back:#f5f7f9;--good:#11734b;
--bad:#a8321f;--wait:#8a5a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa8b5;--line:#2c3844;--paper:#161d24;--back:#0e1318;
--good:#4cc38a;--bad:#f2786a;--wait:#e0a340}}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:68rem;margin:auto;padding:2rem 1rem}h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{color:var(--soft);margin:.25rem 0}table{width:100%;border-collapse:collapse;background:var(--paper);border-radius:8px;
overflow:hidden;font-size:.92rem}th,td{text-align:left;padding:.5rem .75rem;border-bottom:1px solid var(--line);
vertical-align:top}th{color:var(--soft);font-weight:500}code{font-size:.85em}
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
.note{border-left:3px solid var(--wait);padding-left:.75rem;margin:1rem 0}
"""
MOST_OFFERS = 200
"""On the page."""
_GOOD = {Status.SETTLED, Status.MATURED}
_BAD = {Status.REFUSED, Status.STOPPED, Status.FAILED, Status.EXPIRED, Status.CANCELLED}


def market_page(backend: Backend) -> str:
    """The whole page as HTML, everything from outside escaped."""
    book = backend.addresses
    jobs = backend.index.jobs(limit=100)
    simulated = any(asset.terms.min_grade == Grade.SIMULATED for asset in backend.index.assets())
    note = (
        '<p class="note">Some assets here accept <b>simulated</b> evidence: a development root stands behind it, '
        "no hardware.</p>"
        if simulated
        else ""
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta http-equiv="refresh" content="5">'
        f"<title>Sealmarket</title><style>{_STYLE}</style></head><body><main><h1>Sealmarket</h1>"
        f"<p>Chain {book.chain_id}, market <code>{book.market.checksum}</code>, read up to block "
        f"{backend.index.position()} ({escape(book.finality.describe())}). This page is served by the untrusted "
        f"backend: <code>sealmarket verify</code> proves what it only shows.</p>{note}"
        f"<h2>Jobs</h2>{_jobs(jobs)}<h2>Assets</h2>{_assets(backend)}<h2>Compute</h2>{_offers(backend)}"
        "</main></body></html>"
    )


def _jobs(jobs: list[JobView]) -> str:
    if not jobs:
        return "<p>No job yet. A job appears once its match is at a final block.</p>"
    rows = "".join(
        f"<tr><td><code>{_short(job.job_id)}</code></td><td>{_status(job)}</td>"
        f"<td>{len(job.spec.assets)}</td><td>{_price(_total(job), job.spec.token)}</td>"
        f"<td>{escape(job.waiting_for) or _reasons(job)}</td></tr>"
        for job in jobs
    )
    return _table(("Job", "Status", "Assets", "Price", "Next, or why it ended"), rows)


def _assets(backend: Backend) -> str:
    rows = "".join(
        f"<tr><td><code>{_short(Bytes32(asset.asset_id))}</code> v{asset.version}</td>"
        f"<td><code>{asset.owner.checksum[:10]}…</code></td><td>{_price(asset.terms.price, asset.terms.token)}</td>"
        f"<td>{Grade(asset.terms.min_grade).name.lower()}</td>"
        f"<td>{_sale(asset)}</td></tr>"
        for asset in backend.index.assets()
    )
    return _table(("Asset", "Owner", "Price", "Lowest grade", ""), rows) if rows else "<p>Nothing on sale yet.</p>"


def _sale(asset: IndexedAsset) -> str:
    if asset.revoked or asset.suspended:
        return f'<span class="bad">{"revoked" if asset.revoked else "suspended"}</span>'
    return '<span class="good">on sale</span>'


def _offers(backend: Backend) -> str:
    rows = "".join(
        f"<tr><td><code>{signed.order.provider.checksum[:10]}…</code></td><td>{signed.order.tee.name}</td>"
        f"<td>{signed.order.grade.name.lower()}</td><td>{_price(signed.order.price, signed.order.token)}</td>"
        f"<td>{_price(signed.order.unit_price, signed.order.token)}</td></tr>"
        for signed in _first_offers(backend)
    )
    heads = ("Provider", "TEE", "Grade", "Price a job", "Price a unit")
    return _table(heads, rows) if rows else "<p>No provider offers compute yet.</p>"


def _first_offers(backend: Backend) -> list[SignedComputeOrder]:
    """Those that came first: a book may hold a million."""
    found = Listings(backend.database).compute_orders(0, MOST_OFFERS)
    return [decode(SignedComputeOrder, document) for document in found.documents]


def _status(job: JobView) -> str:
    status = Status[job.status.upper()]
    kind = "good" if status in _GOOD else "bad" if status in _BAD else "wait"
    return f'<span class="{kind}">{escape(job.status)}</span>'


def _reasons(job: JobView) -> str:
    words = [f"{reason.word.replace('_', ' ')}: {reason.remedy}" for reason in reasons_in_words(job.reasons)]
    return "<br>".join(escape(word) for word in words)


def _total(job: JobView) -> int:
    return job.spec.compute_price + sum(use.price for use in job.spec.assets)


def _price(amount: int, token: Address) -> str:
    """Whole coins where the token is the native coin; other tokens' digits are not known here."""
    return f"{Wei(amount).coins} coin" if token == ZERO_ADDRESS else f"{amount} of {token.checksum[:10]}…"


def _table(heads: tuple[str, ...], rows: str) -> str:
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{rows}</table>"


def _short(value: HexBytes) -> str:
    return f"{str(value)[:12]}…"
