"""Keystores: what wallets write is read, what they cannot have written is refused, and they read what is written."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain.keystores import decrypt, encrypt

SECRET = bytes.fromhex("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d")
PBKDF2: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
"""The test vectors of the Web3 Secret Storage Definition."""
SCRYPT: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 262144,
            "p": 8,
            "r": 1,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
CHEAP = encrypt(SECRET, "a passphrase", log_n=1)


def changed(keystore: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The same with another value at a dotted path; None takes it away."""
    made = copy.deepcopy(keystore)
    *parents, last = path.split(".")
    inner = made
    for name in parents:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return made


@pytest.mark.parametrize("passphrase", ["", "a passphrase ", "A passphrase"])
def test_another_passphrase_is_refused(passphrase: str) -> None:
    with pytest.raises(ValueError, match="passphrase"):
        decrypt(CHEAP, passphrase)


@pytest.mark.parametrize("path", ["crypto.ciphertext", "crypto.mac", "crypto.kdfparams.salt"])
def test_a_changed_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="changed"):
        decrypt(changed(CHEAP, path, "00" * 32), "a passphrase")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("crypto.kdfparams.n", 1 << 21),
        ("crypto.kdfparams.n", 1 << 200),
        ("crypto.kdfparams.r", 1 << 23),
        ("crypto.kdfparams.p", 1 << 27),
        ("crypto.ciphertext", "00" * (1 << 20)),
    ],
)
def test_a_file_that_takes_more_than_a_wallets_is_refused_before_it_does(path: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"more than|at most"):
        decrypt(changed(CHEAP, path, value), "a passphrase")


def test_a_passphrase_is_not_stretched_for_hours() -> None:
    with pytest.raises(ValueError, match="rounds"):
        decrypt(changed(PBKDF2, "crypto.kdfparams.c", 1 << 40), "testpassword")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 4),
        ("version", None),
        ("crypto", None),
        ("crypto.cipher", "aes-128-cbc"),
        ("crypto.kdf", "argon2"),
        ("crypto.kdfparams.n", 0),
        ("crypto.kdfparams.n", 3),
        ("crypto.kdfparams.n", -2),
        ("crypto.kdfparams.p", 0),
        ("crypto.kdfparams.r", None),
        ("crypto.kdfparams.dklen", 16),
        ("crypto.kdfparams.salt", "no hex"),
        ("crypto.ciphertext", 7),
        ("crypto.mac", ""),
    ],
)
def test_what_is_no_keystore_is_refused(path: str, value: object) -> None:
    with pytest.raises(ValueError):
        decrypt(changed(CHEAP, path, value), "a passphrase")


def test_an_initial_value_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError):
        decrypt(changed(CHEAP, "crypto.cipherparams.iv", "00"), "a passphrase")


@pytest.mark.parametrize("keystore", [PBKDF2, SCRYPT], ids=["pbkdf2", "scrypt"])
def test_the_definitions_vectors_are_read(keystore: dict[str, Any]) -> None:
    assert decrypt(keystore, "testpassword") == SECRET


def test_names_in_capitals_are_read() -> None:
    assert decrypt({**changed(CHEAP, "crypto", None), "Crypto": CHEAP["crypto"]}, "a passphrase") == SECRET


@settings(max_examples=20)
@given(st.binary(min_size=32, max_size=32).filter(lambda raw: 0 < raw[0] < 255), st.text(max_size=20))
def test_wallets_read_what_is_written_and_the_other_way_round(secret: bytes, passphrase: str) -> None:
    ours = encrypt(secret, passphrase, log_n=1)
    assert bytes(Account.decrypt(ours, passphrase)) == secret
    theirs = Account.encrypt(secret, passphrase, kdf="scrypt", iterations=2)
    assert decrypt(dict(theirs), passphrase) == secret
    assert ours.keys() == theirs.keys()
    assert ours["address"] == str(theirs["address"]).lower().removeprefix("0x")
