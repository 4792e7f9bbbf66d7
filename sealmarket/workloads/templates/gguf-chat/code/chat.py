"""Serve a GGUF model: chat completions, completions and models, as OpenAI's clients speak them.

The engine says when it stops, how many tokens it read and made, and nothing of likelihoods. Text leaves every
``tokens_per_frame`` tokens, and never by the clock, so that the times of frames tell little about the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import said
from asked import Asked, Refused, read_chat, read_completion
from cyllama.llama.llama_cpp import json_schema_to_grammar
from engine import Engine, Sampling, Uncuttable, random_seed
from grammars import is_taken
from prompts import Template, tool_calls
from runs import LONGEST
from stopping import Run

_MOST_SCHEMA = 16_384
"""Characters of the grammar that a JSON schema may become."""


def serve(session: Any) -> None:
    """Entry point: answer the requests of one account until they end."""
    parameters = session.parameters
    service = Service(Engine(session.path("model"), int(parameters["context"])), parameters)
    for request in session.requests():
        service.answer(request)


class Service:
    """One engine, and how it is asked."""

    def __init__(self, engine: Engine, parameters: Mapping[str, Any]) -> None:
        self._engine, self._name = engine, str(parameters["model_name"])
        self._frame, self._most = int(parameters["tokens_per_frame"]), int(parameters["most_tokens"])
        self._template = Template(engine.template, bos=engine.special("bos"), eos=engine.special("eos"))

    def answer(self, request: Any) -> None:
        """Answer one request, and end it. What is wrong with it is answered, and costs nothing."""
        try:
            if request.endpoint == "models":
                request.send(said.models(self._name))
                request.done(0, 0, _described(self._name))
            elif request.endpoint in ("chat", "completions"):
                self._answer(request, chat=request.endpoint == "chat")
            else:
                raise Refused(f"this service has no endpoint {request.endpoint}", code="unsupported_endpoint")
        except Refused as refused:
            request.send(refused.body())
            request.done(0, 0, _described(self._name))

    def _answer(self, request: Any, *, chat: bool) -> None:
        asked = read_chat(request.body) if chat else read_completion(request.body)
        text = self._template.prompt(asked.messages, asked.tools) if chat else asked.prompt
        param = "messages" if chat else "prompt"
        try:
            prompt = self._engine.tokens(text)
        except Uncuttable:
            raise Refused(
                f"the text has more than {LONGEST} letters, blanks, digits, signs or characters beyond ASCII in a row, "
                "which the engine cannot cut into words for this model: break them up",
                param=param,
            ) from None
        room = min(self._engine.context, int(request.most_units)) - len(prompt)
        if room < 1 or not prompt:
            raise Refused(
                f"the prompt has {len(prompt)} tokens; the context has {self._engine.context}, "
                f"and the request allows {request.most_units} units",
                param=param,
                code="context_length_exceeded",
            )
        sampling = _sampling(asked)
        most = min(room, self._most, asked.most or self._most)
        run = Run(self._engine.generate(prompt, sampling, most), asked.stop, most)
        answer = said.Answer(self._name, chat=chat)
        if asked.stream and not asked.tools:
            self._stream(request, answer, run, asked, len(prompt))
        else:
            self._whole(request, answer, run, asked, len(prompt))
        request.done(len(prompt), run.made, _described(self._name, sampling, most))

    def _stream(self, request: Any, answer: said.Answer, run: Run, asked: Asked, prompt: int) -> None:
        held, since = asked.prompt if asked.echo else "", self._frame - 1
        opening = answer.first()
        for piece in run.pieces():
            held, since = held + piece, since + 1
            if since >= self._frame and held:
                request.send(opening + answer.piece(held))
                held, since, opening = "", 0, b""
        rest = opening + (answer.piece(held) if held else b"")
        request.send(rest + answer.last(run.reason, _usage(prompt, run.made) if asked.with_usage else None))

    def _whole(self, request: Any, answer: said.Answer, run: Run, asked: Asked, prompt: int) -> None:
        text = (asked.prompt if asked.echo else "") + "".join(run.pieces())
        calls = tool_calls(text) if asked.tools else []
        reason, usage = "tool_calls" if calls else run.reason, _usage(prompt, run.made)
        if not asked.stream:
            request.send(answer.whole(text, reason, usage, calls))
            return
        body = answer.called(calls) if calls else answer.piece(text)
        request.send(answer.first() + body + answer.last(reason, usage if asked.with_usage else None))


def _sampling(asked: Asked) -> Sampling:
    grammar = ""
    if asked.schema is not None:
        try:
            grammar = json_schema_to_grammar(asked.schema)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, RuntimeError):
            raise Refused("the engine cannot keep to this schema", param="response_format") from None
        if len(grammar) > _MOST_SCHEMA:
            raise Refused("the schema is too large for the engine", param="response_format")
        if not is_taken(grammar):
            raise Refused("the engine cannot keep to this schema", param="response_format")
    return Sampling(
        temperature=asked.temperature,
        top_p=asked.top_p,
        seed=random_seed() if asked.seed is None else asked.seed & 0xFFFF_FFFF,
        frequency_penalty=asked.frequency_penalty,
        presence_penalty=asked.presence_penalty,
        grammar=grammar,
    )


def _usage(prompt: int, made: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def _described(model: str, sampling: Sampling | None = None, most: int = 0) -> dict[str, Any]:
    """What the receipt says of the engine: whole numbers and texts alone, since it is hashed as canonical JSON."""
    try:
        engine = f"cyllama {version('cyllama')}"
    except PackageNotFoundError:
        engine = "cyllama"
    if sampling is None:
        return {"engine": engine, "model": model}
    return {
        "engine": engine,
        "model": model,
        "mostTokens": most,
        "seed": sampling.seed,
        "temperature": repr(sampling.temperature),
        "topP": repr(sampling.top_p),
    }
