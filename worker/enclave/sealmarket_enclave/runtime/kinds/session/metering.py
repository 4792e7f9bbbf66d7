"""The process that answers an account, together with the meter that counts what it is asked and answers.

The meter is a step that every owner's policy names (docs/spec/session.md, "Meter"). Rules:

1. Each workload's process has a meter's process of its own. Both are started together, serve one account, and end
   together: no meter ever holds the text of two accounts.
2. The meter counts the prompt before the workload is given the request. A prompt that it cannot count, or that has more
   units than the request or the owners allow, reaches no workload and costs nothing.
3. It counts the whole answer once the workload says that it is done, and of an answer that is broken off what left of
   it. What the workload says of units counts for nothing, and nothing that it does then keeps the meter from counting.
4. Nothing of a meter leaves but two numbers: at most a unit for each byte of the request, and for each byte of the
   response. A meter that sends anything else, or ends, has given no count.

Without a meter the workload's own process stands alone, and what it counts is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from sealmarket_enclave.sandbox import session as sandboxed
from sealmarket_enclave.sandbox.session import Done

METER_SECONDS = 30
"""Wall time of one count: a request has at most a mebibyte, an answer what the owners allow."""
PROMPT, ANSWER, CUT = "prompt", "answer", "cut"
"""What a meter is asked to count: how each call's endpoint begins."""


class Event(Enum):
    """What happened to a process that answers."""

    WAITING = auto()
    BEGUN = auto()
    """The prompt is counted; the workload has the request."""
    SENT = auto()
    COUNTING = auto()
    """The answer is whole; the meter counts it."""
    DONE = auto()
    CUT = auto()
    """What left of an answer that was broken off is counted."""
    BROKEN = auto()
    UNMETERED = auto()
    """The meter gave no count."""
    TOO_LARGE = auto()
    """The prompt has more units than the request or the owners allow; the process waits again."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, with the bytes that were sent, or what an answer cost at its end."""

    event: Event
    data: bytes = field(default=b"", repr=False)
    done: Done | None = None


class Sandboxed(Protocol):
    """What is needed of :class:`~sealmarket_enclave.sandbox.session.SessionProcess`."""

    @property
    def output(self) -> int:
        """See there."""

    @property
    def input(self) -> int | None:
        """See there."""

    @property
    def loaded(self) -> bool:
        """See there."""

    @property
    def crowded(self) -> bool:
        """See there."""

    def give(self, endpoint: str, most_units: int, body: bytes) -> None:
        """See there."""

    def write(self) -> None:
        """See there."""

    def read(self) -> Iterator[sandboxed.Happened]:
        """See there."""

    def close(self) -> None:
        """See there."""


class _State(Enum):
    IDLE = auto()
    PROMPT = auto()
    ANSWERING = auto()
    COUNTING = auto()
    CUT = auto()


@dataclass(frozen=True, slots=True)
class _Asked:
    endpoint: str
    most: int
    body: bytes = field(repr=False)


