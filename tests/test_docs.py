"""What the documentation claims exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
PROSE = sorted(page for page in PAGES if page.parent.name != "adr" and page.name != "CHANGELOG.md")
SPECIFICATION = sorted((ROOT / "docs/spec").glob("*.md"))
LINE_LENGTH = 120
_FOLDERS = (
    "backend", "contracts", "deploy", "docs", "examples", "localnet", "oracle", "requirements", "scripts", "sealmarket",
    "tests", "worker", "workloads", "sealmarket_backend", "sealmarket_devices", "sealmarket_enclave",
    "sealmarket_localnet",
    "sealmarket_oracle", "sealmarket_worker",
)  # fmt: skip
_PATH = re.compile(rf"(?<![\w/.:-])(?:{'|'.join(_FOLDERS)})/[\w./*{{}},-]*")
_SOURCE = re.compile(r"`([\w.-]+/[\w./-]+\.(?:py|sol|mjs|js|toml|json|md))`")
_DOMAIN = re.compile(r"sealmarket/[a-z-]+/v?\d+")
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("docs/threat-model.md", 30),
        ("docs/spec/economics.md", 50),
        ("docs/spec/contracts.md", 10),
        ("docs/runbook.md", 30),
    ],
)
def test_every_test_that_a_page_names_exists(page: str, least: int) -> None:
    named = set(re.findall(r"`(test\w+)`", (ROOT / page).read_text()))
    assert named - _tests() == set()
    assert len(named) > least


def _tests() -> set[str]:
    """The names of all tests, in Python and in Solidity."""
    known = set()
    for path in (ROOT / "tests").rglob("*.py"):
        known |= set(re.findall(r"def (test_\w+)", path.read_text()))
    for path in (ROOT / "contracts").rglob("*.t.sol"):
        known |= set(re.findall(r"function (test\w+)", path.read_text()))
    return known


def test_each_row_of_the_economics_names_a_test_or_a_limitation() -> None:
    """Rows whose whole answer is that nobody can are the exception."""
    text = (ROOT / "docs/spec/economics.md").read_text().partition("## Consumer")[2]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what |")]
    silent = [row for row in rows if "`test" not in row and "**limitation**" not in row]
    assert len(rows) > 50
    assert silent == ["| gas of an announcement | itself | | | an epoch costs nothing to keep |"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def _named_paths(text: str) -> set[str]:
    """Paths in prose. Domain strings such as ``sealmarket/policy/1`` name hashes, not files."""
    without_links = _LINK.sub("", text)
    paths = {match.rstrip(".,/") for match in _PATH.findall(without_links)} | set(_SOURCE.findall(without_links))
    return {path for path in paths if not _DOMAIN.fullmatch(path)}


def _exists(path: str, page: Path) -> bool:
    return any(next(base.glob(path), None) is not None for base in (ROOT, page.parent))


def test_paths_are_found_in_prose_and_domain_strings_are_not() -> None:
    text = (
        "`oracle/gone.py`, scripts/test --long, `sandbox/gone.py`, `sealmarket/policy/1`, [x](docs/gone.md), a.b/docs/x"
    )
    assert _named_paths(text) == {"oracle/gone.py", "scripts/test", "sandbox/gone.py"}
    assert not _exists("oracle/gone.py", ROOT / "README.md")
    assert _exists("vectors/job.json", ROOT / "docs/spec/job.md")


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert [path for path in sorted(_named_paths(page.read_text())) if not _exists(path, page)] == []


@pytest.mark.parametrize("page", SPECIFICATION, ids=lambda page: page.name)
def test_no_line_of_the_specification_is_too_long_but_tables_and_addresses(page: Path) -> None:
    long = [line for line in page.read_text().splitlines() if len(line) > LINE_LENGTH]
    assert [line for line in long if not line.startswith("|") and "://" not in line] == []


def test_the_list_of_decisions_names_each_by_its_title() -> None:
    decisions = [path for path in (ROOT / "docs/adr").glob("0*.md") if not path.name.startswith("0000")]
    titles = {path.name: path.read_text().partition("\n")[0] for path in decisions}
    listed = dict(re.findall(r"^- \[(.+)\]\((.+)\)$", (ROOT / "docs/adr/README.md").read_text(), re.MULTILINE))
    assert {name: f"# {title}" for title, name in listed.items()} == titles


def test_the_table_of_rules_names_a_file_and_a_section_in_each_row() -> None:
    text = (ROOT / "docs/README.md").read_text().partition("## Which file holds which rule")[2]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")][1:]
    rules = [row for row in rows if not row[0].strip().startswith("**")]
    assert len(rules) > 20
    assert [row[0] for row in rules if not _PATH.search(row[1]) or not _LINK.search(row[2])] == []


_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_section_that_a_link_names_exists(page: Path) -> None:
    missing = []
    for target, anchor in _ANCHOR.findall(page.read_text()):
        named = page.parent / target if target else page
        if "://" in target or named.suffix != ".md":
            continue
        headings = _HEADING.findall(named.read_text())
        slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        missing += [f"{target}#{anchor}"] if anchor not in slugs else []
    assert missing == []
