"""How a meter is asked: ``WHAT/ENDPOINT`` with ``u32 length || request || response`` (docs/spec/session.md, "Meter").

One process counts for one account. What it cannot count it raises over, which ends it: the enclave then charges by
bytes. Nothing leaves but two numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from answers import MOST_PARTS, Answered, Uncountable, as_it_stands, read_answer, read_cut

UNBOUNDED = 1 << 53
"""More units than there ever are."""
Prompt = Callable[[str, bytes, int], int]
"""Units of the prompt in a request to an endpoint; of one that has more than so many, any number above that."""
Output = Callable[[str, bytes, Answered], int]
"""Units of what was answered to a request."""


def count(session: Any, prompt_units: Prompt, output_units: Output) -> None:
    """Answer what the enclave asks, until it asks no more."""
    for request in session.requests():
        what, _, endpoint = request.endpoint.partition("/")
        size = int.from_bytes(request.body[:4], "big")
        asked, answered = request.body[4 : 4 + size], request.body[4 + size :]
        if what == "prompt":
            request.done(prompt_units(endpoint, asked, request.most_units), 0)
            continue
        found = read_answer(endpoint, answered) if what == "answer" else read_cut(endpoint, answered)
        prompt = 0 if found.refused else prompt_units(endpoint, asked, UNBOUNDED)
        output = output_units(endpoint, asked, found)
        if found.parts > MOST_PARTS + 2 * output:
            # An engine makes a token or more for each part: what comes in more of them hides something.
            if what == "answer":
                raise Uncountable
            output = output_units(endpoint, asked, as_it_stands(answered))
        request.done(prompt, output)
