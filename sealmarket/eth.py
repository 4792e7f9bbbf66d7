"""eth-account and web3, loaded without the curve BLS12-381, which costs half of their time to import.

Keystores of validators (version 4) need that curve, and no account of a market is one. eth-keyfile imports it from
py-ecc, which computes tables of pairings as it is imported. A module that needs either library imports this one first:
eth-keyfile then gets the order of the curve as a number, and its keys when it first asks for one. Any other module that
imports py-ecc gets py-ecc. An eth-keyfile that wants more than these two loads as it does without this module.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from web3.providers import JSONBaseProvider

_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Of the subgroups of BLS12-381 (draft-irtf-cfrg-pairing-friendly-curves-11, section 4.2.1)."""


class _Keys:
    """The keys of validators, loaded when something is asked of them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("py_ecc.bls").G2ProofOfPossession, name)


def _load_keyfile() -> None:
    """Import eth-keyfile while two modules stand in for py-ecc's."""
    wanted: dict[str, dict[str, object]] = {
        "py_ecc.bls": {"G2ProofOfPossession": _Keys()},
        "py_ecc.bls12_381": {"curve_order": _ORDER},
    }
    if {"eth_keyfile", *wanted} & set(sys.modules):
        return  # loaded already: there is nothing to spare
    for name, names in wanted.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(names)
    try:
        with suppress(ImportError):
            import_module("eth_keyfile")
    finally:
        for name in wanted:
            del sys.modules[name]


_load_keyfile()

from eth_account import Account  # noqa: E402 - imports eth-keyfile
from eth_account.signers.local import LocalAccount  # noqa: E402

__all__ = ["Account", "LocalAccount", "json_rpc"]


def json_rpc() -> JSONBaseProvider:
    """What spells JSON-RPC requests; web3 is loaded here."""
    from web3.providers import JSONBaseProvider

    return JSONBaseProvider()
