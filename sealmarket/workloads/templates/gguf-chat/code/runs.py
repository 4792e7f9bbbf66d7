"""Which texts the engine cannot cut into words: those with a run so long that its regular expressions need more stack.

llama.cpp b9190 cuts the text of some vocabularies of bytes with ``std::regex``, which calls itself for each character
that one match takes, and the process ends where its stack does (8 MiB; about 20,000 characters). A match is at most
two runs of the classes below long. Those vocabularies that the engine cuts by code of its own need no bound.
"""

from __future__ import annotations

import re

LONGEST = 2048
"""Characters of a run: a match of two of them needs less than a quarter of the stack."""
_BY_CODE = """
gpt-2 phi-2 mpt olmo jais exaone4 smollm starcoder refact command-r codeshell exaone minerva-7b llama3 llama-v3
llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 dbrx smaug-bpe glm4 chatglm-bpe qwen2 deepseek-r1-qwen megrez
stablelm2 hunyuan qwen35
"""
_BY_CLASS = "deepseek-v3 hunyuan-dense deepseek-coder deepseek-llm falcon tekken gpt-4o llama4 default"
BY_CODE, BY_CLASS = frozenset(_BY_CODE.split()), frozenset(_BY_CLASS.split())
"""Ways to cut (``tokenizer.ggml.pre``) that take a run of any length, and those whose matches are runs of one class or
of two; of another nothing is known."""
_BEYOND = r"\x80-\U0010ffff"
_RUNS = tuple(
    re.compile(f"[{one}]+")
    for one in (
        rf" \t\n\v\f\r{_BEYOND}",
        f"A-Za-z{_BEYOND}",
        f"0-9{_BEYOND}",
        r"^ \t\n\v\f\rA-Za-z0-9",
        rf"\r\n/{_BEYOND}",
    )
)
"""Blanks, letters, digits, all else, and what follows signs; a character beyond ASCII may be any of them."""
_ANY = re.compile(r"[^ \t\n\v\f\r]+")


def too_long(text: str, kind: str, cut: str) -> bool:
    """Whether a text has such a run. ``kind`` and ``cut``: the model's ``tokenizer.ggml.model`` and ``….pre``."""
    if kind != "gpt2" or cut in BY_CODE:
        return False
    runs = _RUNS if cut in BY_CLASS else (*_RUNS, _ANY)
    return any(len(found[0]) > LONGEST for run in runs for found in run.finditer(text))
