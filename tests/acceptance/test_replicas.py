"""Two providers serve one model, each by a worker of its own, and one proxy finds both in the market.

One host is killed in the middle of an answer: that answer ends as an error and is asked nowhere else, since it may be
charged. The next request goes to the other service.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from scripts.demo_story.inference.users import User, start_user
from sealmarket.client.offered_services import ServiceFinder, ServiceWish
from sealmarket.client.tabs import Tabs, opened_terms
from sealmarket.inference.grants import read_grants
from sealmarket.inference.opening import service_folder
from sealmarket.inference.receipts import FILE, read_receipts
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_localnet.market import ETHER
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.market import Rehearsal, raise_curtain
from tests.acceptance.services import Served, serve, serve_also
from tests.acceptance.test_killed_services import PIECES, SLOW, begun, is_served, rest_of
from tests.patience import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Rehearsal]:
    with Supervisor(tmp_path / "logs") as programs:
        made = raise_curtain(programs, tmp_path / "m")
        yield made
        made.close()


def states(user: User, job_id: JobId) -> list[str]:
    """What became of the grants that a user has at one service."""
    folder = service_folder(user.home, job_id)
    return sorted(grant.state for grant in read_grants(folder)) if folder.exists() else []


def receipts(user: User, served: Served) -> int:
    """How many answers of one service a user has a receipt for."""
    kept = service_folder(user.home, served.job_id) / FILE
    return len(list(read_receipts(kept))) if kept.exists() else 0


def test_a_stream_of_a_host_that_is_killed_is_an_error_and_the_next_request_goes_to_the_other(
    market: Rehearsal,
) -> None:
    first = serve(market, SLOW)
    both = {one.job_id: one for one in (first, serve_also(first, "second"))}
    finder = ServiceFinder(market.chain, market.api)
    wish = ServiceWish(asset=first.asset.asset_id, simulated=True)
    until("the market lists both", lambda: len(finder.find(wish)) == len(both))
    account = market.market.purses["consumer"].account
    for found in finder.find(wish):
        terms = opened_terms(market.chain, found.job_id)
        Tabs(market.chain, account, market.store).open(found.spec, terms, Wei(ETHER))
    user = start_user(market.market, "consumer", first.job_id, "--asset", str(first.asset.asset_id))
    until("a tab is in a renewal", partial(is_served, user))
    with closing(begun(user)) as stream:
        [running] = [one for job_id, one in both.items() if "asked" in states(user, job_id)]
        [other] = [one for one in both.values() if one is not running]
        before = receipts(user, other)
        market.market.parties[running.name].kill()
        came = rest_of(stream)
    assert b'"error"' in came
    assert b"[DONE]" not in came
    assert f'"piece": {PIECES - 1}'.encode() not in came
    assert receipts(user, other) == before, "an answer that began is asked nowhere else"
    until("the other service answers", partial(is_served, user))
    assert receipts(user, other) == before + 1
    assert "retired" in states(user, running.job_id)
