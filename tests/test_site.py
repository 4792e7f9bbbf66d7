"""The static site: every page is in it, and a build with a dead link, a dead anchor or a forgotten page fails.

Builds run where `scripts/docs` has installed MkDocs before; the rest needs nothing of it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import docs_site
from scripts.toolchain import ROOT

CONFIG = (ROOT / "mkdocs.yml").read_text()
HERE = {Path("docs/README.md"), Path("docs/sdk.md"), Path("docs/spec/README.md"), Path("README.md")}


def test_the_navigation_names_every_page_once_and_nothing_else() -> None:
    named = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", CONFIG, re.MULTILINE)
    assert sorted(named) == [str(page) for page in docs_site.pages() if page.suffix == ".md"]


def test_readers_ask_no_other_host() -> None:
    assert "  font: false\n" in CONFIG
    assert "://" not in CONFIG


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("[the code](../sealmarket/cli)", "the code (`sealmarket/cli`)"),
        ("[`sealmarket/cli`](../sealmarket/cli)", "`sealmarket/cli`"),
        ("[x](../../outside.md)", "x (`../outside.md`)"),
        ("[spec](spec)", "[spec](spec/README.md)"),
        ("[spec](spec#spelling)", "[spec](spec/README.md#spelling)"),
        ("[sdk](sdk.md#money)", "[sdk](sdk.md#money)"),
        ("[here](#money)", "[here](#money)"),
        ("[far](https://example.org/sealmarket)", "[far](https://example.org/sealmarket)"),
        ("![image](picture.svg)", "![image](picture.svg)"),
        ("```\n[the code](../sealmarket/cli)\n```\n", "```\n[the code](../sealmarket/cli)\n```\n"),
    ],
)
def test_a_link_out_of_the_site_becomes_text_and_others_stay(text: str, becomes: str) -> None:
    assert docs_site.with_links(text, Path("docs/README.md"), HERE) == becomes


@pytest.fixture(scope="module")
def programs() -> Path:
    """Where MkDocs is."""
    found = docs_site.programs_here()
    if found is None:
        pytest.skip("MkDocs is not installed here: `scripts/docs` installs it")
    return found


@pytest.mark.parametrize(
    ("page", "text", "found"),
    [
        ("README.md", "[dead](docs/nothing.md)", "docs/nothing.md"),
        ("docs/sdk.md", "[dead](glossary.md#nothing)", "#nothing"),
        ("docs/forgotten.md", "# A page", "forgotten.md"),
    ],
)
def test_a_build_names_what_is_dead_or_forgotten(
    page: str, text: str, found: str, programs: Path, tmp_path: Path
) -> None:
    docs_site.stage(tmp_path / "source")
    with (tmp_path / "source" / page).open("a") as file:
        file.write(f"\n\n{text}\n")
    wrong = docs_site.build(programs, tmp_path / "source", tmp_path / "site")
    assert [line for line in wrong if found in line]


def test_the_documentation_builds_without_a_warning(programs: Path, tmp_path: Path) -> None:
    docs_site.stage(tmp_path / "source")
    assert docs_site.build(programs, tmp_path / "source", tmp_path / "site") == []
    assert "prefers-color-scheme" in (tmp_path / "site" / "index.html").read_text()
