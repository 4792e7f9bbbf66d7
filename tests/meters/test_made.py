"""A meter is made of a model's header; what is no such header, or of another vocabulary, is refused by name."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
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
from sealmarket.workloads.vocabularies import _require_apart
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
        (SPECIAL | {"tokenizer.ggml.tokens": ["<" + "x" * 256, "a", "b", "ab"]}, "at most 256 characters each"),
    ],
)
def test_a_model_of_another_vocabulary_is_refused_by_name(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(ModelRefused, match=found):
        tokenizer_files(HEADER | changes)


FIELDS = [
    *("general.name", "tokenizer.chat_template", "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens"),
    *("tokenizer.ggml.token_type", "tokenizer.ggml.merges", "tokenizer.ggml.scores", "tokenizer.ggml.eos_token_id"),
    *("tokenizer.ggml.bos_token_id", "tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.add_bos_token"),
    *("tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_space_prefix"),
]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_another_type_is_refused_by_its_name_and_nothing_else_comes_of_it(name: str, kind: str) -> None:
    """A list as a text, a text that is no UTF-8, a number as a list: a stranger's file can have each."""
    whole = HEADER | TEMPLATE | {"tokenizer.ggml.model": kind}
    values: tuple[Any, ...] = (["x"], ["\udc80"], "\udc80", "a\0", [["x"]], [None], 7.5, {}, None)
    for bad in values:
        fits = {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"} if bad == ["x"] else set()
        with pytest.raises(ModelRefused, match=None if name in fits else name):
            tokenizer_files(whole | {name: bad})


def test_what_a_stranger_wrote_is_shown_short_and_printable() -> None:
    with pytest.raises(ModelRefused) as refused:
        tokenizer_files(HEADER | {"tokenizer.ggml.pre": "\x1b[31m" + "x" * 5_000})
    assert len(str(refused.value)) < 1_000
    assert str(refused.value).isprintable()


def test_special_tokens_that_a_stranger_made_many_and_long_are_held_apart_in_little_memory() -> None:
    """Each start of each token once took 216 MiB for 20 kB of them."""
    texts = [f"<{place:04}" + "x" * 250 + ">" for place in range(80)]
    many = {"tokenizer.ggml.tokens": [*texts, "a", "b", "ab"], "tokenizer.ggml.token_type": [3] * 80 + [1] * 3}
    tracemalloc.start()
    try:
        tokenizer_files(HEADER | many)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@given(st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=4, unique=True))
def test_special_tokens_are_refused_where_one_may_begin_within_another_and_only_there(texts: list[str]) -> None:
    begins = any(
        one[start:] != other and other.startswith(one[start:]) and len({*one, *other}) > 1
        for one in texts
        for start in range(1, len(one))
        for other in texts
    )
    refused = False
    try:
        _require_apart(texts)
    except ModelRefused:
        refused = True
    assert refused == begins


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
