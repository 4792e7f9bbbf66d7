"""A bundle: a whole collateral store as one file, for machines without network, which prove each piece again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.store import CollateralStore, describe, documents_in
from sealmarket.attestation.core.certificates import load_certificate, load_crl
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.registry import MODULES, CollateralDocument
from sealmarket_enclave.protocol.codec import parse_json, prepared
from sealmarket_enclave.protocol.numbers import Tee

MOST_LISTED = 128
"""Certificates and revocation lists that one node sends another. A vendor has a root and a list for each generation."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in a store, for machines without network: certificates and CRLs in hex DER, documents by TEE."""

    version: Literal["sealmarket/collateral-bundle/1"] = "sealmarket/collateral-bundle/1"
    intel: tuple[CollateralDocument, ...]
    certificates: tuple[str, ...] = ()
    crls: tuple[str, ...] = ()
    documents: Mapping[str, tuple[str, ...]] = {}


def lists_bundle(lists: Endorsements) -> bytes:
    """Revocation lists and the roots that signed them, as a bundle."""
    crls = _in_hex(crl.public_bytes(Encoding.DER) for crl in lists.crls)
    roots = _in_hex(root.public_bytes(Encoding.DER) for root in lists.certificates)
    return msgspec.json.encode(Bundle(intel=(), certificates=roots, crls=crls))


def lists_in(bundle: Bundle) -> Endorsements:
    """The certificates and revocation lists of a bundle, of which nothing is proven yet.

    Raises:
        CollateralError: one cannot be read, or they are more than :data:`MOST_LISTED` together.
    """
    if len(bundle.certificates) + len(bundle.crls) > MOST_LISTED:
        raise CollateralError(f"expected at most {MOST_LISTED} certificates and revocation lists in a bundle")
    try:
        return Endorsements(
            certificates=tuple(load_certificate(bytes.fromhex(text)) for text in bundle.certificates),
            crls=tuple(load_crl(bytes.fromhex(text)) for text in bundle.crls),
        )
    except ValueError as error:
        raise CollateralError(f"not a collateral bundle: {error}") from error


EMPTY_BUNDLE = msgspec.json.encode(Bundle(intel=()))
"""Nothing, as a file."""


def export_bundle(store: CollateralStore) -> bytes:
    """Everything that holds in a store, as one JSON file."""
    kept = store.everything()
    documents = {tee.slug: _in_hex(store.documents(tee)) for tee in MODULES}
    bundle = Bundle(
        intel=tuple(CollateralDocument.from_json(entry.collateral.to_json()) for entry in store.entries()),
        certificates=_in_hex(certificate.public_bytes(Encoding.DER) for certificate in kept.certificates),
        crls=_in_hex(crl.public_bytes(Encoding.DER) for crl in kept.crls),
        documents={slug: found for slug, found in documents.items() if found},
    )
    return msgspec.json.encode(bundle)


def read_bundle(raw: bytes) -> Bundle:
    """A bundle of which nothing is proven yet. Raises :class:`CollateralError`."""
    try:
        bundle: Bundle = parse_json(raw, prepared(Bundle))
        return bundle
    except NOT_JSON as error:
        raise CollateralError(f"not a collateral bundle: {error}") from error


def import_bundle(store: CollateralStore, raw: bytes) -> int:
    """Prove and store everything in a bundle, or nothing.

    Returns:
        How many pieces were stored.

    Raises:
        CollateralError: not a bundle, or a piece that cannot be read.
        EvidenceRefused: a piece that does not hold.
    """
    bundle = read_bundle(raw)
    try:
        loose = Endorsements(
            certificates=tuple(load_certificate(bytes.fromhex(text)) for text in bundle.certificates),
            crls=tuple(load_crl(bytes.fromhex(text)) for text in bundle.crls),
        )
        documents = [
            (Tee.from_slug(slug), bytes.fromhex(text)) for slug, texts in bundle.documents.items() for text in texts
        ]
    except ValueError as error:
        raise CollateralError(f"not a collateral bundle: {error}") from error
    for collateral in bundle.intel:
        describe(collateral, store.anchors)
    for tee, document in documents:
        documents_in(tee, document)
    for collateral in bundle.intel:
        store.put(collateral)
    store.put_certificates(loose)
    for tee, document in documents:
        store.put_document(tee, document)
    return len(bundle.intel) + len(loose.certificates) + len(loose.crls) + len(documents)


def _in_hex(blobs: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(blob.hex() for blob in blobs)
