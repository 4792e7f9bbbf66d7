"""eth-account loads without the pairings of py-ecc, does its work, and still reads what needs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

KEYSTORE = """
import eth_keyfile
made = eth_keyfile.create_keyfile_json(bytes(31) + b"\\x07", b"a passphrase", version=4, kdf="pbkdf2", iterations=2)
print(made["pubkey"])
"""
PUBLIC_KEY_OF_7 = (
    "b928f3beb93519eecf0145da903b40a4c97dca00b21f12ac0df3be9116ef2ef27b2ae6bcd4c5bc2d54ef5a70627efcb7"  # of 7 times G1
)


def said(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("load", ["import sealmarket.eth", "import sealmarket.eth; sealmarket.eth.json_rpc()"])
def test_no_pairing_is_computed_where_an_account_or_a_chain_is_used(load: str) -> None:
    assert said(f"{load}\nimport sys; print(*[n for n in sys.modules if n.startswith('py_ecc.') and 'bls' in n])") == ""


def test_a_keystore_of_a_validator_is_written_as_without_the_stand_ins() -> None:
    assert said(f"import sealmarket.eth\n{KEYSTORE}") == said(KEYSTORE) == PUBLIC_KEY_OF_7


def test_the_order_that_stands_in_is_the_one_of_the_library() -> None:
    program = (
        "import sealmarket.eth; from py_ecc.bls12_381 import curve_order; print(curve_order == sealmarket.eth._ORDER)"
    )
    assert said(program) == "True"


def test_a_keyfile_library_that_wants_more_gets_the_library() -> None:
    program = (
        "import sealmarket.eth as eth\n"
        "got = eth._import('py_ecc.bls', {}, {}, ('G2ProofOfPossession', 'G2Basic'))\n"
        "import py_ecc.bls\n"
        "print(got is py_ecc.bls)\n"
    )
    assert said(program) == "True"


def test_another_module_that_imports_the_curve_meanwhile_gets_the_curve() -> None:
    program = (
        "import builtins, threading\n"
        "real, got = builtins.__import__, []\n"
        "def other():\n"
        "    from py_ecc.bls import G2Basic\n"
        "    got.append(G2Basic.__module__)\n"
        "def meanwhile(name, *rest):\n"
        "    if name == 'py_ecc.secp256k1' and 'eth_keyfile.keyfile' == rest[0]['__name__']:\n"
        "        thread = threading.Thread(target=other)\n"
        "        thread.start()\n"
        "        thread.join(60)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = meanwhile\n"
        "import sealmarket.eth\n"
        "print(*got)\n"
    )
    assert said(program) == "py_ecc.bls.ciphersuites"
