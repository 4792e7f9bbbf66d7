"""The card of a published asset: where it goes, and its lines for people."""

from __future__ import annotations

from pathlib import Path

from sealmarket.cli._options import coins
from sealmarket.client.asset_card import AssetCard, asset_card
from sealmarket.client.sealed_asset import CARD, SealedAsset
from sealmarket.client.written import moment
from sealmarket.files import read_file
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address, parse_json

ASSET_CARD = "asset-card.json"


def write_card(sealed: SealedAsset, place: Path, owner: Address, book: AddressBook) -> AssetCard:
    """Write the card of a sealed asset, and return it."""
    made = asset_card(sealed.policy, parse_json(read_file(sealed.folder / CARD)), owner, book)
    place.write_bytes(made.text())
    return made


def card_lines(card: AssetCard, now: int) -> list[str]:
    """What is sold, for how much and until when."""
    price = card.price_text if any(card.token) else coins(card.price)
    return [
        f"  title       {card.title}",
        f"  price       {price} a use",
        f"  purposes    {', '.join(card.purposes)}",
        f"  until       {moment(card.expiry, now)}",
        f"  columns     {', '.join(card.columns) or 'none were published'}",
    ]
