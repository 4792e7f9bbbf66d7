"""Recursive-length prefix encoding (Ethereum yellow paper, appendix B) by the library rlp, loaded at the first use.

It brings eth-utils and pydantic with it, and commands that prove nothing would wait for them.
"""

from __future__ import annotations

from typing import Any


class NotRlp(ValueError):
    """The bytes are no item of this encoding, or nest too deep."""


def encode(item: Any) -> bytes:
    """The bytes of an item: bytes, a number, or a list of items."""
    import rlp

    return bytes(rlp.encode(item))


def decode(raw: bytes) -> Any:
    """The item in these bytes: bytes, or a list of items. Raises :class:`NotRlp`."""
    import rlp

    try:
        return rlp.decode(raw)
    except (rlp.exceptions.RLPException, RecursionError) as error:
        raise NotRlp(str(error)) from error
