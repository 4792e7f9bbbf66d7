"""The certificate table that a host gives a guest beside its report (GHCB 2.03, 4.1.8; the kernel's ``auxblob``).

Entries of 24 bytes, each a GUID and the offset and length of its data in the table, end with one of zeros; then comes
the data. Everything in it is only claimed: certificates count only under a pinned root.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from uuid import UUID

from sealmarket.attestation.amd.report import REPORT_SIZE
from sealmarket.attestation.core.errors import NotEvidence

_ENTRY = struct.Struct("<16sII")
MAXIMUM_ENTRIES = 32
MAXIMUM_TABLE = 256 << 10
CERTIFICATES = {
    UUID("63da758d-e664-4564-adc5-f4b93be8accd"): "VCEK",
    UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1"): "VLEK",
    UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782"): "ASK",
    UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae"): "ARK",
}
"""The GUIDs of certificates. Entries of others, a CRL's too, are a host's own: a verifier takes its CRL elsewhere."""


def is_certificate_table(data: bytes) -> bool:
    """Whether bytes start like a table: its first entry is a certificate of AMD's, right behind the entries."""
    if len(data) < 2 * _ENTRY.size:
        return False
    guid, offset, _ = _ENTRY.unpack_from(data)
    return UUID(bytes_le=guid) in CERTIFICATES and offset >= 2 * _ENTRY.size


def read_certificate_table(data: bytes) -> tuple[bytes, ...]:
    """The certificates in a table, as its entries hold them: DER.

    Raises:
        NotEvidence: longer than ``MAXIMUM_TABLE``, more than ``MAXIMUM_ENTRIES``, without its end, or an entry whose
            data is not in the table.
    """
    if len(data) > MAXIMUM_TABLE:
        raise NotEvidence(f"a certificate table has at most {MAXIMUM_TABLE} bytes, found {len(data)}")
    return tuple(found for guid, found in _entries(data) if guid in CERTIFICATES)


def _entries(data: bytes) -> Iterator[tuple[UUID, bytes]]:
    for at in range(0, MAXIMUM_ENTRIES * _ENTRY.size, _ENTRY.size):
        if at + _ENTRY.size > len(data):
            raise NotEvidence(f"the certificate table ends at byte {len(data)} without its last entry")
        guid, offset, length = _ENTRY.unpack_from(data, at)
        if guid == bytes(16):
            return
        if offset + length > len(data):
            raise NotEvidence(f"an entry of the certificate table points to byte {offset + length} of {len(data)}")
        yield UUID(bytes_le=guid), data[offset : offset + length]
    raise NotEvidence(f"a certificate table has at most {MAXIMUM_ENTRIES} entries")


def split_extended(data: bytes) -> tuple[bytes, tuple[bytes, ...]] | None:
    """The report and the certificates of an extended report (a report, then a table); None for anything else.

    Raises:
        NotEvidence: as :func:`read_certificate_table`.
    """
    if not is_certificate_table(data[REPORT_SIZE : REPORT_SIZE + 2 * _ENTRY.size]):
        return None
    return data[:REPORT_SIZE], read_certificate_table(data[REPORT_SIZE:])
