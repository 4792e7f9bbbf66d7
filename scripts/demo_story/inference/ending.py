"""The end of the story: the owner revokes the model, the service is gone within its lease, each coin is counted."""

from __future__ import annotations

import time
from functools import partial

from scripts.demo_story.inference import parts
from scripts.demo_story.inference.parts import NAMES, USERS
from scripts.demo_story.inference.state import Service
from scripts.demo_story.inference.users import POLL_SECONDS
from scripts.demo_story.stage import StoryBroken
from scripts.demo_story.story import signed
from sealmarket.client.tabs import Closing, Tabs
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_localnet.market import coin

_GONE = (410, 502, 503)
"""What a proxy answers of a service that is over, whose host is gone, or whose lease is."""


def revoke(service: Service) -> None:
    """Revoke the model, and ask until no answer comes any more."""
    stage, cast, sealed = service.stage, service.cast, service.sealed
    assert sealed is not None
    stage.console.act(
        "The owner revokes the model",
        "No node renews the lease of a revoked model, so the enclave stops by itself, whatever its host does.",
    )
    with stage.console.step("revoke", "The owner revokes it: one transaction"):
        cast.owner.revoke(sealed.asset_id, sealed.version)
    revoked, answered, user = time.monotonic(), 0.0, service.users["user_a"]
    with stage.console.step("gone", f"The service answers no more, within its lease of {parts.LEASE_SECONDS} s"):
        while (status := user.status()) == 200:
            answered = time.monotonic() - revoked
            service.market.programs.require_running()
            time.sleep(POLL_SECONDS)
            if answered > parts.LEASE_SECONDS:
                raise StoryBroken(f"a revoked model answered {answered:.0f} s later, longer than its lease")
    if status not in _GONE:
        raise StoryBroken(f"the proxy of a service that is over answers {status}, expected one of {_GONE}")
    service.facts["goneAfterSeconds"] = round(time.monotonic() - revoked, 3)


def close_all(service: Service) -> None:
    """The last statement, the owner's royalties, the rest of each tab, and the bond."""
    stage = service.stage
    stage.console.act("What is left returns", "The enclave's last statement closes each tab; the bond is free with it.")
    with stage.console.step("last", "The last statement is on chain; the owner's royalties are paid"):
        service.wait("the last statement is redeemed", lambda: service.state.last)
        service.wait("the royalties are paid", lambda: service.state.credited == service.state.redeemed)
    with stage.console.step("close", "Each user takes the rest of its tab back"):
        for name in USERS:
            tabs = service.tabs(name)
            service.wait(f"{NAMES[name]} can close", partial(_closable, tabs, service.job_id))
            if tabs.close(service.job_id)[0] is not Closing.RETURNED:
                raise StoryBroken(f"the rest of {NAMES[name]}'s tab did not return")
    with stage.console.step("bond", "The bond returns to the provider, and the job ends: its stake is free"):
        service.wait("the bond has returned", lambda: not service.state.bond)
        service.wait("the job has ended", lambda: service.status is Status.MATURED)


def _closable(tabs: Tabs, job_id: JobId) -> bool:
    found = tabs.status(job_id)
    return found.now >= found.closable_at


def count(service: Service) -> None:
    """Balances before and after: users paid their receipts, the owner its terms, the nodes their signatures."""
    after, redeemed = service.balances(), int(service.state.redeemed)
    change = {name: after[name] - service.before[name] for name in NAMES}
    units = {name: user.units for name, user in service.users.items()}
    fees = -sum(change.values())
    service.stage.console.act("Each party is paid, exactly")
    rows = [(NAMES[name], coin(service.before[name]), coin(after[name]), signed(change[name])) for name in NAMES]
    rows.append(("Oracle nodes, for their signatures", coin(0), coin(fees), signed(fees)))
    service.stage.console.table("Inside the market, in coins", ("", "before", "after", "change"), rows, right=(1, 2, 3))
    owed = int(parts.OPENING_PRICE) + redeemed * int(parts.ROYALTY)
    expected = {name: -count * int(parts.UNIT_PRICE) for name, count in units.items()} | {"owner": owed}
    for name, due in expected.items():
        if change[name] != due:
            raise StoryBroken(f"{NAMES[name]} changed by {change[name]}, expected {due}")
    if redeemed != sum(units.values()) or fees <= 0:
        raise StoryBroken(f"{redeemed} tokens are redeemed, and the receipts say {sum(units.values())}")
    service.facts["tokens"] = units
    service.facts["changes"] = {name: str(value) for name, value in change.items()}
    service.stage.console.say(
        f"[dim]{redeemed} tokens, those of User A's questions after the revocation among them: each user paid what its "
        "receipts say, and the owner has "
        f"{coin(parts.OPENING_PRICE)} for the opening and {coin(parts.ROYALTY)} for each token.[/]"
    )
