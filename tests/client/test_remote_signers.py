"""Accounts whose key another program holds: each lie of it is refused, and an honest one is as good as our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_account.messages import encode_defunct, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.client.accounts import AccountFileRefused, keep_signer, load_account, load_signer
from sealmarket.client.errors import SignerRefused, SignerUnavailable
from sealmarket.client.remote import RemoteSigner
from sealmarket.client.signing import sign, sign_text
from sealmarket.client.transactions import MAXIMUM_BYTES, require_signed
from sealmarket.protocol.orders import Acknowledgement, AssetLimit, Request
from sealmarket.protocol.typed_data import typed_data
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, MicroEpsilon, Uint, Uint64, Wei
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId, Kind, Tee
from sealmarket_enclave.protocol.signing import SignatureRefused, personal_digest, recover
from tests.cli.test_market_commands import run
from tests.client.bundles import Case
from tests.client.signer import FakeSigner, new_account, serving

pytestmark = pytest.mark.loopback
BOOK = Case().book
STATEMENT = Acknowledgement(job_id=JobId(keccak(b"job")), result_hash=keccak(b"result"))
RECEIVER = Address(b"\xab" * 20).checksum
FEE_MARKET: dict[str, Any] = {
    "to": RECEIVER, "value": 7, "data": "0x1234", "gas": 21_000, "maxFeePerGas": 9, "maxPriorityFeePerGas": 2,
    "nonce": 3, "chainId": 31337,
}  # fmt: skip
LEGACY: dict[str, Any] = {
    "to": RECEIVER,
    "value": 0,
    "data": "0x",
    "gas": 21_000,
    "gasPrice": 9,
    "nonce": 0,
    "chainId": 31337,
}
TAMPERED: dict[str, Any] = {
    "to": Address(b"\xcd" * 20).checksum, "value": 8, "data": "0x1235", "gas": 21_001,
    "maxFeePerGas": 10, "maxPriorityFeePerGas": 3, "nonce": 4, "chainId": 1,
}  # fmt: skip


@pytest.fixture
def fake() -> FakeSigner:
    return FakeSigner(new_account(), lambda _method, honest: honest)


@pytest.fixture(params=["ethereum", "clef"])
def remote(request: pytest.FixtureRequest, fake: FakeSigner) -> Iterator[RemoteSigner]:
    with serving(fake) as url:
        yield RemoteSigner(url, Address.parse(fake.account.address.lower()), request.param, seconds=5)


@pytest.mark.parametrize("url", ["http://10.0.0.1:8550", "http://signer.example", "ftp://127.0.0.1", "", "file:///x"])
def test_a_url_over_which_others_could_read_along_is_refused(url: str) -> None:
    with pytest.raises(SignerRefused, match="URL"):
        RemoteSigner(url, ZERO_ADDRESS)


@pytest.mark.parametrize("name", TAMPERED)
def test_a_transaction_of_which_one_field_differs_is_refused_by_its_name(
    name: str, fake: FakeSigner, remote: RemoteSigner
) -> None:
    fake.tamper = lambda fields: {**fields, name: TAMPERED[name]}
    with pytest.raises(SignerRefused, match=f"transaction's {name}"):
        remote.sign_transaction(FEE_MARKET)


@pytest.mark.parametrize("name", ["to", "value", "data", "gas", "gasPrice", "nonce"])
def test_a_legacy_transaction_of_which_one_field_differs_is_refused_by_its_name(
    name: str, fake: FakeSigner, remote: RemoteSigner
) -> None:
    fake.tamper = lambda fields: {**fields, name: TAMPERED.get(name, 77)}
    with pytest.raises(SignerRefused, match=f"transaction's {name}"):
        remote.sign_transaction(LEGACY)


def test_a_legacy_transaction_for_another_chain_is_refused(fake: FakeSigner, remote: RemoteSigner) -> None:
    fake.tamper = lambda fields: {**fields, "chainId": 1}
    with pytest.raises(SignerRefused, match="chain"):
        remote.sign_transaction(LEGACY)


def test_a_transaction_with_an_access_list_is_refused(fake: FakeSigner, remote: RemoteSigner) -> None:
    fake.tamper = lambda fields: {**fields, "accessList": [{"address": RECEIVER, "storageKeys": []}]}
    with pytest.raises(SignerRefused, match="accessList"):
        remote.sign_transaction(FEE_MARKET)


def test_a_transaction_with_the_other_kind_of_fee_is_refused(fake: FakeSigner, remote: RemoteSigner) -> None:
    fake.tamper = lambda fields: LEGACY
    with pytest.raises(SignerRefused):
        remote.sign_transaction(FEE_MARKET)


def test_what_another_account_signed_is_refused(fake: FakeSigner, remote: RemoteSigner) -> None:
    fake.account = new_account()
    for fields in (FEE_MARKET, LEGACY):
        with pytest.raises(SignerRefused, match="signer"):
            remote.sign_transaction(fields)
    with pytest.raises(SignatureRefused, match="must be signed by"):
        sign(remote, BOOK, STATEMENT)


def test_a_signature_of_another_statement_is_refused(fake: FakeSigner, remote: RemoteSigner) -> None:
    other = Acknowledgement(job_id=STATEMENT.job_id, result_hash=keccak(b"another"))
    message = encode_typed_data(full_message=typed_data(other, BOOK.chain_id, BOOK.market))
    signed = "0x" + bytes(fake.account.sign_message(message).signature).hex()
    fake.lie = lambda _method, _honest: signed
    with pytest.raises(SignatureRefused):
        sign(remote, BOOK, STATEMENT)


@pytest.mark.parametrize(
    "answer",
    [None, 1, [], {}, "", "0x", "0x1", "0xzz", "0x" + "00" * 64, "0x" + "00" * 66, "0x" + "00" * 65, "1b" * 65],
    ids=repr,
)
def test_what_is_no_signature_is_refused(answer: Any, fake: FakeSigner, remote: RemoteSigner) -> None:
    fake.lie = lambda _method, _honest: answer
    with pytest.raises((SignerRefused, SignatureRefused)):
        sign(remote, BOOK, STATEMENT)
    with pytest.raises(SignerRefused):
        remote.sign_transaction(FEE_MARKET)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"result":', b'{"error":{"code":-32000,"message":"denied by the user"}}', b"\xff",
        b"[" * 100_000, b'{"result":"' + b"0" * (5 << 20) + b'"}',
    ],
    ids=lambda body: f"{body[:20]!r}",
)  # fmt: skip
def test_an_answer_that_is_no_json_rpc_or_too_long_or_a_denial_is_refused(
    body: bytes, fake: FakeSigner, remote: RemoteSigner
) -> None:
    fake.raw_answer = body
    with pytest.raises((SignerRefused, SignerUnavailable)):
        sign(remote, BOOK, STATEMENT)


def test_a_signer_that_does_not_answer_is_named_with_a_remedy() -> None:
    with pytest.raises(SignerUnavailable) as refused:
        sign(RemoteSigner("http://127.0.0.1:9", ZERO_ADDRESS, seconds=2), BOOK, STATEMENT)
    assert "unlock the device" in refused.value.remedy


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_are_taken_for_a_signed_transaction(raw: bytes, fee_market: bool) -> None:
    with pytest.raises(SignerRefused):
        require_signed(b"\x02" + raw if fee_market else raw, FEE_MARKET, ZERO_ADDRESS)


@pytest.mark.parametrize(
    "raw", [b"\xc1" * MAXIMUM_BYTES, b"\x02" + b"\xf8\xff" * 9000, bytes(MAXIMUM_BYTES + 1), b"\x02\xbf" + b"\xff" * 8]
)
def test_lists_in_lists_and_lengths_beyond_the_bound_are_refused(raw: bytes) -> None:
    with pytest.raises(SignerRefused):
        require_signed(raw, FEE_MARKET, ZERO_ADDRESS)


def test_a_second_spelling_of_a_transaction_is_refused(fake: FakeSigner, remote: RemoteSigner) -> None:
    raw = remote.sign_transaction(FEE_MARKET).raw_transaction
    items = rlp.decode(raw[1:])
    high = bytes.fromhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
    flipped = (int.from_bytes(high) - int.from_bytes(items[-1])).to_bytes(32).lstrip(b"\0")
    parity = b"" if items[-3] else b"\x01"
    with pytest.raises(SignerRefused, match="signature"):
        require_signed(b"\x02" + rlp.encode([*items[:-3], parity, items[-2], flipped]), FEE_MARKET, remote.account)


def test_an_honest_signer_signs_transactions_as_our_own_account_does(fake: FakeSigner, remote: RemoteSigner) -> None:
    for fields in (FEE_MARKET, LEGACY, {**LEGACY, "nonce": 200, "value": 10**20}):
        signed, ours = remote.sign_transaction(fields), fake.account.sign_transaction(fields)
        assert (signed.raw_transaction, signed.hash) == (bytes(ours.raw_transaction), bytes(ours.hash))
    creation = {name: value for name, value in FEE_MARKET.items() if name != "to"}
    assert remote.sign_transaction(creation).hash == bytes(fake.account.sign_transaction(creation).hash)


def test_an_honest_signer_sees_what_it_signs(fake: FakeSigner, remote: RemoteSigner) -> None:
    assert sign(remote, BOOK, STATEMENT) == sign(fake.account, BOOK, STATEMENT)
    (asked,) = fake.asked
    assert str(STATEMENT.job_id) in json.dumps(asked)


def test_a_signature_that_counts_from_zero_is_taken(fake: FakeSigner, remote: RemoteSigner) -> None:
    fake.lie = lambda _method, honest: honest[:-2] + f"{int(honest[-2:], 16) - 27:02x}"
    assert sign(remote, BOOK, STATEMENT) == sign(fake.account, BOOK, STATEMENT)


@given(st.integers(0, 2**256 - 1), st.integers(0, 2**128 - 1), st.binary(min_size=32, max_size=32))
def test_typed_data_hashes_to_the_digest_of_the_statement(salt: int, price: int, name: bytes) -> None:
    limit = AssetLimit(
        asset_id=AssetId(Bytes32(name)), version=1, terms_version=2, max_price=Wei(price), epsilon=MicroEpsilon(5)
    )
    request = Request(
        kind=Kind.BATCH, extension_hash=Bytes32(name), consumer=ZERO_ADDRESS, payer=Address(name[:20]),
        token=ZERO_ADDRESS, workload_digest=Bytes32(name), parameters_digest=Bytes32(name),
        result_keys_hash=Bytes32(name), purpose=1, tee=Tee.TDX, min_grade=Grade.SIMULATED, providers=Bytes32(name),
        capabilities=Bytes32(name), max_compute_price=Wei(price), max_unit_price=Wei(0), max_units=0,
        min_penalty=Wei(1), timeout_limit=Wei(2), run_seconds=1, read_seconds=1, validate_seconds=1,
        decoded_bytes=Uint64(2**63), quote_window=1, decide_window=1, settle_window=1, challenge_window=1,
        expiry=2**40, salt=Uint(salt), assets=(limit, limit),
    )  # fmt: skip
    for statement in (request, limit, STATEMENT):
        _assert_same_digest(statement)


def _assert_same_digest(statement: TypedShape) -> None:
    message = encode_typed_data(full_message=typed_data(statement, BOOK.chain_id, BOOK.market))
    assert keccak(b"\x19\x01" + message.header + message.body) == statement.digest(BOOK.chain_id, BOOK.market)


def test_a_file_that_names_a_signer_is_an_account_for_every_command(
    fake: FakeSigner, remote: RemoteSigner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hardware.json"
    command = ["account", "remote", str(file), "--url", remote.url, "--dialect", remote.dialect]
    assert run([*command, "--address", RECEIVER], capsys)[0] == 2
    code, out, error = run(command, capsys)
    assert code == 0, error
    assert fake.account.address in out
    assert file.stat().st_mode & 0o777 == 0o600
    assert run(["account", "show", str(file)], capsys)[1].strip() == fake.account.address
    assert run(command, capsys)[0] == 2  # never overwritten
    loaded = load_signer(file)
    assert sign(loaded, BOOK, STATEMENT) == sign(fake.account, BOOK, STATEMENT)
    with pytest.raises(AccountFileRefused, match="names a program"):
        load_account(file, "a passphrase")
    code, _, error = run(["account", "import", str(file), str(tmp_path / "copy.json")], capsys)
    assert (code, "holds the key" in error) == (2, True)


def test_a_file_that_names_a_signer_wrongly_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text('{"signer": "http://127.0.0.1:1", "address": "0x12"}')
    file.chmod(0o600)
    with pytest.raises(AccountFileRefused, match="names no signer"):
        load_signer(file)
    keep_signer(tmp_path / "good.json", RemoteSigner("http://127.0.0.1:1", ZERO_ADDRESS))
    with pytest.raises(AccountFileRefused, match="exists"):
        keep_signer(tmp_path / "good.json", RemoteSigner("http://127.0.0.1:1", ZERO_ADDRESS))


def test_several_accounts_ask_for_a_choice(
    fake: FakeSigner, remote: RemoteSigner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.lie = lambda _method, honest: [*honest, RECEIVER]
    command = ["account", "remote", str(tmp_path / "a.json"), "--url", remote.url, "--dialect", remote.dialect]
    code, _, error = run(command, capsys)
    assert (code, "--address" in error) == (2, True)
    fake.lie = lambda _method, _honest: ["0x12"]
    assert run(command, capsys)[0] == 1


def test_a_text_is_shown_and_its_signature_recovered(remote: RemoteSigner, fake: FakeSigner) -> None:
    text = "market.example wants you to sign in\nNonce: 12345678"
    assert recover(personal_digest(text.encode()), sign_text(remote, text)) == remote.account
    assert fake.asked[-1][1][-1] == "0x" + text.encode().hex()
    other = fake.account.sign_message(encode_defunct(text="another text")).signature
    fake.lie = lambda _method, _honest: "0x" + bytes(other).hex()
    with pytest.raises(SignatureRefused):
        sign_text(remote, text)
