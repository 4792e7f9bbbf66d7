"""A program that holds the key, on a real chain: what it signs is mined, and what it alters never reaches a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eth_account import Account
from msgspec.structs import replace

from sealmarket.chain import Chain, Sender
from sealmarket.client.errors import SignerRefused
from sealmarket.client.remote import RemoteSigner
from sealmarket_enclave.protocol.codec import Address
from sealmarket_localnet import chains
from sealmarket_localnet.market import DEVELOPMENT_BANK, ETHER
from sealmarket_localnet.processes import Supervisor
from tests.client.bundles import Case
from tests.client.signer import FakeSigner, new_account, serving


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    with Supervisor(tmp_path / "logs") as programs:
        book = Case().book
        url = chains.anvil(programs, "--block-time", "0.25").url
        with closing(Chain(replace(book, chain_id=chains.CHAIN_ID), url)) as made:
            yield made


def test_a_transfer_by_a_remote_signer_is_mined_and_an_altered_one_is_never_sent(chain: Chain) -> None:
    fake = FakeSigner(new_account(), lambda _method, honest: honest)
    account = Address.parse(fake.account.address.lower())
    Sender(chain, Account.from_key(DEVELOPMENT_BANK), development=True).transfer(account, ETHER)
    with serving(fake) as url:
        sender = Sender(chain, RemoteSigner(url, account, "clef", seconds=10))
        receiver = Address(b"\x77" * 20)
        sender.transfer(receiver, 1000)
        assert chain.balance(receiver, chain.head()) == 1000
        fake.tamper = lambda fields: {**fields, "value": fields["value"] * 10}
        with pytest.raises(SignerRefused, match="value"):
            sender.transfer(receiver, 2000)
        fake.tamper = lambda fields: fields
        sender.transfer(receiver, 3000)
    assert chain.balance(receiver, chain.head()) == 4000
