"""SIGKILL during an answer, over real processes: to the user's proxy, the provider's host, or the enclave's machine.

No number is used twice, no user pays more than its grants reserved, no tab stays locked for longer than the nodes'
confirmation and a window, and the provider's restarted host posts what was served and takes its bond back.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts.demo_story.inference.users import User, start_user
from sealmarket.client.renewals import NODE_SECONDS, post
from sealmarket.client.tabs import Closing, Tabs
from sealmarket.http import HttpClient
from sealmarket.inference.grants import read_grants
from sealmarket.inference.host import ServiceHost
from sealmarket.inference.opening import service_folder
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_localnet.market import ETHER
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.market import Rehearsal, raise_curtain
from tests.acceptance.money import assert_conserved
from tests.acceptance.services import PLAN, WORKER, Served, serve
from tests.patience import PATIENCE, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
PIECES = 40
SLOW = f"""\
import hashlib

def serve(session):
    for request in session.requests():
        for place in range({PIECES} if b"slowly" in request.body else 1):
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 60_000)
            request.send(b'data: {{"piece": %d}}\\n\\n' % place)
        request.done(3, 2)
"""
ASKS = b'{"messages": [], "max_tokens": 60, "note": "slowly"}'


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Rehearsal]:
    with Supervisor(tmp_path / "logs") as programs:
        made = raise_curtain(programs, tmp_path / "m")
        yield made
        made.close()


def begun(user: User) -> socket.socket:
    """A connection on which the first bytes of an answer came, and its end did not."""
    where = urlsplit(user.url)
    connection = socket.create_connection((where.hostname, where.port), PATIENCE)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(ASKS)}\r\n\r\n".encode() + ASKS)
    came = b""
    while b'"piece": 0' not in came:
        more = connection.recv(65_536)
        assert more, came
        came += more
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """What still came on a connection until its other side ended it."""
    came = b""
    try:
        while more := connection.recv(65_536):
            came += more
            if b'"error"' in came or b"\r\n0\r\n\r\n" in came:
                break
    except ConnectionResetError:
        pass
    return came


def most_charged(user: User) -> int:
    """Units that this user's grants let anyone charge: of receipts, and reserved for what was lost."""
    return sum(grant.spent + grant.reserved for grant in read_grants(service_folder(user.home, user.job_id)))


def is_served(user: User) -> bool:
    return user.status() == 200


def opened(market: Rehearsal, served: Served) -> tuple[Tabs, User]:
    """The consumer's tab, and its proxy once it is served."""
    tabs = Tabs(market.chain, market.market.purses["consumer"].account, market.store)
    with closing(ServiceHost(served.url, served.job_id)) as host:
        document = host.document()
    tabs.open(document.spec, document.terms, Wei(ETHER))
    user = start_user(market.market, "consumer", served.job_id, *served.named)
    until("the tab is in a renewal", partial(is_served, user))
    return tabs, user


def test_a_proxy_that_is_killed_in_an_answer_goes_on_with_another_grant_and_pays_nothing_twice(
    market: Rehearsal,
) -> None:
    served = serve(market, SLOW)
    tabs, user = opened(market, served)
    with closing(begun(user)):
        user.proxy.kill()
    user = start_user(market.market, "consumer", served.job_id, *served.named)
    until("the user is served again", partial(is_served, user))
    numbers = Counter((one.signed.receipt.grant_hash, one.signed.receipt.number) for one in user.receipts)
    assert set(numbers.values()) == {1}
    states = Counter(grant.state for grant in read_grants(service_folder(user.home, user.job_id)))
    assert states["retired"] == 1, "the grant whose answer was lost is used no further"
    market.owners["north"].revoke(served.asset.asset_id, served.asset.version)
    until("the last statement is on chain", lambda: served.state.last)
    paid = tabs.status(served.job_id).tab.paid
    assert user.units * PLAN.unit_price <= paid <= most_charged(user) * PLAN.unit_price
    until("the rest returned", lambda: tabs.close(served.job_id)[1].returned)
    until("the bond returned", lambda: not served.state.bond)
    assert_conserved(market.chain)


@pytest.mark.parametrize("victim", [WORKER, "device"])
def test_an_enclave_that_is_lost_in_an_answer_costs_its_user_no_more_than_that_answer_and_locks_no_tab(
    market: Rehearsal, victim: str
) -> None:
    served = serve(market, SLOW)
    tabs, user = opened(market, served)
    with closing(begun(user)) as connection:
        market.kill(victim)
        assert b"[DONE]" not in rest_of(connection)
    assert user.status() in (410, 502, 503)
    if victim == WORKER:
        served.start_worker()
    assert tabs.close(served.job_id)[0] is Closing.REQUESTED
    spec = market.read(served.job_id).spec
    with closing(HttpClient(seconds=NODE_SECONDS)) as client:
        until("the nodes confirm it", lambda: tabs.confirm(spec, partial(post, client)))
    closes = tabs.status(served.job_id)
    market.pass_time(closes.closable_at - closes.now + 1)
    assert tabs.close(served.job_id)[0] is Closing.RETURNED
    paid = tabs.status(served.job_id).tab.paid
    assert paid <= most_charged(user) * PLAN.unit_price
    market.pass_time(PLAN.seconds + served.state.redemption_window)
    until("the bond returned", lambda: not served.state.bond)
    assert_conserved(market.chain)
