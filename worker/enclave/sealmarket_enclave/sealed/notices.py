"""What is wrong with an input, for its owner and the job's consumer alone: sealed, and carried in the receipt.

Rules (docs/spec/receipt.md, "Notices"):

1. The plaintext is ``u16(length) || canonical notice || zeros`` of :data:`NOTICE_BYTES` bytes, so that its size tells
   nothing of the name in it.
2. It is sealed by HPKE to the first result key and to the owner's ``noticeKey``, each under a :class:`NoticeInfo` that
   names chain, market, job and that key. A ``noticeKey`` that is no HPKE key gets none.
3. HPKE names no sender: the receipt that carries a notice is signed by the attested key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Address, HexBytes, Shape, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import U8, JobId
from sealmarket_enclave.protocol.receipt import SealedNotice
from sealmarket_enclave.sealed.contexts import NoticeInfo
from sealmarket_enclave.sealed.hpke import PrivateKey, PublicKey

NOTICE_BYTES = 2048
"""A column's name has at most 200 characters, 6 bytes each as JSON spells the longest."""
_PREFIX = 2


class Notice(Shape, frozen=True, kw_only=True):
    """Why the input at ``asset_index`` failed: the public code, the column, and how many rows were counted."""

    version: Literal["sealmarket/notice/1"] = "sealmarket/notice/1"
    job_id: JobId
    asset_index: U8
    code: Annotated[str, Meta(max_length=64)]
    column: Annotated[str, Meta(max_length=200)] | None
    rows: int | None


def seal_notice(
    notice: Notice, keys: Iterable[PublicKey], *, chain_id: int, market: Address
) -> tuple[SealedNotice, ...]:
    """Seal a notice to each key, once."""
    text = notice.canonical()
    padded = (len(text).to_bytes(_PREFIX, "big") + text).ljust(NOTICE_BYTES, b"\0")
    return tuple(
        SealedNotice(key=key.digest, sealed=HexBytes(key.seal(padded, _info(notice.job_id, key, chain_id, market))))
        for key in dict.fromkeys(keys)
    )


def open_notice(
    sealed: Iterable[SealedNotice], private: PrivateKey, *, job_id: JobId, chain_id: int, market: Address
) -> Notice | None:
    """The notice that was sealed to this key; None where none was. Check the receipt's signature first.

    Raises:
        NotOpened: altered, or of another job.
        MalformedDocument: what was sealed is no notice of this job.
    """
    for one in sealed:
        if one.key == private.public.digest:
            text = private.open(one.sealed, _info(job_id, private.public, chain_id, market))
            notice = decode_canonical(Notice, text[_PREFIX : _PREFIX + int.from_bytes(text[:_PREFIX], "big")])
            if notice.job_id != job_id:
                raise MalformedDocument(f"a notice about job {notice.job_id}, expected {job_id}")
            return notice
    return None


def _info(job_id: JobId, key: PublicKey, chain_id: int, market: Address) -> NoticeInfo:
    return NoticeInfo(chain_id=chain_id, market=market, job_id=job_id, key=key.digest)
