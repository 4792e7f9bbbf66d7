"""eth-account and web3, loaded without the curve BLS12-381, which costs half of their time to import.

Keystores of validators (version 4) need that curve, and no account of a market is one. eth-keyfile imports it from
py-ecc, which computes tables of pairings as it is imported. A module that needs either library imports this one first:
eth-keyfile then gets the order of the curve as a number, and its keys when it first asks for one. Any other module that
imports py-ecc gets py-ecc, in whatever thread. An eth-keyfile that wants more than these two gets py-ecc too.
"""

from __future__ import annotations

import builtins
import sys
from contextlib import suppress
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from web3.providers import JSONBaseProvider

_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Of the subgroups of BLS12-381 (draft-irtf-cfrg-pairing-friendly-curves-11, section 4.2.1)."""


class _Keys:
    """The keys of validators, loaded when something is asked of them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("py_ecc.bls").G2ProofOfPossession, name)


_STAND_INS: dict[str, dict[str, object]] = {
    "py_ecc.bls": {"G2ProofOfPossession": _Keys()},
    "py_ecc.bls12_381": {"curve_order": _ORDER},
}
_KEYFILE = "eth_keyfile.keyfile"


def _import(name: str, scope: Any = None, local: Any = None, names: Any = (), level: int = 0) -> Any:
    """What an import statement calls: a stand-in where it has all that is wanted, else the module."""
    there = _STAND_INS.get(name, {})
    if level == 0 and names and there.keys() >= {*names}:
        return SimpleNamespace(**there)
    return builtins.__import__(name, scope, local, names, level)


class _Loader(Loader):
    """Runs one module with that import in place of Python's. No other module sees it, in whatever thread it loads."""

    def __init__(self, real: Loader) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": _import}
        self._real.exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the module that reads keystores."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _KEYFILE else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def _load_keyfile() -> None:
    """Import eth-keyfile, with stand-ins for what it wants of py-ecc."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        with suppress(ImportError):
            import_module(_KEYFILE)
    finally:
        sys.meta_path.remove(finder)


_load_keyfile()

from eth_account import Account  # noqa: E402 - imports eth-keyfile
from eth_account.signers.local import LocalAccount  # noqa: E402

__all__ = ["Account", "LocalAccount", "json_rpc"]


def json_rpc() -> JSONBaseProvider:
    """What spells JSON-RPC requests; web3 is loaded here."""
    from web3.providers import JSONBaseProvider

    return JSONBaseProvider()
