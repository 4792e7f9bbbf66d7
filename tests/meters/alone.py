"""The engine, or a meter, alone in a process: run by ``test_engine.py``, with texts in JSON as its input.

Arguments: ``engine`` and a model in GGUF, or ``meter`` and the folder of its code. Output: for each text the seconds of
a processor that its tokens took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(what: str, path: str) -> None:
    """Answer once."""
    tokenize = engine(path) if what == "engine" else meter(path)
    seconds = []
    for text in json.load(sys.stdin):
        start = time.process_time()
        tokenize(text)
        seconds.append(time.process_time() - start)
    print(json.dumps(seconds))


def engine(path: str) -> Callable[[str], Any]:
    """The bare engine's vocabulary."""
    from cyllama.llama import llama_cpp as native  # type: ignore[import-not-found]

    native.disable_logging()
    native.ggml_backend_load_all()
    wanted = native.LlamaModelParams()
    wanted.n_gpu_layers = 0
    opened = native.LlamaModel(path, wanted)
    return lambda text: opened.get_vocab().tokenize(text, False, True)


def meter(path: str) -> Callable[[str], Any]:
    """A meter, asked for any number of tokens."""
    sys.path.insert(0, path)
    import tokens  # type: ignore[import-not-found]

    made = tokens.Meter(Path(path))
    return lambda text: made.prompt_units("completions", json.dumps({"prompt": text}).encode(), 1 << 53)


if __name__ == "__main__":
    main(*sys.argv[1:])
