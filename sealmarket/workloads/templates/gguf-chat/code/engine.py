"""One model in one context: tokens in, pieces of text out. Logits never leave this module.

A prompt is evaluated in whole blocks from position 0, and only whole blocks are kept for the next prompt: so a prompt
whose start is kept gives the same bits as one that is evaluated anew. The process serves one account, and so does the
context.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cyllama.llama.llama_cpp as native
from runs import too_long

BLOCK = 64
"""Tokens of a prompt that are evaluated at once."""
_PENDING = 8
"""Tokens that are held back at most while their bytes are no whole character."""
_SEQUENCE = 0


class Uncuttable(Exception):
    """A text with a run that would end the engine's process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen. ``temperature`` 0 takes the likeliest. ``grammar`` is GBNF, or empty."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    grammar: str = ""


class Engine:
    """A GGUF model that is mapped from ``path``, with one context of ``context`` tokens."""

    def __init__(self, path: str, context: int, threads: int = 1) -> None:
        native.disable_logging()
        native.ggml_backend_load_all()
        model = native.LlamaModelParams()
        model.n_gpu_layers, model.use_mmap, model.use_mlock = 0, True, False
        self._model = native.LlamaModel(path, model)
        self.vocab = self._model.get_vocab()
        self.context = min(context, self._model.n_ctx_train)
        held = native.LlamaContextParams()
        held.n_ctx, held.n_batch, held.n_ubatch, held.no_perf = self.context, BLOCK, BLOCK, True
        held.n_threads = held.n_threads_batch = threads
        self._context = native.LlamaContext(self._model, held)
        self._kept: list[int] = []
        self._cut = self._said("model"), self._said("pre") or "default"

    @property
    def template(self) -> str:
        """The chat template that the model carries, in Jinja; empty without one."""
        return self._model.get_default_chat_template() or ""

    def _said(self, name: str) -> str:
        """What the model says of its vocabulary; empty where it says nothing."""
        try:
            return str(self._model.meta_val_str(f"tokenizer.ggml.{name}"))
        except ValueError:
            return ""

    def special(self, name: str) -> str:
        """The text of the token ``bos`` or ``eos``; empty where the model has none."""
        token = self.vocab.token_bos() if name == "bos" else self.vocab.token_eos()
        return str(self.vocab.token_to_piece(token, special=True)) if token >= 0 else ""

    def tokens(self, text: str) -> list[int]:
        """A prompt's tokens, with the special tokens that its text names. Raises :class:`Uncuttable`."""
        spelled = text.encode("utf-8", "replace").decode()
        if too_long(spelled, *self._cut):
            raise Uncuttable
        return list(self.vocab.tokenize(spelled, bool(self.vocab.get_add_bos()), True))

    def generate(self, prompt: Sequence[int], sampling: Sampling, most: int) -> Iterator[str]:
        """A piece of text for each token, perhaps empty, until the model ends or ``most`` tokens are made.

        The caller sees to it that prompt and ``most`` fit the context, and that the prompt is not empty.
        """
        self._evaluate(list(prompt))
        sampler = _sampler(self.vocab, sampling)
        before, pending = prompt[-1], []
        for position in range(len(prompt), len(prompt) + most):
            token = sampler.sample(self._context, -1)
            if self.vocab.is_eog(token):
                break
            pending.append(token)
            piece = self._piece(before, pending)
            if piece.endswith("\ufffd") and len(pending) < _PENDING:
                yield ""
            else:
                before, pending = token, []
                yield piece
            self._context.decode(native.llama_batch_get_one([token], position))
        if pending:
            yield self._piece(before, pending)

    def _evaluate(self, prompt: list[int]) -> None:
        """Evaluate what is not kept. The last token always is, since its logits choose the next."""
        same = next((at for at, (a, b) in enumerate(zip(self._kept, prompt, strict=False)) if a != b), None)
        same = min(len(self._kept), len(prompt)) if same is None else same
        start = min(same, len(prompt) - 1) // BLOCK * BLOCK
        self._kept = []
        if not (start and self._context.memory_seq_rm(_SEQUENCE, start, -1)):
            start = 0
            self._context.kv_cache_clear()
        for at in range(start, len(prompt), BLOCK):
            self._context.decode(native.llama_batch_get_one(prompt[at : at + BLOCK], at))
        self._kept = prompt[: len(prompt) // BLOCK * BLOCK]

    def _piece(self, before: int, pending: list[int]) -> str:
        """The text of tokens behind another; some vocabularies drop a blank at the very start."""
        start = self.vocab.detokenize([before], unparse_special=True)
        return str(self.vocab.detokenize([before, *pending], unparse_special=True)[len(start) :])


def random_seed() -> int:
    """A seed for a request that names none."""
    return int.from_bytes(os.urandom(4), "big") >> 1


def _sampler(vocab: native.LlamaVocab, sampling: Sampling) -> native.LlamaSampler:
    chain = native.LlamaSamplerChainParams()
    chain.no_perf = True
    sampler = native.LlamaSampler(chain)
    if sampling.grammar:
        sampler.add_grammar(vocab, sampling.grammar, "root")
    if sampling.frequency_penalty or sampling.presence_penalty:
        sampler.add_penalties(64, 1.0, sampling.frequency_penalty, sampling.presence_penalty)
    if sampling.temperature == 0:
        sampler.add_greedy()
        return sampler
    sampler.add_top_p(sampling.top_p, 1)
    sampler.add_temp(sampling.temperature)
    sampler.add_dist(sampling.seed)
    return sampler
