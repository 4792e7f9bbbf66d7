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

TEXT, LIST = 8, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def written(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<IB", 7, value)
        case int():
            return struct.pack("<Ii", 5, value)
        case str():
            return struct.pack("<I", TEXT) + text(value)
    kind = TEXT if isinstance(value[0], str) else 5
    items = b"".join(text(one) if kind == TEXT else struct.pack("<i", one) for one in value)
    return struct.pack("<IIQ", LIST, kind, len(value)) + items


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


def model(header: dict[str, Any] = HEADER, *, magic: bytes = b"GGUF", version: int = 3) -> bytes:
    """A model's file whose weights are missing."""
    items = b"".join(text(name) + written(value) for name, value in header.items())
    return magic + struct.pack("<IQQ", version, 0, len(header)) + items


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", "4 more bytes"),
        (model(magic=b"GGML"), "GGUF version 2 or 3"),
        (model(version=1), "GGUF version 2 or 3"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "4096 names"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 60), "more"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<I", 99), "a known type"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", LIST, 5, 1 << 40), "1048576"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("x") + struct.pack("<IIQ", LIST, LIST, 1), "texts or numbers"),
        (model()[:-1], "more bytes"),
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
    assert read_metadata(io.BytesIO(model())) == HEADER


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tokenizer.ggml.model": "llama"}, "llama"),
        ({"tokenizer.ggml.pre": "qwen2"}, "qwen2"),
        ({"tokenizer.ggml.tokens": []}, "tokens"),
        ({"tokenizer.ggml.merges": None}, "merges"),
        ({"tokenizer.ggml.token_type": [1]}, "4 numbers"),
    ],
)
def test_a_model_of_another_vocabulary_is_refused_by_name(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(ModelRefused, match=found):
        tokenizer_files(HEADER | changes)


def test_a_meter_is_the_shipped_code_with_the_models_vocabulary_and_template(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(model())
    make_meter(tmp_path / "meter", tmp_path / "model.gguf")
    files = read_files(tmp_path / "meter")
    made = json.loads(files[MODEL].data)
    assert made == {"addBos": False, "bos": "", "chatTemplate": "{{ messages }}", "eos": "<|end|>"}
    vocabulary = json.loads(files[VOCABULARY].data)
    assert vocabulary["model"]["vocab"] == {"<|end|>": 0, "a": 1, "b": 2, "ab": 3}
    assert [one["content"] for one in vocabulary["added_tokens"]] == ["<|end|>"]
    with pytest.raises(FolderTaken):
        make_meter(tmp_path / "meter", tmp_path / "model.gguf")
