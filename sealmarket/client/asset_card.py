"""What an owner hands to a consumer: one small public file that names an asset, and says what is sold and for how much.

A card is a convenience, never a promise: commands take id and version from it, and read everything that counts on the
chain. It has at most :data:`MAXIMUM_CARD` bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, json

from sealmarket.client.errors import ClientError
from sealmarket.client.written import iso
from sealmarket.files import read_file
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.cards import MOST_COLUMNS, card_of
from sealmarket.protocol.purposes import MOST_LABELS, purposes_of
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, Shape, Wei, canonical_json, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import U32, AssetId, Timestamp
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.terms import Terms

MAXIMUM_CARD = 64 << 10
SUFFIX = ".asset.json"
_Short = Annotated[str, Meta(max_length=200)]


class AssetCardRefused(ClientError):
    """A file is no asset card."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"{path} is no asset card: {detail}", remedy="name the file of `owner publish`, or the asset's id"
        )


class AssetCard(Shape, frozen=True, kw_only=True):
    """One version of an asset. ``columns`` and ``labels`` as published; ``price`` in the token's smallest unit.

    ``book_digest`` is the Keccak-256 of the canonical address book, by which a consumer sees that both use one market.
    """

    version: Literal["sealmarket/asset-card/1"] = "sealmarket/asset-card/1"
    asset_id: AssetId
    asset_version: U32
    title: _Short
    owner: Address
    columns: Annotated[tuple[_Short, ...], Meta(max_length=MOST_COLUMNS)] = ()
    price: Wei
    price_text: _Short
    token: Address
    purposes: tuple[_Short, ...]
    labels: Annotated[tuple[_Short, ...], Meta(max_length=MOST_LABELS)] = ()
    expiry: Timestamp
    expires: _Short
    workloads: Annotated[tuple[Bytes32, ...], Meta(max_length=64)]
    chain_id: int
    market: Address
    book_digest: Bytes32

    def text(self) -> bytes:
        """The card's file: JSON with line breaks."""
        return json.format(canonical_json(self), indent=2) + b"\n"


def asset_card(policy: PolicyDocument, data_card: dict[str, Any], owner: Address, book: AddressBook) -> AssetCard:
    """The card of a version, from its policy and data card, which are both public."""
    terms, public = policy.terms, card_of(data_card)
    return AssetCard(
        asset_id=policy.asset_id,
        asset_version=policy.asset_version,
        title=policy.title,
        owner=owner,
        columns=public.columns,
        price=terms.price,
        price_text=f"{terms.price.coins}coin"
        if not any(terms.token)
        else f"{int(terms.price)} of {terms.token.checksum}",
        token=terms.token,
        purposes=tuple(purpose.name.lower() for purpose in purposes_of(terms.purposes)),
        labels=public.purposes,
        expiry=terms.expiry,
        expires=iso(terms.expiry),
        workloads=policy.workloads[:64],
        chain_id=book.chain_id,
        market=book.market,
        book_digest=book_digest(book),
    )


def load_asset_card(path: Path) -> AssetCard:
    """Read a card.

    Raises:
        AssetCardRefused: it cannot be read, is longer than a card, or is none.
    """
    try:
        return decode(AssetCard, read_file(path, MAXIMUM_CARD))
    except OSError as error:
        raise AssetCardRefused(path, error.strerror or "it cannot be read") from error
    except MalformedDocument as error:
        raise AssetCardRefused(path, error.message) from error


def book_digest(book: AddressBook) -> Bytes32:
    """The Keccak-256 of an address book's canonical bytes."""
    return keccak(book.canonical())


def _price(terms: Terms) -> str:
    native = terms.token == ZERO_ADDRESS
    return f"{terms.price.coins}coin" if native else f"{int(terms.price)} of {terms.token.checksum}"
