"""What an oracle node says of itself before a committee names it: its member of one epoch, under its signing key.

`sealmarket oracle init` prints it, and a node that runs serves it. The signature (EIP-191) shows that who wrote the
member holds the signing key, and that HPKE key, URL and epoch are as it was signed. Whose key it is, no document shows:
people compare the address.
"""

from __future__ import annotations

from typing import Literal

from sealmarket.protocol.book import Member
from sealmarket_enclave.protocol.codec import Address, HexBytes, Shape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import U32
from sealmarket_enclave.protocol.signing import personal_digest, recover

MAXIMUM_MEMBER = 16 << 10
"""Bytes of a signed member; one has about 3 kB."""
MOST_MEMBERS = 11
"""Members of a committee (`contracts/types/Committees.sol`)."""
DOMAIN = b"sealmarket/member/1\0"


class SignedMember(Shape, frozen=True, kw_only=True):
    """A node's keys and URL for one epoch, with its signature."""

    version: Literal["sealmarket/member/1"] = "sealmarket/member/1"
    epoch: U32
    member: Member
    signature: HexBytes

    def recovered(self) -> Address:
        """The account that signed it. Raises :class:`SignatureRefused`."""
        return recover(personal_digest(member_text(self.epoch, self.member)), self.signature)


def member_text(epoch: int, member: Member) -> bytes:
    """What the signing key signs: the domain, the epoch in 4 bytes, the Keccak-256 of the canonical member."""
    return DOMAIN + epoch.to_bytes(4, "big") + bytes(keccak(member.canonical()))
