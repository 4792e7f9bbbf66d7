"""Which rows are withheld from a workload: a secret of the job picks them, by what they hold (docs/spec/outputs.md).

A party that knew the secret beforehand could publish, or ask for, a table in which rows that are withheld stand again.
So it follows from the data keys of all assets; a consumer lacks those of other owners. The same job has the same
secret, however often its enclave starts: a host that starts it again draws no other rows. Another job has another.

Equal rows are withheld together, wherever they stand: twice in a table, in two versions of an asset, in an asset that a
job uses twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealmarket_enclave.protocol.numbers import JobId

_LABEL = b"sealmarket/withheld/1"
_BYTES = 32


def row_secret(job_id: JobId, keys: Sequence[bytes]) -> str:
    """The secret of one job as 64 hex digits: HKDF-SHA-256 of its data keys, in the order of its assets."""
    derived = HKDF(algorithm=SHA256(), length=_BYTES, salt=None, info=_LABEL + bytes(job_id)).derive(b"".join(keys))
    return derived.hex()
