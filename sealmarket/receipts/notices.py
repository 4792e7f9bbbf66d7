"""What an enclave sealed to an owner or a consumer about an input that failed (docs/spec/receipt.md, "Notices")."""

from __future__ import annotations

from msgspec import UNSET

from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.book import AddressBook
from sealmarket.receipts.envelope import opened
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import decode_canonical
from sealmarket_enclave.protocol.receipt import Envelope, ReceiptPredicate
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.notices import Notice, open_notice


def failed_receipt(store: Store, record: JobRecord) -> ReceiptPredicate | None:
    """What the enclave testified of a job that it ended without a result; None for a job that ended in another way.

    The market took the enclave's signature over the failure, which names the receipt by its hash.

    Raises:
        ServiceError: the store lacks the receipt, or gives another document.
        MalformedDocument: the document of that hash is no receipt.
    """
    if record.failed is None:
        return None
    statement, _, _ = opened(decode_canonical(Envelope, store.document(record.failed.receipt_hash)))
    return statement.predicate


def notice_of(receipt: ReceiptPredicate, key: PrivateKey, book: AddressBook) -> Notice | None:
    """The notice that was sealed to this key; None where none was.

    Raises:
        NotOpened, MalformedDocument: it was altered, or is about another job.
    """
    if receipt.notices is UNSET:
        return None
    return open_notice(receipt.notices, key, job_id=receipt.job_id, chain_id=book.chain_id, market=book.market)
