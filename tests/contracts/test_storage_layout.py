"""What the library knows of the contracts' storage is what the compiler says."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import layout
from scripts.toolchain import ROOT
from sealmarket.chain.layout import Field, Variable, variable
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak, words

VARIABLES = [("Market", "_slots"), ("AssetRegistry", "_versions"), ("OracleCommittee", "_epochs")]


def test_the_exported_layout_is_the_compilers() -> None:
    """In a process of its own: the compiler's wrapper looks for compilers with sockets, which tests have none of."""
    command = [sys.executable, "-P", "-m", "scripts.layout", "--check"]
    compared = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stdout + compared.stderr


def test_a_value_that_lies_elsewhere_is_not_written_down() -> None:
    text = {"label": "_name", "type": "t_string", "slot": "0", "offset": 0}
    types = {"t_string": {"encoding": "bytes", "numberOfBytes": "32"}}
    with pytest.raises(SystemExit, match="bytes values cannot be written down"):
        layout.variables_of({"storage": [text], "types": types})


def test_a_mapping_over_text_is_not_written_down() -> None:
    names = {"label": "_names", "type": "t_map", "slot": "0", "offset": 0}
    types = {"t_map": {"encoding": "mapping", "key": "t_string_storage", "value": "t_uint256"}}
    with pytest.raises(SystemExit, match="a mapping over t_string_storage"):
        layout.variables_of({"storage": [names], "types": types})


@pytest.mark.parametrize("keys", [(), (1, 2)])
def test_another_number_of_keys_than_the_mapping_has_is_refused(keys: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 1"):
        variable("Market", "_slots").slots(*keys)


def test_a_mapping_keeps_its_value_where_solidity_does() -> None:
    kept = Variable(7, ("bytes32", "address"), {"low": Field(0, 0, 16), "next": Field(1, 0, 32)})
    inner = keccak(words(5, 7))
    first = keccak(words(b"\x01" * 20, inner))
    following = Bytes32((int.from_bytes(first) + 1).to_bytes(32))
    assert kept.slots(5, b"\x01" * 20) == (first, following)


@pytest.mark.parametrize(("contract", "name"), VARIABLES)
@given(data=st.data())
def test_fields_of_a_variable_are_read_from_where_they_were_packed(
    contract: str, name: str, data: st.DataObject
) -> None:
    kept = variable(contract, name)
    values = {
        label: data.draw(st.integers(0, 256**field.length - 1), label=label) for label, field in kept.fields.items()
    }
    packed = [0] * (1 + max(field.slot for field in kept.fields.values()))
    for label, field in kept.fields.items():
        packed[field.slot] |= values[label] << 8 * field.offset
    assert kept.read(tuple(packed)) == values
