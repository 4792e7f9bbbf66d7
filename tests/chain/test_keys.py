"""Keys that everybody knows hold nothing, except on a chain of one's own."""

from __future__ import annotations

import pytest

from sealmarket.chain import DevelopmentKeyRefused
from sealmarket.chain.keys import publicly_known, refuse_publicly_known
from sealmarket_enclave.protocol.codec import Address

ANVIL_0 = Address.parse("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266")
GANACHE_0 = Address.parse("0x90f8bf6a479f320ead074411a4b0e7944ea8c9c1")
KEY_ONE = Address.parse("0x7e5f4552091a69125d5dfcb7b8c2659029395bdf")
LOOPBACK = "http://127.0.0.1:8545"


@pytest.mark.parametrize("account", [ANVIL_0, GANACHE_0, KEY_ONE])
@pytest.mark.parametrize(
    ("chain_id", "url", "development"),
    [
        (1, "https://rpc.example", False),
        (1, LOOPBACK, True),
        (31337, "https://rpc.example", True),
        (31337, "http://127.0.0.1.example", True),
        (31337, LOOPBACK, False),
    ],
)
def test_a_known_key_is_refused(account: Address, chain_id: int, url: str, development: bool) -> None:
    with pytest.raises(DevelopmentKeyRefused):
        refuse_publicly_known(account, chain_id=chain_id, url=url, development=development)


def test_a_known_key_works_on_a_chain_that_its_caller_started() -> None:
    refuse_publicly_known(ANVIL_0, chain_id=31337, url=LOOPBACK, development=True)


def test_a_key_of_ones_own_works_everywhere() -> None:
    own = Address(b"\x5a" * 20)
    assert own not in publicly_known()
    refuse_publicly_known(own, chain_id=1, url="https://rpc.example", development=False)
