"""How engines cut a text into words before they merge its bytes, by the name that GGUF has for it.

The patterns are those of llama.cpp b9190 (``src/llama-vocab.cpp``, ``src/unicode.cpp``), spelled for Hugging Face's
tokenizers. Each is applied to the pieces that the one before it left. Rules that the spelling keeps:

1. Case is ASCII's: llama.cpp finds no other spelling of ``'s`` than ``'S``, and takes each letter that is not ASCII
   for a small and for a capital one.
2. ``~`` is no symbol, and a blank that is not ASCII is in no range of characters: llama.cpp replaces it before.
3. Letters, marks, numbers and symbols are those of Unicode 15.1, llama.cpp's: the tokenizers know later ones.
4. No pattern is tried anew from each character of a run that it cannot end: ``\\s+\\z`` begins where the blanks do,
   else its cost grows with the square of a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_ENDINGS = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CAPITAL, _SMALL = r"(?:(?![a-z])\p{L})", r"(?:(?![A-Z])\p{L})"


def _spelled(ranges: str) -> str:
    """Characters, and ranges of them, by their numbers in hexadecimal: as they stand within brackets of a pattern."""
    both = (one.partition("-") for one in ranges.split())
    return "".join(rf"\x{{{low}}}-\x{{{high or low}}}" for low, _, high in both)


def _words(digits: str) -> str:
    return rf"(?:{_ENDINGS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_BLANKS}"


def _cased(digits: str, endings: str = "") -> str:
    before = r"[^\r\n\p{L}\p{N}]?"
    small, capital = f"{_CAPITAL}*{_SMALL}+", f"{_CAPITAL}+{_SMALL}*"
    rest = rf"{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_BLANKS}"
    return f"{before}{small}{endings}|{before}{capital}{endings}|{rest}"


_QWEN35 = (
    rf"(?:{_ENDINGS})|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BLANKS}"
)
_DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|(?:[^\r\n\p{L}\p{P}\p{S}]|~)?[\p{L}\p{M}]+"
    r"| ?(?:(?!~)[\p{P}\p{S}])+[\r\n]*|" + _BLANKS
)
_DEEPSEEK_LETTERS = _spelled(
    "41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c "
    "38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b "
    "1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 "
    "1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 "
    "2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b "
    "2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 "
    "fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df "
    "1e900-1e943"
)
_DEEPSEEK_HAN = rf"(?:(?!\s)[{_spelled('4e00-9fa5 800-4e00 ac00-d7ff')}])+"
_PUNCTUATION = r"\p{P}$+<=>^~|"


@dataclass(frozen=True, slots=True)
class Cut:
    """``patterns`` in their order; whether a word that is a token is never merged (``whole``); whether a prompt begins
    with a token of its own where the model does not say (``begun``)."""

    patterns: tuple[str, ...]
    whole: bool = False
    begun: bool = False


_LATER = _spelled(
    "897 1b4e-1b4f 1b7f 1c89-1c8a 2427-2429 31e4-31e5 a7cb-a7cd a7da-a7dc 105c0-105f3 10d40-10d8f 10ec2-10ec4 10efc"
    " 11380-113e2 116d0-116e3 11bc0-11bf9 11f5a 13460-143fa 16100-16139 16d40-16d79 18cff 1cc00-1ceb3 1e5d0-1e5ff"
    " 1f8b2-1f8c1 1fa89 1fa8f 1fabe 1fac6 1fadc 1fadf 1fae9 1fbcb-1fbef"
)
"""Characters of Unicode 16."""
_NOT_LATER = "".join(
    rf"\x{{{low}}}-\x{{{high or low}}}" for low, _, high in (one.partition("-") for one in _LATER.split())
)


def _dated(cut: Cut) -> Cut:
    """The same, by rule 3."""
    spelled = tuple(re.sub(r"\\p\{(.)\}", lambda found: f"[{found[0]}&&[^{_LATER}]]", one) for one in cut.patterns)
    return replace(cut, patterns=spelled)


_LLAMA3 = _words(r"\p{N}{1,3}")
_BY_CUT: tuple[tuple[Cut, str], ...] = (
    (Cut((_GPT2,)), "gpt-2 phi-2 mpt olmo jais exaone4"),
    (Cut((r"\p{N}", _GPT2)), "smollm starcoder refact command-r codeshell exaone minerva-7b"),
    (Cut((_LLAMA3,), whole=True, begun=True), "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2"),
    (Cut((_LLAMA3,)), "dbrx smaug-bpe glm4 chatglm-bpe"),
    (Cut((_words(r"\p{N}"),)), "qwen2 deepseek-r1-qwen megrez stablelm2 hunyuan"),
    (Cut((_QWEN35,)), "qwen35"),
    (Cut((r"\p{N}{1,3}", rf"[{_spelled('4e00-9fa5 3040-309f 30a0-30ff')}]+", _DEEPSEEK3)), "deepseek-v3 hunyuan-dense"),
    (Cut((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _DEEPSEEK_HAN, r"\p{N}")), "deepseek-coder"),
    (
        Cut(
            (
                r"[\r\n]",
                rf"\s?[{_DEEPSEEK_LETTERS}]+",
                rf"\s?[!-/:-~{_spelled('ff01-ff0f ff1a-ff5e 2018-201f 3001 3002')}]+",
                r"(?<!\s)\s+\z",
                _DEEPSEEK_HAN,
                r"\p{N}+",
            )
        ),
        "deepseek-llm",
    ),
    (Cut((rf"[{_PUNCTUATION}`]+", _GPT2, "[0-9][0-9][0-9]")), "falcon"),
    (Cut((_cased(r"\p{N}"),), whole=True, begun=True), "tekken"),
    (Cut((_cased(r"\p{N}{1,3}", f"(?:{_ENDINGS})?"),)), "gpt-4o llama4"),
    (Cut((rf"[{_PUNCTUATION}]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")), "default"),
)
CUTS = {name: _dated(cut) for cut, names in _BY_CUT for name in names.split()}
"""Each way to cut that is known, by its name."""
