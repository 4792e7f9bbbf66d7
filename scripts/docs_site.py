"""The documentation as a static site, in `build/site`: every page of the repository, as it stands there.

`mkdocs.yml` names the pages and their order. They are copied into `build/site-source` at their places in the
repository, so that links between them hold; a link to anything else (source, a folder) becomes the path as text, since
the site carries none of it. The build is strict: a dead link, a dead anchor or a page outside the navigation ends it.
MkDocs is installed by hash into `build/site-tools`, apart from everything else.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.isolated import install, is_installed
from scripts.toolchain import BUILD, ROOT

LOCK = ROOT / "requirements" / "docs.txt"
TOOLS, SOURCE, SITE = BUILD / "site-tools", BUILD / "site-source", BUILD / "site"
PATTERNS = ("*.md", "docs/**/*.md", "docs/*.svg", "examples/README.md")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = "```"


def pages(root: Path = ROOT) -> list[Path]:
    """What the site is made of, relative to the repository."""
    return sorted(path.relative_to(root) for pattern in PATTERNS for path in root.glob(pattern))


def stage(target: Path, root: Path = ROOT) -> None:
    """Copy the pages, with the links that lead out of them turned into text."""
    shutil.rmtree(target, ignore_errors=True)
    known = set(pages(root))
    for page in known:
        (target / page).parent.mkdir(parents=True, exist_ok=True)
        text = (root / page).read_text()
        (target / page).write_text(with_links(text, page, known) if page.suffix == ".md" else text)


def with_links(text: str, page: Path, known: set[Path]) -> str:
    """A page whose links lead to pages of the site, or to addresses; code is left as it is."""
    lines, inside = [], False
    for line in text.splitlines(keepends=True):
        inside ^= line.lstrip().startswith(_FENCE)
        lines.append(line if inside else _LINK.sub(_replacement(page, known), line))
    return "".join(lines)


def _replacement(page: Path, known: set[Path]) -> Callable[[re.Match[str]], str]:
    def replaced(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not path:
            return link[0]
        place = Path(os.path.normpath(page.parent / path))
        if place in known:
            return link[0]
        if place / "README.md" in known:
            return f"[{text}]({path.rstrip('/')}/README.md{'#' + anchor if anchor else ''})"
        return text if str(place) in text else f"{text} (`{place}`)"

    return replaced


def build(programs: Path, source: Path, site: Path) -> list[str]:
    """Build the staged pages; what is wrong with them, or nothing."""
    config = source.with_suffix(".yml")
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {source}\nsite_dir: {site}\n")
    # `--quiet` would silence the warnings that `--strict` counts.
    command = [str(programs / "mkdocs"), "build", "--strict", "--config-file", str(config)]
    # Material announces what other projects plan, on each build.
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    found = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("INFO")]
    return found if done.returncode else []


def programs_here() -> Path | None:
    """Where MkDocs is, if it is installed here as the lock says."""
    return TOOLS / "bin" if is_installed(LOCK, TOOLS) else None


def main(arguments: Sequence[str]) -> int:
    """Build, and say where the site lies."""
    parser = argparse.ArgumentParser(prog="scripts/docs", description=(__doc__ or "").partition("\n")[0])
    parser.parse_args(arguments)
    stage(SOURCE)
    wrong = build(install(LOCK, TOOLS), SOURCE, SITE)
    print("\n".join(wrong) if wrong else f"open {SITE / 'index.html'}, or serve the folder")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
