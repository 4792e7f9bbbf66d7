"""Models in GGUF as tests write them: headers, and whole files of one tiny layer that the engine opens."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

from sealmarket.workloads.vocabularies import _byte_texts

_NUMBER, _FLOAT, _BOOL, _TEXT, _LIST, _COUNT = 5, 6, 7, 8, 9, 4
_WIDTH = 8
BYTES = list(_byte_texts())
END = "<|im_end|>"
_SPECIAL = ["<s>", END, "<unk>", "<|fim_pad|>"]


def written(value: Any) -> bytes:
    """A value with its type."""
    match value:
        case bool():
            return struct.pack("<IB", _BOOL, value)
        case float():
            return struct.pack("<If", _FLOAT, value)
        case int():
            return struct.pack("<II", _COUNT, value)
        case str():
            return struct.pack("<I", _TEXT) + text(value)
    kind = {str: _TEXT, float: _FLOAT}.get(type(value[0]), _NUMBER)
    form = "f" if kind == _FLOAT else "i"
    items = b"".join(map(text, value)) if kind == _TEXT else struct.pack(f"<{len(value)}{form}", *value)
    return struct.pack("<IIQ", _LIST, kind, len(value)) + items


def text(value: str) -> bytes:
    """A text with its length."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def header(values: Mapping[str, Any], *, tensors: int = 0, magic: bytes = b"GGUF", version: int = 3) -> bytes:
    """The start of a file."""
    items = b"".join(text(name) + written(value) for name, value in values.items())
    return magic + struct.pack("<IQQ", version, tensors, len(values)) + items


def model(values: Mapping[str, Any]) -> bytes:
    """A file that the engine opens: all weights are 0."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (_WIDTH, len(values["tokenizer.ggml.tokens"])),
        "output_norm.weight": (_WIDTH,),
        "blk.0.attn_norm.weight": (_WIDTH,),
        "blk.0.ffn_norm.weight": (_WIDTH,),
    }
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        shapes[f"blk.0.{name}.weight"] = (_WIDTH, _WIDTH)
    layer = {
        "general.architecture": "llama", "llama.context_length": 4096, "llama.embedding_length": _WIDTH,
        "llama.block_count": 1, "llama.attention.head_count": 1, "llama.feed_forward_length": _WIDTH,
        "llama.rope.dimension_count": _WIDTH, "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }  # fmt: skip
    start, at = header(layer | dict(values), tensors=len(shapes)), 0
    for name, shape in shapes.items():
        start += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, at)
        at += -(-4 * prod(shape) // 32) * 32
    return start + bytes(-len(start) % 32) + bytes(at)


def of_bytes(cut: str, texts: Sequence[str], *, drop: str = "", **more: Any) -> dict[str, Any]:
    """A vocabulary that joins bytes across each border between words of ``texts``, in an order of chance."""
    spelled = ["".join(BYTES[byte] for byte in one.encode()) for one in texts]
    chance = random.Random(cut)
    pairs = sorted({first + second for one in spelled for first, second in pairwise(one)})
    chance.shuffle(pairs)
    triples = sorted({one[at : at + 3] for one in spelled for at in range(len(one) - 2)} & {
        first + second for first in pairs[:400] for second in BYTES
    })  # fmt: skip
    tokens = [byte for byte in BYTES if byte not in drop] + [pair for pair in pairs if not set(drop) & set(pair)]
    merges = [f"{pair[0]} {pair[1]}" for pair in tokens if len(pair) == 2]
    for triple in triples:
        if not set(drop) & set(triple) and triple not in _SPECIAL:
            tokens.append(triple)
            merges.append(f"{triple[:2]} {triple[2]}")
    kinds = [1] * len(tokens) + [3, 1, 2, 1]
    return {
        "general.name": "small", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": cut,
        "tokenizer.ggml.tokens": tokens + _SPECIAL, "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges, "tokenizer.ggml.bos_token_id": len(tokens),
        "tokenizer.ggml.eos_token_id": len(tokens) + 1, **more,
    }  # fmt: skip


def of_pieces(seed: int, texts: Sequence[str], *, inside: bool = True, **more: Any) -> dict[str, Any]:
    """Pieces cut out of ``texts`` at random, with scores at random of which many are equal."""
    chance = random.Random(seed)
    spelled = [one.replace(" ", "▁") for one in texts if len(one) > 1]
    pieces = {char for one in spelled for char in one if chance.random() < 0.8}
    for _ in range(4000):
        one = chance.choice(spelled)
        at = chance.randrange(len(one))
        piece = one[at : at + chance.randint(2, 5)]
        if inside or not any(first != "▁" and second == "▁" for first, second in pairwise(piece)):
            pieces.add(piece)
    special = ["<unk>", "<s>", "</s>", "[INST]", "<|user|>", "\n\n", "\n\n\n", "<|endoftext|>"]
    pieces = {piece for piece in pieces if "\0" not in piece} - set(special)
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(pieces)]
    kinds = [2, 3, 3, 3, 3, 4, 4, 1] + [6] * 256 + [1] * len(pieces)
    return {
        "general.name": "small", "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.scores": [float(-chance.randrange(len(pieces) // 2)) for _ in tokens], **more,
    }  # fmt: skip
