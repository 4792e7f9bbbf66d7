"""A session for templates that are imported in the test: requests in, what was sent and used out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """One request, and what the workload did with it."""

    endpoint: str
    body: bytes
    most_units: int = 100
    sent: list[bytes] = field(default_factory=list)
    used: tuple[int, int, Mapping[str, Any]] | None = None

    def send(self, data: bytes) -> None:
        assert self.used is None
        self.sent.append(bytes(data))

    def done(self, prompt_units: int, output_units: int, engine: Mapping[str, Any] | None = None) -> None:
        assert self.used is None
        self.used = (prompt_units, output_units, engine or {})

    @property
    def answer(self) -> Any:
        return json.loads(b"".join(self.sent))


@dataclass
class Served:
    """What an entry point is given."""

    inputs: Mapping[str, memoryview]
    parameters: Mapping[str, Any]
    asked: list[Asked]

    def requests(self) -> Iterator[Asked]:
        for one in self.asked:
            yield one
            assert one.used is not None, "the request was left without done()"


def ask(endpoint: str, body: Any, most_units: int = 100) -> Asked:
    """A request with a body of JSON, or of these bytes."""
    return Asked(endpoint, body if isinstance(body, bytes) else json.dumps(body).encode(), most_units)
