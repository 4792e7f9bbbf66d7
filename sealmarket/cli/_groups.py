"""Options that belong together, as one dataclass: a command takes it whole, and the command line shows each field."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import Any, get_type_hints


def takes(*kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose first parameters are of these ``kinds``: their fields become its options.

    Each is a dataclass whose fields are annotated as parameters of commands are. No two share a field.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = [get_type_hints(kind, include_extras=True) for kind in kinds]
        own = list(inspect.signature(command).parameters.values())[len(kinds) :]
        types = get_type_hints(command, include_extras=True)
        grouped = [
            _parameter(field.name, found[field.name], _default(field))
            for kind, found in zip(kinds, hints, strict=True)
            for field in fields(kind)
        ]
        rest = [_parameter(one.name, types[one.name], one.default) for one in own]

        @wraps(command)
        def whole(**given: Any) -> None:
            groups = [{name: given.pop(name) for name in found} for found in hints]
            command(*(kind(**values) for kind, values in zip(kinds, groups, strict=True)), **given)

        parameters = [*grouped, *rest]
        whole.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        whole.__annotations__ = {one.name: one.annotation for one in parameters}
        del whole.__wrapped__  # or its signature would count
        return whole

    return decorate


def _default(field: Any) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
