"""The parameters of requests: what is kept of them, and who sent it. A reader compares them with the signed digest."""

from __future__ import annotations

from sealmarket.protocol.limits import MAXIMUM_PARAMETERS
from sealmarket_backend.errors import NotFound, Rejected, TooLarge
from sealmarket_backend.quotas import Count
from sealmarket_backend.tables import Connection, Database
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json, decode
from sealmarket_enclave.protocol.job import Parameters, parameters_digest

_KEPT = (
    "INSERT INTO parameters (request_hash, body) VALUES (?, ?)"
    " ON CONFLICT (request_hash) DO UPDATE SET body = excluded.body"
)
_SENDER = "INSERT INTO senders (request_hash, peer, bytes) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


def require_size(parameters: Parameters) -> None:
    """Raise :class:`TooLarge` for parameters that no node would read."""
    if (length := len(canonical_json(parameters))) > MAXIMUM_PARAMETERS:
        raise TooLarge(f"parameters have at most {MAXIMUM_PARAMETERS} bytes, found {length}")


def require_digest(parameters: Parameters, expected: Bytes32) -> None:
    """Return if these are the parameters that a consumer signed. Raises :class:`TooLarge`, :class:`Rejected`."""
    require_size(parameters)
    found = parameters_digest(parameters.salt, canonical_json(parameters.values))
    if found != expected:
        raise Rejected(f"expected parameters with digest {expected}, found {found}", remedy="post what was signed")


class KeptParameters:
    """The tables of parameters and their senders. ``count`` counts bytes of a peer, and may raise StoreFull."""

    def __init__(self, database: Database, count: Count) -> None:
        self._database, self._count = database, count

    def keep(self, connection: Connection, request_hash: Bytes32, document: bytes, peer: str, size: int) -> None:
        """Keep them with a request, in its transaction; ``size`` is of both, and counted already."""
        connection.later(_KEPT, (request_hash, document))
        connection.later(_SENDER, (request_hash, peer, size))

    def add(self, request_hash: Bytes32, parameters: Parameters, peer: str) -> None:
        """Keep those of a request that is not kept here; again is the same as once, and costs nothing. Raises
        :class:`StoreFull`."""
        document = canonical_json(parameters)
        same = "SELECT 1 FROM parameters WHERE request_hash = ? AND body = ?"
        if self._database.row(same, request_hash, document) is not None:
            return
        with self._count(peer, len(document)), self._database.write() as connection:
            self.keep(connection, request_hash, document, peer, len(document))

    def has(self, request_hash: Bytes32) -> bool:
        """Whether a request's parameters are kept."""
        return self._database.row("SELECT 1 FROM parameters WHERE request_hash = ?", request_hash) is not None

    def of(self, request_hash: Bytes32) -> Parameters:
        """A request's parameters. Raises :class:`NotFound`."""
        row = self._database.row("SELECT body FROM parameters WHERE request_hash = ?", request_hash)
        if row is None:
            raise NotFound(f"no parameters for request {request_hash}", remedy="ask the consumer to post them")
        return decode(Parameters, row["body"])
