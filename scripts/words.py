"""Keep replaced words out: names that the field has a better word for, and turns that name no actor.

Each row is a pattern and what to write instead. Code, contracts, scripts and documents are searched, tests included
for names; decision records and the change log keep the words of their day.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts.toolchain import ROOT


class Word(NamedTuple):
    """One replaced word."""

    pattern: str
    instead: str


NAMES = (
    Word(r"\bPapers(Desk)?\b", "JobDocuments, DocumentCache"),
    Word(r"\bMayNot\b|\bMustStop\b", "Defer, Stop"),
    Word(r"\bNotShown\b", "EvidenceUnavailable"),
    Word(r"\bReleaseDesk\b", "ShareCollector"),
    Word(r"\bSurroundings\b|\bWorkshop\b", "EnclaveEnvironment, HostContext"),
    Word(r"\bJobDoomed\b|\b[Dd]oomed\b", "unrunnable"),
    Word(r"\bStoryteller\b|\bChainLedger\b", "ProgressReporter, ProviderTransactions"),
    Word(r"\bTradeDesk\b|\bCancelling\b", "MarketExtension, OrderCancellation"),
    Word(r"\bEvidenceRules\b", "AppraisalPolicy"),
    Word(r"\bVerdict\b", "AppraisalResult"),
    Word(r"\bTeller\b|\bas (ground|stage|yours|solo)\b", "StoryConsole; chain, setup, own_data, baseline"),
    Word(r"\bTermsChanged\b|\bAssetPublished\b", "TermsTightened, VersionPublished"),
)
PROSE = (
    Word(r"\b[Tt]old\b", "name who says what to whom: `payload`, `reported`, `notified`"),
    Word(r"\b[Nn]obody\b", "the actor: `no party`, `no node`, `only the owner`"),
    Word(r"\b[Ww]hoever\b", "the actor: `the party that`"),
    Word(r"\b([Ss]ome|[Aa]ny|[Ee]very)body\b", "the actor: `another account`, `every party`, `no node`"),
    Word(r"'s word\b|\bsigned word\b", "statement, claim, signature"),
    Word(r"\bhand(s|ed|ing)? over\b", "passes, sends"),
    Word(r"\b[Cc]ould not be found out\b", "could not be checked"),
    Word(r"\b[Tt]o be had\b", "available"),
    Word(r"\bhand(s|ed)? (it|them) (back|over|in)\b", "returns, passes, submits"),
    Word(r"\bgives? away\b", "reveals"),
    Word(r"\bonly said\b", "findings that never refuse"),
)
SEARCHED = (".py", ".sol", ".md", ".mjs", ".toml")
KEPT = ("docs/adr/", "CHANGELOG.md", "contracts/SLITHER.md", "scripts/words.py", "tests/scripts/test_words.py")


def found(path: str, text: str) -> Iterator[str]:
    """What to mend in one file, a line each."""
    words = NAMES if path.startswith("tests/") else NAMES + PROSE
    for number, line in enumerate(text.splitlines(), start=1):
        for word in words:
            if match := re.search(word.pattern, line):
                yield f"{path}:{number}: {match[0]!r}: write {word.instead}"


def main() -> int:
    """Search every tracked file; 1 when a replaced word is there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [path for path in listed.stdout.decode().split("\0") if _searched(path)]
    lines = [line for path in paths for line in found(path, (ROOT / path).read_text(encoding="utf-8"))]
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines else 0


def _searched(path: str) -> bool:
    if path.startswith(KEPT) or not (ROOT / path).is_file():
        return False
    return path.endswith(SEARCHED) or (path.startswith("scripts/") and "." not in Path(path).name)


if __name__ == "__main__":
    sys.exit(main())
