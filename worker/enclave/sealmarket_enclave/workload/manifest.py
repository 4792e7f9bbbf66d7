"""``workload.toml``: what a workload says of itself (docs/spec/workload.md, "workload.toml").

Keys are snake_case in TOML; the canonical manifest that is hashed spells them as all documents do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from sealmarket_enclave.protocol.card import ARROW, Card
from sealmarket_enclave.protocol.codec import Shape, from_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.workload.errors import InvalidManifest, ParametersRefused
from sealmarket_enclave.workload.needs import Identifier, Needs, Unmet, unmet
from sealmarket_enclave.workload.needs import Value as Value

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,63}\Z")]
OutputName = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")]
MediaType = Annotated[str, Meta(pattern=r"\A[a-z]+/[a-z0-9.+-]{1,100}\Z")]
MOST_INPUTS = 16
ANY_BYTES = "application/octet-stream"
Bytes = Annotated[int, Meta(ge=1, le=1 << 40)]
MAXIMUM_MANIFEST = 128 << 10
"""Bytes of a ``workload.toml``."""
_MOST_DOTS, _MOST_NESTING = 256, 16
"""Dots in a line, since a dotted key costs the square of its parts; tables and arrays inside each other."""


class InputSlot(Shape, frozen=True, kw_only=True):
    """One kind of input. ``minimum`` to ``maximum`` assets fill it, in the job's order; only the last slot varies.

    The media type :data:`~sealmarket_enclave.protocol.card.ARROW` takes the table that the asset's reader made, any
    other the original bytes.
    """

    name: Name
    media_type: MediaType
    minimum: Annotated[int, Meta(ge=1, le=64)] = 1
    maximum: Annotated[int, Meta(ge=1, le=64)] = 1
    needs: Needs | None = None

    def required(self) -> Needs | None:
        """What is needed of its assets: what it says, or a table of any columns where it takes one; else nothing."""
        return self.needs or (Needs(kind="table") if self.media_type == ARROW else None)


class Parameter(Shape, frozen=True, kw_only=True):
    """One parameter of a job. Without a ``default`` it is required. Bounds are inclusive."""

    name: Identifier
    type: Literal["string", "integer", "number", "boolean"]
    default: Value | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[Value, ...] | None = None
    max_length: Annotated[int, Meta(ge=1, le=4096)] = 256

    def check(self, value: object) -> Value:
        """The value, if the schema allows it; raises :class:`ParametersRefused`."""
        kinds: dict[str, tuple[type, ...]] = {
            "string": (str,),
            "integer": (int,),
            "number": (int, float),
            "boolean": (bool,),
        }
        right = isinstance(value, kinds[self.type]) and (self.type == "boolean") == isinstance(value, bool)
        if not right or not isinstance(value, str | int | float | bool):
            raise ParametersRefused(self.name, value, f"a {self.type}")
        if isinstance(value, str) and len(value) > self.max_length:
            raise ParametersRefused(self.name, value[:80], f"at most {self.max_length} characters")
        if not isinstance(value, str | bool):
            # Written so that a NaN is out of every range.
            if self.minimum is not None and not value >= self.minimum:
                raise ParametersRefused(self.name, value, f"at least {self.minimum}")
            if self.maximum is not None and not value <= self.maximum:
                raise ParametersRefused(self.name, value, f"at most {self.maximum}")
            if value != value or value in (float("inf"), float("-inf")):
                raise ParametersRefused(self.name, value, "a finite number")
        if self.choices is not None and value not in self.choices:
            raise ParametersRefused(self.name, value, f"one of {', '.join(map(str, self.choices))}")
        return value


class Output(Shape, frozen=True, kw_only=True):
    """One output that the workload may return, and how large it may be in bytes."""

    name: OutputName
    media_type: MediaType
    max_bytes: Bytes


LEAST_MEMORY = 64 << 20
"""Bytes of address space. In less a sandbox may not come up, and its enclave could not say why: the machine's limits,
or the workload's own, which its author could use to have a provider fall silent after the acceptance."""


class Limits(Shape, frozen=True, kw_only=True):
    """What a workload may use. The enclave enforces them; ``memory_bytes`` is address space."""

    cpu_seconds: Annotated[int, Meta(ge=1, le=1 << 20)]
    wall_seconds: Annotated[int, Meta(ge=1, le=1 << 20)]
    memory_bytes: Annotated[int, Meta(ge=LEAST_MEMORY, le=1 << 40)]
    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    seed: Annotated[int, Meta(ge=0, le=(1 << 32) - 1)] = 0


