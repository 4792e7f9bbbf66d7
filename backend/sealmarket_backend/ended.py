"""Owners' offers of versions whose committee ends: they leave the book once no job, however short, is over by then."""

from __future__ import annotations

from sealmarket.protocol.fitting import Rules
from sealmarket.protocol.moments import moment
from sealmarket_backend.errors import Rejected
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.terms import Seal


class EndedEpochs:
    """Closes the offers of each epoch once: from then on none is taken in."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database, self._rules = database, rules
        self._closed: set[int] = set()

    def close(self, now: int) -> None:
        """``open -> expired``, with the reason.

        Raises:
            ChainError: it cannot be read which epochs end.
        """
        for epoch in self._rules.committees:
            if epoch not in self._closed and self._rules.is_over(epoch, now):
                self._close(epoch)
                self._closed.add(epoch)

    def _close(self, epoch: int) -> None:
        reason = over(epoch, self._rules.ends_of(epoch))
        with self._database.lead() as connection:
            versions = connection.execute(
                "SELECT DISTINCT asset_id, version, seal FROM assets JOIN asset_orders USING (asset_id, version)"
                " WHERE state = 'open'"
            ).fetchall()
            for row in versions:
                if decode(Seal, row["seal"]).epoch == epoch:
                    connection.execute(
                        "UPDATE asset_orders SET state = 'expired', reason = ?"
                        " WHERE asset_id = ? AND version = ? AND state = 'open'",
                        (reason, row["asset_id"], row["version"]),
                    )


def over(epoch: int, ends_at: int) -> str:
    """Why an owner's offer cannot be matched any more."""
    return f"the committee of epoch {epoch}, which holds the shares, ends at {moment(ends_at)}: no job is over by then"


def require_current(expiry: int, now: int, ahead: int) -> None:
    """Return if an order has not expired, and expires at most so many seconds from now. Raises :class:`Rejected`."""
    if expiry <= now:
        raise Rejected(
            f"the order expired at {expiry}, and it is {now}",
            remedy="sign one that lasts longer",
            rule="an order has not expired",
            expected=f"later than {now}",
            found=expiry,
        )
    if expiry > (latest := now + ahead):
        raise Rejected(
            f"the order expires at {expiry}, and this book takes none that expires after {latest}",
            remedy="sign one that ends earlier, and the next one when it does",
            rule="an order ends within the time for which this book keeps one",
            expected=f"at most {latest}",
            found=expiry,
        )
