"""Print the script that lets a shell complete commands, options and their values."""

from __future__ import annotations

from typing import Annotated

import typer

from sealmarket.cli._options import choice

app = typer.Typer(add_completion=False, help="Print the script that lets a shell complete commands and options.")

SHELLS = ("bash", "zsh", "fish")


@app.command("completion")
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the script that lets a shell complete commands and options.

    Bash: add the example's line to ~/.bashrc. Zsh: write it to a file _sealmarket of a folder in $fpath.
    Fish: write it to ~/.config/fish/completions/sealmarket.fish.

    Example: eval "$(sealmarket completion bash)"
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # public, and not marked so

    script = get_completion_script(
        prog_name="sealmarket", complete_var="_SEALMARKET_COMPLETE", shell=choice(shell, *SHELLS)
    )
    typer.echo(script)
