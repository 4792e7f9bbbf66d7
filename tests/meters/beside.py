"""Engine and meter side by side, in a process that has both: run by ``test_engine.py``.

Arguments: a model in GGUF, the folder of the meter's code, and how many tokens a prompt may have. Each line of input
is a list of texts in JSON; each line of output the counts of the engine and those of the meter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(model: str, code: str, most: str) -> None:
    """Answer until the input ends."""
    sys.path.insert(0, code)
    import tokens  # type: ignore[import-not-found]
    from cyllama.llama import llama_cpp as native  # type: ignore[import-not-found]

    native.disable_logging()
    native.ggml_backend_load_all()
    wanted = native.LlamaModelParams()
    wanted.n_gpu_layers = 0
    opened = native.LlamaModel(model, wanted)
    vocab, meter = opened.get_vocab(), tokens.Meter(Path(code))
    for line in sys.stdin:
        texts = json.loads(line)
        engine = [len(vocab.tokenize(text[:4096], bool(vocab.get_add_bos()), True)) for text in texts]
        bodies = [json.dumps({"prompt": text}).encode() for text in texts]
        counted = [meter.prompt_units("completions", body, int(most)) for body in bodies]
        print(json.dumps([engine, counted]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
