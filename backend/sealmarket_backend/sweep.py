"""Takes blobs out of the store that nothing names: no asset, open order, proposal or job, nor a document of theirs.

What a text names is every 32-byte value in it, which is more than the blobs that it means: nothing is taken away that
a party may still look for.
"""

from __future__ import annotations

import logging
import re

from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.errors import NotFound
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import MAX_RESULT_KEYS

_NAME = re.compile(rb"0x([0-9a-f]{64})(?![0-9a-f])")
_TEXTS = (
    "SELECT body FROM requests WHERE state = 'open'",
    "SELECT body FROM compute_orders WHERE state = 'open'",
    "SELECT body FROM asset_orders WHERE state = 'open'",
    "SELECT body FROM proposals",
    "SELECT body FROM answers",
    "SELECT seal FROM assets",
    "SELECT terms FROM assets",
    "SELECT spec FROM jobs",
    "SELECT facts FROM jobs",
    "SELECT body FROM results",
)
log = logging.getLogger(__name__)


def sweep(database: Database, blobs: Blobs) -> int:
    """Remove what is old enough and not named; returns how many blobs. Call it while the index is up to date."""
    since, candidates = blobs.ledger.expired()
    if not candidates:
        return 0
    named = _named(database, blobs)
    gone = sum(blobs.remove(Kind(kind), name, since) for kind, name in candidates if name not in named)
    if gone:
        log.info("%d blobs that nothing names are gone after %d s", gone, blobs.ledger.limits.unreferenced_seconds)
    return gone


def _named(database: Database, blobs: Blobs) -> set[bytes]:
    found = {bytes(row["name"]) for row in database.rows("SELECT name FROM kept")}
    for query in _TEXTS:
        for row in database.each(query):
            found |= _names(row[0])
    unread = list(found)
    while unread:
        read = _document(blobs, unread.pop())
        fresh = (_names(read) | _key_names(read)) - found
        found |= fresh
        unread.extend(fresh)
    return found


def _key_names(document: bytes) -> set[bytes]:
    """What the list of a job's result keys names; of another document of such a length, words that name nothing."""
    if len(document) > MAX_RESULT_KEYS * Bytes32.length or len(document) % Bytes32.length:
        return set()
    return {document[at : at + Bytes32.length] for at in range(0, len(document), Bytes32.length)}


def _document(blobs: Blobs, name: bytes) -> bytes:
    try:
        return blobs.path(Kind.DOCUMENTS, Bytes32(name)).read_bytes()
    except NotFound:
        return b""


def _names(text: bytes | str) -> set[bytes]:
    raw = text.encode() if isinstance(text, str) else text
    return {bytes.fromhex(match.decode()) for match in _NAME.findall(raw)}
