"""What a meter counts by, of a model's header in GGUF: the documents ``tokenizer.json`` and ``model.json``.

The count must be the engine's, llama.cpp's, so what would differ is refused here, by name. Two kinds are known:

``gpt2``
    Merges of bytes. ``tokenizer.json`` is all of it: Hugging Face's BPE, and the ways to cut a text of ``cuts``.
``llama``
    Pieces with scores, as SentencePiece makes them. ``tokenizer.json`` finds the special tokens of a text alone;
    ``pieces`` in ``model.json`` ranks the pieces, and the meter's code merges them. Hugging Face's BPE is not used: it
    ranks pairs, llama.cpp what a pair becomes.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sealmarket.workloads.cuts import CUTS, Cut
from sealmarket.workloads.gguf import ModelRefused

_NORMAL, _SPECIAL = 1, (2, 3, 4)
"""Types of tokens in GGUF: those without a role, and those that a text names whole (unknown, control, user's)."""
_SURE = (
    "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|>"
    " <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response>"
    " <\uff5cend▁of▁sentence\uff5c> <|channel|> <|message|> <|start|> <|constrain|>"
)
"""Texts of tokens that llama.cpp takes for special ones, whatever the model says of them."""
_FOUND = {
    (
        "fim_pre",
        "prefix",
    ): "<|fim_prefix|> <fim-prefix> <fim_prefix> <\uff5cfim▁begin\uff5c> <PRE> ▁<PRE> <|code_prefix|> <|prefix|>",
    (
        "fim_suf",
        "suffix",
    ): "<|fim_suffix|> <fim-suffix> <fim_suffix> <\uff5cfim▁hole\uff5c> <SUF> ▁<SUF> <|code_suffix|> <|suffix|>",
    (
        "fim_mid",
        "middle",
    ): "<|fim_middle|> <fim-middle> <fim_middle> <\uff5cfim▁end\uff5c> <MID> ▁<MID> <|code_middle|> <|middle|>",
    ("fim_pad",): "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]",
    ("fim_rep",): "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>",
    ("fim_sep",): "<|file_sep|>",
}
"""Texts of which llama.cpp takes one for a special token, where the model names no token for the role."""
_KEEP_BLANKS = frozenset({"<unk>", "<s>", "<|endoftext|>"})
_BLANKS = " \t\n\v\f\r"
_LONGEST_SPECIAL, _MOST_SPECIAL = 256, 1 << 20
"""Characters of one special token, and of all together: a vocabulary may come from a stranger."""


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _is_whole(value: object) -> bool:
    return type(value) is int


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _list_of(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(kind, value))


_TYPES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "general.name": (_is_text, "a text in UTF-8 without NUL"),
    "tokenizer.chat_template": (_is_text, "a text in UTF-8 without NUL"),
    "tokenizer.ggml.model": (_is_text, "a text in UTF-8 without NUL"),
    "tokenizer.ggml.pre": (_is_text, "a text in UTF-8 without NUL"),
    "tokenizer.ggml.tokens": (_list_of(_is_text), "a list of texts in UTF-8 without NUL"),
    "tokenizer.ggml.merges": (_list_of(_is_text), "a list of texts in UTF-8 without NUL"),
    "tokenizer.ggml.token_type": (_list_of(_is_whole), "a list of whole numbers"),
    "tokenizer.ggml.scores": (_list_of(_is_number), "a list of numbers"),
    "tokenizer.ggml.add_space_prefix": (lambda value: isinstance(value, bool), "true or false"),
    "tokenizer.ggml.add_bos_token": (lambda value: isinstance(value, bool), "true or false"),
    "tokenizer.ggml.add_eos_token": (lambda value: isinstance(value, bool), "true or false"),
}
"""What is read of a header, and what it must be; and each ``…_token_id``, a whole number. Nothing else is looked at."""


def _require_types(header: Mapping[str, Any]) -> None:
    """Hold everything that is read below against its type. Raises :class:`ModelRefused`."""
    for name, value in header.items():
        known = (_is_whole, "a whole number") if name.endswith("_token_id") else _TYPES.get(name)
        if known is not None and not known[0](value):
            raise ModelRefused(name, known[1], value)


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """``tokens`` by their number; ``special``: those that a text names whole, in their order."""

    tokens: list[str]
    special: list[int]

    @property
    def texts(self) -> list[str]:
        """The texts of the special tokens."""
        return [self.tokens[place] for place in self.special]


