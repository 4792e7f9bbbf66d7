"""Small workloads of one file for the tests, locked without a network."""

from __future__ import annotations

import textwrap
from pathlib import Path

from scripts.toolchain import ROOT
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.templates import create
from sealmarket_enclave.workload.bundle import Bundle

ROWS = b"age,income\n30,1.5\n40,2.5\n"
_MANIFEST = (ROOT / "sealmarket/workloads/templates/python/workload.toml").read_text().replace('"python"', '"mine"')
SERVES = (
    _MANIFEST[_MANIFEST.index("schema = 1") : _MANIFEST.index("[limits]")],
    'schema = 1\nkind = "session"\n'
    + _MANIFEST[_MANIFEST.index("name =") : _MANIFEST.index("# Nothing else can leave")]
    + "[session]\nprocesses = 1\nrequest_seconds = 60\n\n",
)
"""What of the plain template's manifest becomes what, for a workload that serves."""


def project(folder: Path, code: str | None = None, manifest: tuple[str, str] = ("", "")) -> Path:
    """The plain template in ``folder/mine``, with other code or a piece of its manifest replaced, and locked."""
    made = folder / "mine"
    create(made, "python")
    if code is not None:
        (made / "code/job.py").write_text(textwrap.dedent(code))
    text = (made / "workload.toml").read_text()
    (made / "workload.toml").write_text(text.replace(*manifest))
    (folder / "wheels").mkdir()
    lock_environment(made, folder / "wheels")
    return made


def bundle_of_code(folder: Path, code: str, manifest: tuple[str, str] = ("", "")) -> Bundle:
    """The bundle of such a project."""
    return read_bundle(project(folder, code, manifest))
