"""A meter is made of a model's header; what is no such header, or of another vocabulary, is refused by name."""

from __future__ import annotations

import io
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.workloads.errors import FolderTaken
from sealmarket.workloads.folders import read_files
from sealmarket.workloads.gguf import ModelRefused, read_metadata
from sealmarket.workloads.meters import MODEL, VOCABULARY, make_meter, tokenizer_files
from tests.meters.models import header, text

LIST = 9

HEADER: dict[str, Any] = {
    "general.name": "small",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "ab"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.eos_token_id": 0,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.chat_template": "{{ messages }}",
}


TEMPLATE = {"tokenizer.chat_template": "{{ eos_token }}"}
PLAIN = {"tokenizer.ggml.token_type": [1, 1, 1, 1], "tokenizer.ggml.merges": ["a b"]}
SPECIAL = {"tokenizer.ggml.token_type": [3, 1, 1, 3], "tokenizer.ggml.merges": ["a b"]}
PIECES = {"tokenizer.ggml.model": "llama"}


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", "4 more bytes"),
        (header(HEADER, magic=b"GGML"), "GGUF version 2 or 3"),
        (header(HEADER, version=1), "GGUF version 2 or 3"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "4096 names"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 60), "more"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<I", 99), "a known type"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", LIST, 5, 1 << 40), "1048576"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", LIST, LIST, 1), "texts or numbers"),
        (header(HEADER)[:-1], "more bytes"),
    ],
)
def test_a_file_that_is_no_model_is_refused_before_it_is_read_far(raw: bytes, found: str) -> None:
    with pytest.raises(ModelRefused, match=found):
        read_metadata(io.BytesIO(raw))


@given(st.binary(max_size=200))
def test_no_header_gives_anything_but_values_or_a_refusal(rest: bytes) -> None:
    with suppress(ModelRefused):
        read_metadata(io.BytesIO(b"GGUF" + struct.pack("<IQQ", 3, 0, 3) + rest))


def test_a_header_is_read_as_it_was_written() -> None:
    assert read_metadata(io.BytesIO(header(HEADER))) == HEADER


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tokenizer.ggml.model": "t5"}, "t5"),
        ({"tokenizer.ggml.pre": "kimi-k2"}, "kimi-k2"),
        ({"tokenizer.ggml.tokens": []}, "tokens"),
        ({"tokenizer.ggml.merges": None}, "merges"),
        ({"tokenizer.ggml.token_type": [1]}, "4 numbers"),
        ({"tokenizer.ggml.tokens": ["a", "b", "ab", "a"]}, "each text once"),
        ({"tokenizer.ggml.tokens": ["a\0", "a", "b", "ab"]}, "without NUL"),
        ({"tokenizer.ggml.tokens": ["\udc80", "a", "b", "ab"]}, "UTF-8"),
        ({"tokenizer.ggml.merges": ["a b", "ab a"]}, "what its merges join and become"),
        ({"tokenizer.ggml.merges": ["ab"]}, "what its merges join and become"),
        ({"tokenizer.ggml.token_type": [3, 1, 1, 1], "tokenizer.ggml.eos_token_id": 1} | TEMPLATE, "a special token"),
        (SPECIAL | {"tokenizer.ggml.tokens": ["<|a|b", "a", "b", "|b|>"]}, "begins within another"),
        (SPECIAL | {"tokenizer.ggml.tokens": ["\n\n", "a", "b", "\nb"]}, "begins within another"),
        (SPECIAL | {"tokenizer.ggml.tokens": ["<x>", "a", "b", "<x>y"], "general.name": "Phi-3"}, "with another"),
        (PLAIN | {"tokenizer.ggml.tokens": ["<PRE>", "a", "b", "<fim_prefix>"]}, "one, or each marked"),
        (PIECES | {"tokenizer.ggml.scores": [1.0]}, "4 numbers"),
        (PIECES | {"tokenizer.ggml.scores": [float("nan")] * 4}, "4 numbers"),
        (PIECES, "one for each byte"),
    ],
)
def test_a_model_of_another_vocabulary_is_refused_by_name(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(ModelRefused, match=found):
        tokenizer_files(HEADER | changes)


def test_a_meter_is_the_shipped_code_with_the_models_vocabulary_and_template(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(header(HEADER))
    make_meter(tmp_path / "meter", tmp_path / "model.gguf")
    files = read_files(tmp_path / "meter")
    made = json.loads(files[MODEL].data)
    told = {
        "added": 0,
        "bos": "",
        "chatTemplate": "{{ messages }}",
        "eos": "",
        "longest": 7,
        "stripAfter": [],
        "tokens": 4,
    }
    assert made == told
    vocabulary = json.loads(files[VOCABULARY].data)
    places = vocabulary["model"]["vocab"]
    assert {text: place for text, place in places.items() if place < 4} == {"<|end|>": 0, "a": 1, "b": 2, "ab": 3}
    assert [one["content"] for one in vocabulary["added_tokens"]] == ["<|end|>"]
    with pytest.raises(FolderTaken):
        make_meter(tmp_path / "meter", tmp_path / "model.gguf")