def read_vocabulary(header: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``tokenizer.json`` and ``model.json`` of a model by its header. Raises :class:`ModelRefused`."""
    _require_types(header)
    kind = header.get("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama"):
        raise ModelRefused("the vocabulary", "merges of bytes (gpt2) or scored pieces (llama)", kind)
    vocabulary = _read_tokens(header)
    _require_apart(vocabulary.texts)
    template = header.get("tokenizer.chat_template", "")
    model: dict[str, Any] = {"chatTemplate": template, "stripAfter": _stripping(header, vocabulary)}
    if kind == "gpt2":
        cut = _cut(header)
        begun, at = cut.begun, {"bos": 11, "eos": 11}
        tokenizer = _by_bytes(header, vocabulary, cut)
    else:
        begun, at = True, {"bos": 1, "eos": 2}
        tokenizer = _by_pieces(vocabulary)
        prefix = header.get("tokenizer.ggml.add_space_prefix", True) is True
        model |= {"pieces": _ranked(header, vocabulary.tokens), "spacePrefix": prefix}
    begins = header.get("tokenizer.ggml.add_bos_token", begun) is True
    ends = begins and header.get("tokenizer.ggml.add_eos_token") is True
    model |= {name: _named(header, vocabulary, name, at[name], template) for name in at}
    longest = max(len(one.encode()) for one in vocabulary.tokens)
    model |= {"added": begins + ends, "longest": longest, "tokens": len(vocabulary.tokens)}
    return tokenizer, model


def _cut(header: Mapping[str, Any]) -> Cut:
    name = header.get("tokenizer.ggml.pre") or "default"
    if name not in CUTS:
        raise ModelRefused("how its text is cut into words (tokenizer.ggml.pre)", "one of " + ", ".join(CUTS), name)
    return CUTS[name]


def _read_tokens(header: Mapping[str, Any]) -> _Vocabulary:
    tokens = [text or f"[EMPTY_{place}]" for place, text in enumerate(_texts(header, "tokens"))]
    types = header.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise ModelRefused("the types of its tokens", f"{len(tokens)} numbers", types)
    if twice := [text for text, times in Counter(tokens).items() if times > 1]:
        raise ModelRefused("its tokens", "each text once", twice[0])
    also = {*_SURE.split()} | _found(header, {text: types[place] for place, text in enumerate(tokens)})
    never = {"</s>"} if "<|tool_response>" in tokens else set()
    special = [at for at, kind in enumerate(types) if kind in _SPECIAL or tokens[at] in also]
    return _Vocabulary(tokens, [at for at in special if tokens[at] not in never])


def _found(header: Mapping[str, Any], types: Mapping[str, Any]) -> frozenset[str]:
    """Texts that the engine finds for roles that the model leaves open. Which of several, is its chance."""
    found = set()
    for names, texts in _FOUND.items():
        present = [text for text in texts.split() if text in types]
        if any(f"tokenizer.ggml.{name}_token_id" in header for name in names):
            continue
        if len(present) > 1 and any(types[text] not in _SPECIAL for text in present):
            raise ModelRefused(f"its tokens for {names[0]}", "one, or each marked as special", ", ".join(present))
        found.update(present)
    return frozenset(found)


def _require_apart(texts: Sequence[str]) -> None:
    """Refuse special tokens of which one may begin within another: the engine takes the longest first, anywhere.

    Those of one character, repeated, may begin within each other.
    """
    longest, together = max(map(len, texts), default=0), sum(map(len, texts))
    if longest > _LONGEST_SPECIAL or together > _MOST_SPECIAL:
        expected = f"at most {_LONGEST_SPECIAL} characters each and {_MOST_SPECIAL} together"
        raise ModelRefused("its special tokens", expected, f"one of {longest}, and {together} together")
    every = sorted(texts)
    mixed = [text for text in every if len(set(text)) > 1]
    for text in every:
        others = every if len(set(text)) > 1 else mixed
        for start in range(1, len(text)):
            rest = text[start:]
            after = bisect_right(others, rest)
            if after < len(others) and others[after].startswith(rest):
                raise ModelRefused("its special tokens", "none that begins within another", text)


def _stripping(header: Mapping[str, Any], vocabulary: _Vocabulary) -> list[str]:
    """Special tokens behind which blanks are dropped: the engine does so for models that are named Phi-3."""
    name = header.get("general.name", "").lower()
    if "phi-3" not in name and "phi3" not in name:
        return []
    texts = sorted(vocabulary.texts)
    if any(text[0] in _BLANKS for text in texts) or any(one.startswith(text) for text, one in pairwise(texts)):
        raise ModelRefused("its special tokens", "none that begins with a blank or with another", name)
    return sorted(set(texts) - _KEEP_BLANKS)


def _named(header: Mapping[str, Any], vocabulary: _Vocabulary, name: str, default: int, template: str) -> str:
    """The text of the token that begins or ends a text, as the template is given it."""
    place = header.get(f"tokenizer.ggml.{name}_token_id", default)
    if f"{name}_token" not in template:
        return ""
    if place not in vocabulary.special:
        raise ModelRefused(f"the token {name} that its template names", "a special token", place)
    text: str = vocabulary.tokens[place]
    return text


def _by_bytes(header: Mapping[str, Any], vocabulary: _Vocabulary, cut: Cut) -> dict[str, Any]:
    """Bytes that are no token get numbers beyond the vocabulary: the engine drops them, and so does the count."""
    places = {text: place for place, text in enumerate(vocabulary.tokens)}
    merges = list(dict.fromkeys(_texts(header, "merges")))
    for merge in merges:
        first, _, second = merge.partition(" ")
        if not {first, second, first + second} <= places.keys():
            raise ModelRefused("what its merges join and become", "tokens", merge)
    for byte in _byte_texts():
        places.setdefault(byte, len(places))
    pieces = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in cut.patterns
    ]
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": cut.whole,
        "vocab": places, "merges": merges,
    }  # fmt: skip
    return _document(vocabulary, model, {"type": "Sequence", "pretokenizers": [*pieces, by_bytes]})


def _by_pieces(vocabulary: _Vocabulary) -> dict[str, Any]:
    """What is between special tokens is one token of no text, with the number behind the last."""
    model = {"type": "WordLevel", "vocab": {"": len(vocabulary.tokens)}, "unk_token": ""}
    return _document(vocabulary, model, None)


def _ranked(header: Mapping[str, Any], tokens: list[str]) -> dict[str, int]:
    """Each piece with the rank of its score: the pair that becomes the piece of the lowest rank is joined first."""
    scores = header.get("tokenizer.ggml.scores") or [0] * len(tokens)
    if len(scores) != len(tokens) or not all(one == one for one in scores):
        raise ModelRefused("the scores of its pieces", f"{len(tokens)} numbers", f"{len(scores)}, or one that is none")
    if missing := {f"<0x{byte:02X}>" for byte in range(256)} - set(tokens):
        raise ModelRefused("its pieces", "one for each byte", f"none for {min(missing)}")
    ranks = {score: rank for rank, score in enumerate(sorted(set(scores), reverse=True))}
    return {text: ranks[score] for text, score in zip(tokens, scores, strict=True)}


def _document(vocabulary: _Vocabulary, model: Mapping[str, Any], cut: Any) -> dict[str, Any]:
    """A document that Hugging Face's tokenizers read."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": place, "content": vocabulary.tokens[place], **flags} for place in vocabulary.special]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": cut, "post_processor": None, "decoder": None, "model": model,
    }  # fmt: skip


def _byte_texts() -> Iterable[str]:
    """How vocabularies of bytes spell each byte: as itself where it is printed, else from U+0100 on."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)]


def _texts(header: Mapping[str, Any], name: str) -> list[str]:
    found: list[str] = header.get(f"tokenizer.ggml.{name}", [])
    if not found:
        raise ModelRefused(f"the vocabulary's {name}", "a list of texts", "none")
    return found


def written(value: object) -> bytes:
    """A document as it lies in a meter."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
