"""``sealmarket``: finds the command groups and loads only the one that is called.

A group is a module of this package that holds ``app`` (a ``typer.Typer``), or an application's entry point
in the group ``sealmarket.cli``. The first line of a module's docstring is its help. A module whose app has
one command of the module's own name is that command (``sealmarket verify RECEIPT``), not a group.

Errors that Sealmarket raises on purpose are printed in one line with their remedy, and end with exit code 1 or their
own ``exit_code``.
"""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from sealmarket.cli._plain import plain
from sealmarket_enclave.protocol.errors import SealmarketError

ENTRY_POINTS = "sealmarket.cli"
_FOLDER = Path(__file__).parent


def _built_in() -> dict[str, Path]:
    return {
        path.stem.replace("_", "-"): path
        for path in sorted(_FOLDER.glob("*.py"))
        if path.stem != "main" and not path.stem.startswith("_")
    }


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _summary(name: str) -> str:
    """A group's help without importing it."""
    if path := _built_in().get(name):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return docstring.partition("\n")[0].strip("`")
    point = _installed()[name]
    return str(point.dist.metadata["Summary"]) if point.dist else ""


def _load(name: str) -> Any:
    """The command or group of this name, imported now."""
    if path := _built_in().get(name):
        app = import_module(f"sealmarket.cli.{path.stem}").app
    else:
        app = _installed()[name].load()
    commands = app.registered_commands
    own = [c for c in commands if (c.name or (c.callback.__name__ if c.callback else "")).strip("_") == name]
    single = len(commands) == 1 and own and not app.registered_groups and app.registered_callback is None
    command = typer.main.get_command(app) if single else typer.main.get_group(app)
    command.name = name
    return command


class _Groups(TyperGroup):
    """Names every group, imports one."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return sorted({*_built_in(), *_installed()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in for help texts; :meth:`resolve_command` loads the real one."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperGroup(name=cmd_name, help=_summary(cmd_name), short_help=_summary(cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name is not None and command is not None else command, rest


app = typer.Typer(
    cls=_Groups,
    no_args_is_help=True,
    add_completion=False,
    help="Sealmarket: sell the use of data without showing it.",
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("sealmarket"))
        raise typer.Exit


@app.callback(invoke_without_command=False)
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Sealmarket: sell the use of data without showing it."""


def main(arguments: list[str] | None = None) -> None:
    """Run ``sealmarket`` and exit: 0 done, 1 refused or failed, 2 wrongly called."""
    run(app, arguments)


def run(commands: Callable[..., Any], arguments: list[str] | None = None, *, name: str = "sealmarket") -> None:
    """Run commands as :func:`main` does, for applications that are started without ``sealmarket``."""
    # AMD's certificates have serial number 0, which cryptography calls deprecated on each read.
    warnings.filterwarnings("ignore", message="Parsed a serial number which wasn't positive")
    try:
        commands(arguments if arguments is not None else sys.argv[1:], prog_name=name)
    except SystemExit as ended:
        if _all_is_written() and not isinstance(ended.__context__, OSError):
            raise
        sys.exit(_code_behind(ended))
    except SealmarketError as error:
        _end(error.message, error.remedy, code=_code_behind(error))
    except OSError as error:
        # The disk, the output or the network failed: not a defect to show whole.
        why = error.strerror or str(error) or type(error).__name__
        said = f"{error.filename}: {why}" if error.filename is not None else f"reading or writing failed: {why}"
        _end(said, "", code=_code_behind(error))


def _end(message: str, remedy: str, *, code: int = 1) -> NoReturn:
    """End with a line for people, if the output can be written."""
    with suppress(OSError):
        typer.echo(f"error: {plain(message)}", err=True)
        if remedy:
            typer.echo(f"  what to do: {plain(remedy)}", err=True)
    _all_is_written()
    sys.exit(code)


def _code_behind(error: BaseException) -> int:
    """A wrong call stays one, also when its message cannot be written."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(code := getattr(found, "exit_code", None), int):
            return code
        found = found.__context__
    return 1


def _all_is_written() -> bool:
    """Write the buffers out; what cannot be written is dropped, or Python would report it once more when it ends."""
    done = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            done = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return done


if __name__ == "__main__":
    main()
