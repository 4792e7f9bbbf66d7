"""Options that belong together, as one dataclass: a command takes it whole, and the command line shows each field."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


def takes(kind: type[T]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose first parameter is a ``kind``: its fields become options of the command.

    ``kind`` is a dataclass whose fields are annotated as parameters of commands are.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(kind, include_extras=True)
        own = list(inspect.signature(command).parameters.values())[1:]
        types = get_type_hints(command, include_extras=True)
        grouped = [_parameter(field.name, hints[field.name], _default(field)) for field in fields(kind)]  # type: ignore[arg-type]
        rest = [_parameter(one.name, types[one.name], one.default) for one in own]

        @wraps(command)
        def whole(**given: Any) -> None:
            values = {name: given.pop(name) for name in hints}
            command(kind(**values), **given)

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