class SessionLimits(Shape, frozen=True, kw_only=True):
    """What a workload of kind session may use beside its :class:`Limits`, which then hold for each of its processes.

    ``processes`` is how many accounts are served at once, each in a process of its own; ``request_seconds`` the wall
    time of one request.
    """

    processes: Annotated[int, Meta(ge=1, le=64)]
    request_seconds: Annotated[int, Meta(ge=1, le=3600)]


class Manifest(Shape, frozen=True, kw_only=True):
    """A whole ``workload.toml``. A workload of kind session has ``session`` and no outputs; of batch, the reverse."""

    schema: Literal[1]
    kind: Literal["batch", "session"] = "batch"
    name: Name
    version: Annotated[str, Meta(pattern=r"\A[0-9]+\.[0-9]+\.[0-9]+\Z")]
    summary: Annotated[str, Meta(min_length=1, max_length=400)]
    entry_point: Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*:[a-z_][a-z0-9_]*\Z")]
    inputs: Annotated[tuple[InputSlot, ...], Meta(min_length=1, max_length=MOST_INPUTS)]
    parameters: Annotated[tuple[Parameter, ...], Meta(max_length=64)] = ()
    outputs: Annotated[tuple[Output, ...], Meta(max_length=64)] = ()
    limits: Limits
    session: SessionLimits | UnsetType = UNSET

    def input_names(self, count: int) -> tuple[str, ...]:
        """The names under which ``count`` assets, in the job's order, reach the workload.

        A slot for one asset gives its own name, any other gives ``name-1``, ``name-2`` and so on.

        Raises:
            ParametersRefused: too few or too many assets for the slots.
        """
        names: list[str] = []
        for slot, held in filled(self.inputs, count):
            single = slot.maximum == 1
            names += [slot.name] if single else [f"{slot.name}-{number}" for number in range(1, held + 1)]
        return tuple(names)

    def slot(self, name: str) -> InputSlot:
        """The slot that an input of :meth:`input_names` fills. Raises ``KeyError`` for another name."""
        slots = {slot.name: slot for slot in self.inputs}
        return slots[name] if name in slots else slots[name.rpartition("-")[0]]

    def check_parameters(self, given: Mapping[str, object]) -> dict[str, Value]:
        """The complete parameters of a job: what was given, checked, and defaults for the rest.

        Raises:
            ParametersRefused: an unknown or missing parameter, or a value that the schema does not allow.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise ParametersRefused(name, given[name], f"no parameter but {', '.join(sorted(known)) or 'none'}")
        values: dict[str, Value] = {}
        for name, parameter in known.items():
            if name in given:
                values[name] = parameter.check(given[name])
            elif parameter.default is None:
                raise ParametersRefused(name, "missing", f"a {parameter.type}")
            else:
                values[name] = parameter.default
        return values


def filled(inputs: Sequence[InputSlot], count: int) -> Iterator[tuple[InputSlot, int]]:
    """Each slot with the number of assets that fill it, of ``count`` in the job's order.

    Raises:
        ParametersRefused: too few or too many assets for the slots.
    """
    fixed = sum(slot.minimum for slot in inputs[:-1])
    last = count - fixed
    if not inputs[-1].minimum <= last <= inputs[-1].maximum:
        low, high = fixed + inputs[-1].minimum, fixed + inputs[-1].maximum
        raise ParametersRefused("number of assets", count, f"{low} to {high}")
    for slot in inputs:
        yield slot, last if slot is inputs[-1] else slot.minimum


def unmet_needs(
    inputs: Sequence[InputSlot], cards: Sequence[Card | None], values: Mapping[str, object]
) -> Iterator[Unmet]:
    """Every need of a workload's slots that the cards of a job's assets, in its order, do not promise.

    ``values`` are the complete parameters. Of the answers ``asset`` is the place among all assets. Raises as
    :func:`filled`.
    """
    at = 0
    for slot, held in filled(inputs, len(cards)):
        of_slot, needs = cards[at : at + held], slot.required()
        if needs is not None:
            for one in (*unmet(needs, of_slot, values), *_other_bytes(slot, of_slot)):
                yield replace(one, asset=one.asset + at if one.asset is not None else None)
        at += held


def _other_bytes(slot: InputSlot, cards: Sequence[Card | None]) -> Iterator[Unmet]:
    """Assets of another media type than the slot takes, where it takes the original bytes."""
    if slot.media_type in (ARROW, ANY_BYTES):
        return
    for place, card in enumerate(cards):
        if card is not None and card.media_type != slot.media_type:
            yield Unmet(place, f"media type {slot.media_type}", card.media_type)


def undivided(inputs: Sequence[InputSlot], withholds: Sequence[int]) -> Iterator[Unmet]:
    """Every asset whose owner has rows withheld, in a slot that takes the original bytes: they hold all rows.

    ``withholds``: how many rows of a thousand, by asset in the job's order. Raises as :func:`filled`.
    """
    slots = [slot for slot, held in filled(inputs, len(withholds)) for _ in range(held)]
    for place, (slot, permille) in enumerate(zip(slots, withholds, strict=True)):
        if permille and slot.media_type != ARROW:
            yield Unmet(
                place, f"a slot that takes a table, since {permille} permille of its rows are withheld", slot.name
            )


def parse_manifest(raw: bytes) -> Manifest:
    """Read ``workload.toml``. Raises :class:`InvalidManifest`, naming the field."""
    if len(raw) > MAXIMUM_MANIFEST:
        raise InvalidManifest("size", f"{len(raw)} bytes", f"at most {MAXIMUM_MANIFEST} bytes")
    if max(line.count(b".") for line in raw.split(b"\n")) > _MOST_DOTS:
        raise InvalidManifest("text", "a line of many dots", f"at most {_MOST_DOTS} dots in a line")
    try:
        document = tomllib.loads(raw.decode("utf-8"))
        _require_flat(document)
        manifest = from_builtins(Manifest, _wire_keys(document))
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # of TOML, of UTF-8, of a number with too many digits
        raise InvalidManifest("text", str(error), "TOML in UTF-8") from error
    except MalformedDocument as error:
        raise InvalidManifest("content", error.message, "what docs/spec/workload.md lists") from error
    _require_kind(manifest)
    _require_unique("inputs", (slot.name for slot in manifest.inputs))
    _require_unique("parameters", (parameter.name for parameter in manifest.parameters))
    _require_unique("outputs", (output.name for output in manifest.outputs))
    for slot in manifest.inputs:
        if slot.minimum > slot.maximum or (slot.minimum < slot.maximum and slot is not manifest.inputs[-1]):
            raise InvalidManifest(
                f"input {slot.name}", f"{slot.minimum} to {slot.maximum}", "a range in the last slot only"
            )
    for slot in manifest.inputs:
        for field, got, expected in _wrong_needs(slot.needs, manifest.parameters) if slot.needs else ():
            raise InvalidManifest(f"needs of input {slot.name}: {field}", got, expected)
    for parameter in manifest.parameters:
        if parameter.default is not None:
            try:
                parameter.check(parameter.default)
            except ParametersRefused as error:
                raise InvalidManifest(f"default of {parameter.name}", error.got, error.expected) from error
    return manifest


def _wrong_needs(needs: Needs, parameters: Sequence[Parameter]) -> Iterator[tuple[str, object, object]]:
    """Needs that say nothing, or two things: a column picked in no way or in two, a parameter that is not there."""
    texts = {parameter.name for parameter in parameters if parameter.type == "string"}
    known = {parameter.name for parameter in parameters}
    if needs.columns and needs.kind != "table":
        yield "columns", f"given with kind {needs.kind}", "kind table"
    if needs.besides is not None and needs.besides not in texts:
        yield "besides", needs.besides, "a parameter of type string"
    for need in needs.columns:
        if (need.name is not None) + (need.parameter is not None) + need.others != 1:
            yield "columns", "a need without one of name, parameter and others", "one of them"
        if need.parameter is not None and need.parameter not in texts:
            yield "columns", need.parameter, "a parameter of type string"
        if need.when is not None and need.when.parameter not in known:
            yield "columns", need.when.parameter, "a parameter of the workload"


def _require_kind(manifest: Manifest) -> None:
    """A batch job makes outputs, a service answers."""
    session, outputs = manifest.session is not UNSET, len(manifest.outputs)
    if session != (manifest.kind == "session"):
        raise InvalidManifest("session", "given" if session else "absent", f"the other with kind {manifest.kind}")
    if session and outputs:
        raise InvalidManifest("outputs", f"{outputs} of a session", "none: it answers requests")
    if not session and not outputs:
        raise InvalidManifest("outputs", "none", "1 or more")


def _require_flat(document: dict[str, Any]) -> None:
    """Level by level, since what recursion the interpreter takes depends on the process (:mod:`.protocol.codec`)."""
    level: list[Any] = [document]
    for _ in range(_MOST_NESTING):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
    if level:
        raise _too_deep()


def _too_deep() -> InvalidManifest:
    return InvalidManifest("text", "deeper", f"tables and arrays at most {_MOST_NESTING} inside each other")


def _require_unique(field: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidManifest(field, f"{name} twice", "unique names")
        seen.add(name)


def _wire_keys(value: Any) -> Any:
    if isinstance(value, dict):
        for key in value:
            if key != key.lower():
                raise InvalidManifest("key", key, "snake_case")
        return {_camel(key): _wire_keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_wire_keys(inner) for inner in value]
    return value


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(part.capitalize() for part in rest)
