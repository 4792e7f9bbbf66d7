"""``sealmarket``: finds the command groups and loads only the one that is called.

A group is a module of this package that holds ``app`` (a ``typer.Typer``), or an application's entry point
in the group ``sealmarket.cli``. The first line of a module's docstring is its help. A module whose app has
one command of the module's own name is that command (``sealmarket verify RECEIPT``), not a group.

``--profile`` names the file whose market, chain and account commands use by default (``sealmarket init``). A group of a
distribution that is not installed says which installation brings it.

Errors that Sealmarket raises on purpose are printed in one line with their remedy, and end with exit code 1 or their
own ``exit_code``.
"""

from __future__ import annotations

import ast
import errno
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from sealmarket.cli._output import all_is_written, write_anywhere
from sealmarket.cli._plain import harmless
from sealmarket_enclave.protocol.errors import SealmarketError

ENTRY_POINTS = "sealmarket.cli"
OPTIONAL = ("backend", "localnet", "oracle", "worker")
"""Groups of other distributions; the extras of ``sealmarket`` have their names."""
_FOLDER = Path(__file__).parent
_STEPS = {
    errno.ENOENT: "check the name, and the folder that you are in",
    errno.EEXIST: "name another place: what is there is not overwritten",
    errno.EACCES: "check whose file it is, and its mode",
    errno.EISDIR: "name a file: this is a folder",
    errno.ENOTDIR: "name a folder: this is a file",
    errno.ENOSPC: "make room on the disk, and repeat the command",
}
"""What to do about a file that the system refused."""


class NotInstalled(SealmarketError):
    """The group belongs to a distribution that this environment lacks."""

    exit_code = 2

    def __init__(self, group: str) -> None:
        super().__init__(
            f"`sealmarket {group}` is not installed here", remedy=f"run `pip install 'sealmarket[{group}]'`"
        )
        self.group = group


def _built_in() -> dict[str, Path]:
    return {
        path.stem.replace("_", "-"): path
        for path in sorted(_FOLDER.glob("*.py"))
        if path.stem != "main" and not path.stem.startswith("_")
    }


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _summary(name: str) -> str:
    """A group's help without importing it."""
    if path := _built_in().get(name):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return docstring.partition("\n")[0].strip("`")
    point = _installed().get(name)
    if point is None:
        return f"Not installed here; `sealmarket {name}` says which installation brings it."
    return str(point.dist.metadata["Summary"]) if point.dist else ""


def _load(name: str) -> Any:
    """The command or group of this name, imported now."""
    if path := _built_in().get(name):
        app = import_module(f"sealmarket.cli.{path.stem}").app
    elif point := _installed().get(name):
        app = point.load()
    else:
        raise NotInstalled(name)
    commands = app.registered_commands
    own = [c for c in commands if (c.name or (c.callback.__name__ if c.callback else "")).strip("_") == name]
    single = len(commands) == 1 and own and not app.registered_groups and app.registered_callback is None
    command = typer.main.get_command(app) if single else typer.main.get_group(app)
    command.name = name
    return command


class _Groups(TyperGroup):
    """Names every group, imports one."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return sorted({*_built_in(), *_installed(), *OPTIONAL})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in for help texts; :meth:`resolve_command` loads the real one."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperGroup(name=cmd_name, help=_summary(cmd_name), short_help=_summary(cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            command = _load(name)
            ctx.default_map = {name: _defaults(command, ctx.params.get("profile"))}
        return name, command, rest


def _defaults(command: Any, profile: str | None) -> Any:
    return _profiles().Defaults(command, profile)


def _profiles() -> Any:
    """What profiles do, imported as commands are: applications that run by this module need no client for it."""
    return import_module("sealmarket.cli._profile")


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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", envvar="SEALMARKET_PROFILE", metavar="NAME", help="Whose market and account (`default`)."
        ),
    ] = None,
) -> None:
    """Sealmarket: sell the use of data without showing it."""


def main(arguments: list[str] | None = None) -> None:
    """Run ``sealmarket`` and exit: 0 done, 1 refused or failed, 2 wrongly called."""
    run(app, arguments)


def run(commands: Callable[..., Any], arguments: list[str] | None = None, *, name: str = "sealmarket") -> None:
    """Run commands as :func:`main` does, for applications that are started without ``sealmarket``."""
    # AMD's certificates have serial number 0, which cryptography calls deprecated on each read.
    warnings.filterwarnings("ignore", message="Parsed a serial number which wasn't positive")
    write_anywhere()
    _prepare_completion(name)
    try:
        # What one call pins holds for that call alone.
        copy_context().run(commands, arguments if arguments is not None else sys.argv[1:], prog_name=name)
    except SystemExit as ended:
        _explain_missing(ended)
        if all_is_written() and not isinstance(ended.__context__, OSError):
            raise
        sys.exit(_code_behind(ended))
    except SealmarketError as error:
        _end(error.message, error.remedy, code=_code_behind(error))
    except OSError as error:
        # The disk, the output or the network failed: not a defect to show whole.
        why = error.strerror or str(error) or type(error).__name__
        said = f"{error.filename}: {why}" if error.filename is not None else f"reading or writing failed: {why}"
        named = error.filename is not None
        _end(said, _STEPS.get(error.errno or 0, "") if named else "", code=_code_behind(error))


def _prepare_completion(name: str) -> None:
    """Know the shells, where one of them asks for completions."""
    if f"_{name.upper()}_COMPLETE" in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]  # public, and not marked so

        completion_init()


def _explain_missing(ended: SystemExit) -> None:
    """Behind the message that an option is missing: how it never has to be given again."""
    missing = getattr(ended.__context__, "param", None)
    if type(ended.__context__).__name__ == "MissingParameter" and _profiles().OPTIONS & set(
        getattr(missing, "opts", ())
    ):
        with suppress(OSError):
            typer.echo("  what to do: give the option, or keep it in a profile: `sealmarket init --help`", err=True)


def _end(message: str, remedy: str, *, code: int = 1) -> NoReturn:
    """End with a line for people, if the output can be written."""
    with suppress(OSError):
        typer.echo(f"error: {harmless(message)}", err=True)
        if remedy:
            typer.echo(f"  what to do: {harmless(remedy)}", err=True)
    all_is_written()
    sys.exit(code)


def _code_behind(error: BaseException) -> int:
    """A wrong call stays one, also when its message cannot be written."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(code := getattr(found, "exit_code", None), int):
            return code
        found = found.__context__
    return 1


if __name__ == "__main__":
    main()