class AnsweringProcess:
    """One workload's process, with its meter's where the owners name one. ``max_prompt``: units that they allow."""

    def __init__(self, workload: Sandboxed, meter: Sandboxed | None, max_prompt: int) -> None:
        self._workload, self._meter, self._max_prompt = workload, meter, max_prompt
        self._state = _State.IDLE
        self._waiting = self._cut = self._spoiled = self._lost = False
        self._asked = _Asked("", 0, b"")
        self._sent = bytearray()
        self._prompt = 0
        self._answered: Done | None = None

    @property
    def outputs(self) -> tuple[int, ...]:
        """The descriptors to wait on for :meth:`read`."""
        return tuple(one.output for one in self._heard())

    @property
    def inputs(self) -> tuple[int, ...]:
        """The descriptors to wait on for :meth:`write`."""
        return tuple(one.input for one in self._all() if one.input is not None)

    @property
    def loaded(self) -> bool:
        """Whether both wait, or waited, for requests."""
        return all(one.loaded for one in self._all())

    @property
    def crowded(self) -> bool:
        """Whether one that may say something now has more threads than it may."""
        return any(one.crowded for one in self._heard())

    @property
    def counting(self) -> bool:
        """Whether its meter counts, so that the time that passes is the meter's."""
        return self._state in (_State.PROMPT, _State.COUNTING, _State.CUT)

    @property
    def answered(self) -> bool:
        """Whether the answer is whole, and waits for its count alone."""
        return self._state is _State.COUNTING

    def give(self, endpoint: str, most_units: int, body: bytes) -> None:
        """Give it a request. Only while it waits."""
        self._asked, self._prompt, self._answered = _Asked(endpoint, most_units, body), 0, None
        self._sent.clear()
        if self._meter is None:
            self._state = _State.ANSWERING
            self._workload.give(endpoint, most_units, body)
        else:
            self._count(_State.PROMPT, PROMPT)

    def cut(self, unsent: int = 0) -> bool:
        """Break off the answer under way, of which the last ``unsent`` bytes did not leave.

        Whether a count of what left comes: the workload's process has ended then.
        """
        del self._sent[len(self._sent) - unsent :]
        if self._meter is None or self._lost or self._state is not _State.ANSWERING or not self._sent:
            return False
        self._workload.close()
        self._cut = True
        self._count(_State.CUT, CUT)
        return True

    def write(self) -> None:
        """Write what the pipes take now."""
        for one in self._all():
            if one.input is not None:
                one.write()

    def read(self) -> Iterator[Happened]:
        """What happened since. Nothing of an answer comes after an event that ends it.

        Raises:
            SandboxUnavailable: a required layer is not in force; no code of that process has run.
        """
        for one in self._heard():
            for happened in one.read():
                yield from self._take_count(happened) if one is self._meter else self._take(happened)

    def close(self) -> None:
        """End both, whatever they do."""
        for one in self._all():
            one.close()
        self._sent.clear()

    def _all(self) -> list[Sandboxed]:
        workload = [] if self._cut else [self._workload]
        return workload if self._meter is None else [*workload, self._meter]

    def _heard(self) -> list[Sandboxed]:
        """Whom to hear: while the meter counts, the workload has nothing to say."""
        return [self._meter] if self._meter is not None and self.counting else self._all()

    def _count(self, state: _State, what: str) -> None:
        assert self._meter is not None
        self._state, asked = state, self._asked
        body = len(asked.body).to_bytes(4) + asked.body + bytes(self._sent)
        self._meter.give(f"{what}/{asked.endpoint}", min(asked.most, self._max_prompt), body)

    def _take(self, happened: sandboxed.Happened) -> Iterator[Happened]:
        """What the workload's process says. Once its answer is whole nothing of that keeps the meter from counting."""
        if self.counting:
            self._spoiled = True
            return
        match happened.event:
            case sandboxed.Event.WAITING:
                yield from self._both_wait()
            case sandboxed.Event.SENT:
                if self._meter is not None:
                    self._sent += happened.data
                yield Happened(Event.SENT, happened.data)
            case sandboxed.Event.DONE if self._meter is not None:
                self._answered = happened.done
                self._count(_State.COUNTING, ANSWER)
                yield Happened(Event.COUNTING)
            case sandboxed.Event.DONE:
                self._state = _State.IDLE
                yield Happened(Event.DONE, done=happened.done)
            case sandboxed.Event.BROKEN:
                yield Happened(Event.BROKEN)

    def _take_count(self, happened: sandboxed.Happened) -> Iterator[Happened]:
        """What the meter's process says (rule 4)."""
        if happened.event is sandboxed.Event.WAITING:
            yield from self._both_wait()
            return
        if (counted := happened.done) is None:
            self._lost = True
            yield Happened(Event.UNMETERED)
        elif self._state is _State.PROMPT:
            yield self._begin(min(counted.prompt_units, len(self._asked.body)))
        else:
            engine = self._answered.engine if self._answered is not None else {}
            prompt, output = min(counted.prompt_units, self._prompt), min(counted.output_units, len(self._sent))
            ended, self._state = Event.CUT if self._cut else Event.DONE, _State.IDLE
            yield Happened(ended, done=Done(prompt, output, engine))
            if self._spoiled:
                yield Happened(Event.BROKEN)

    def _begin(self, prompt: int) -> Happened:
        """Rule 2."""
        if prompt > min(self._asked.most, self._max_prompt):
            self._state = _State.IDLE
            return Happened(Event.TOO_LARGE)
        self._prompt, self._state = prompt, _State.ANSWERING
        self._workload.give(self._asked.endpoint, self._asked.most, self._asked.body)
        return Happened(Event.BEGUN)

    def _both_wait(self) -> Iterator[Happened]:
        if self.loaded and not self._waiting:
            self._waiting = True
            yield Happened(Event.WAITING)
