"""Read a receipt's DSSE envelope."""

from __future__ import annotations

import base64

from sealmarket_enclave.protocol.codec import Address, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.receipt import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE, Envelope, Statement


def opened(env: Envelope) -> tuple[Statement, Address, bytes]:
    """The statement, the signer that it names, and the signature; the caller recovers the signer and compares.

    Raises:
        MalformedDocument: not one signature, another payload type, or a payload that is not canonical.
    """
    if env.payload_type != PAYLOAD_TYPE or len(env.signatures) != 1:
        raise MalformedDocument("a receipt is one in-toto statement with one signature")
    entry = env.signatures[0]
    try:
        payload = base64.b64decode(env.payload, validate=True)
        signature = base64.b64decode(entry["sig"], validate=True)
        signer = Address.parse(entry["keyid"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedDocument(f"the receipt's envelope is malformed: {error}") from error
    statement = decode_canonical(Statement, payload)
    if statement.type_ != STATEMENT_TYPE or statement.predicate_type != PREDICATE_TYPE:
        raise MalformedDocument(f"expected a {PREDICATE_TYPE} statement, found {statement.predicate_type}")
    return statement, signer, signature
