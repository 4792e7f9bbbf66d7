"""Every refusal of the contracts has words."""

from __future__ import annotations

import pytest

from sealmarket.chain import RpcRefused, abi
from sealmarket.chain.reverts import SENTENCES, decode_revert, known_errors, revert_of, sentence_of
from sealmarket_enclave.protocol.codec import Address, Bytes32

ERRORS = {entry.name: entry for entry in known_errors().values()}
HASH = Bytes32(b"\x11" * 32)
HOLDER = Address(b"\x22" * 20)


def payload(name: str, *arguments: object) -> bytes:
    entry = ERRORS[name]
    return entry.selector + abi.encode(entry.inputs, arguments, name)


def test_every_error_of_the_contracts_has_a_sentence_and_no_sentence_is_left_over() -> None:
    assert set(SENTENCES) == set(ERRORS)


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_a_sentence_names_only_arguments_that_its_error_has(name: str) -> None:
    sentence, remedy = sentence_of(name, {abi.snake(part.name): 1 for part in ERRORS[name].inputs})
    assert "{" not in sentence
    assert remedy


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_a_sentence_shows_what_was_got_and_what_was_expected(name: str) -> None:
    arguments = {abi.snake(part.name) for part in ERRORS[name].inputs}
    for needed in arguments & {"got", "expected", "most", "least", "highest"}:
        assert "{" + needed + "}" in SENTENCES[name][0]


def test_a_status_is_shown_as_a_word() -> None:
    refused = decode_revert(payload("UnexpectedStatus", HASH, 2, 1))
    assert "is quoted, this step takes one that is matched" in str(refused)
    assert refused.arguments["got"] == 2


def test_a_field_is_shown_by_its_name() -> None:
    field = Bytes32(b"price".ljust(32, b"\0"))
    assert decode_revert(payload("LooserTerms", field, 1, 2)).sentence.startswith("price would be 1, looser than 2")


def test_an_account_is_shown_with_its_checksum() -> None:
    refused = decode_revert(payload("InsufficientBalance", Address(bytes(20)), HOLDER, 5, 7))
    assert HOLDER.checksum in refused.sentence


def test_no_remedy_names_an_option_that_no_command_has() -> None:
    assert not [name for name, (_, remedy) in SENTENCES.items() if "publish under another salt" in remedy]


@pytest.mark.parametrize(
    "wrapped",
    [
        "{data}",
        {"data": "{data}"},
        {"data": {"result": "{data}"}},
        {"0xabc": {"error": "revert", "return": "{data}"}},
        {"message": "reverted", "data": {"data": "{data}"}},
    ],
)
def test_revert_data_is_found_wherever_a_node_puts_it(wrapped: object) -> None:
    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return "0x" + payload("MatchingIsPaused").hex() if value == "{data}" else value

    refused = revert_of(RpcRefused("eth_call", 3, "execution reverted", filled(wrapped)))
    assert refused is not None
    assert refused.name == "MatchingIsPaused"


def test_a_node_error_that_is_no_revert_stays_one() -> None:
    assert revert_of(RpcRefused("eth_call", -32602, "invalid params")) is None


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "without a reason"),
        (b"\x00\x01\x02\x03", "refused with 0x00010203"),
        (payload("UnexpectedStatus", HASH, 2, 1)[:20], "refused with 0x"),
        (bytes.fromhex("4e487b71") + (0x11).to_bytes(32), "a number would overflow"),
        (bytes.fromhex("08c379a0") + bytes(31) + b"\x20" + bytes(31) + b"\x02no".ljust(33, b"\0"), "no"),
    ],
)
def test_any_revert_data_is_read_without_failing(raw: bytes, said: str) -> None:
    refused = revert_of(RpcRefused("eth_call", 3, "execution reverted", "0x" + raw.hex()))
    assert refused is not None
    assert said in str(refused)


def test_an_asset_that_was_never_published_belongs_to_no_account() -> None:
    arguments = {"asset_id": Bytes32(b"\x01" * 32), "got": Address(b"\x02" * 20), "expected": Address(bytes(20))}
    sentence, remedy = sentence_of("NotOwner", arguments)
    assert "was never published" in sentence
    assert "0x0000000000000000000000000000000000000000" not in sentence
    assert remedy == "check the id and the version"
