"""Write `requirements/*.txt`: universal locks with hashes, and no address of any index."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from scripts.toolchain import DISTRIBUTIONS, ROOT

OURS = (
    "sealmarket",
    "sealmarket-backend",
    "sealmarket-devices",
    "sealmarket-enclave",
    "sealmarket-oracle",
    "sealmarket-worker",
)
ROLES = {"backend": "backend", "oracle": "oracle", "worker": "worker/host"}
"""The servers that have a lock, and a container, of their own: the folder of each distribution."""
LOCKS: dict[str, tuple[str, ...]] = {
    # Our own distributions lie in this repository: they are resolved from it and left out of the lock.
    "requirements/dev.txt": (
        *(f"{folder}/pyproject.toml".removeprefix("./") for folder in DISTRIBUTIONS),
        *("--group", "dev"),
        *(word for name in OURS for word in ("--no-emit-package", name)),
    ),
    "requirements/node.txt": ("requirements/node.in",),
    "requirements/docs.txt": ("requirements/docs.in",),
    "requirements/symbolic.txt": ("requirements/symbolic.in",),
    "requirements/fuzz.txt": ("requirements/fuzz.in",),
    "requirements/openai.txt": ("requirements/openai.in",),
    "requirements/bootstrap.txt": ("requirements/bootstrap.in",),
    "requirements/build.txt": ("requirements/build.in", "--constraint", "requirements/dev.txt"),
    # What one server needs, at the versions that everything was tested with.
    **{
        f"requirements/{role}.txt": (
            *(f"{folder}/pyproject.toml", "pyproject.toml", "worker/enclave/pyproject.toml"),
            *("--constraint", "requirements/dev.txt", "--no-annotate"),
            *(word for name in OURS for word in ("--no-emit-package", name)),
        )
        for role, folder in ROLES.items()
    },
}
COMPILE = (
    *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "scripts/lock"),
)


def main(arguments: list[str]) -> int:
    """Resolve every lock; further arguments go to `uv pip compile`."""
    parser = argparse.ArgumentParser(
        prog="scripts/lock",
        usage="scripts/lock [--upgrade] [option of `uv pip compile` ...]",
        description="Resolve what is installed into requirements/*.txt, with hashes; what is locked stays locked.",
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions instead")
    options, arguments = parser.parse_known_args(arguments)
    arguments = [*(["--upgrade"] if options.upgrade else []), *arguments]
    uv = Path(sys.executable).with_name("uv")
    for output, inputs in LOCKS.items():
        command = [str(uv), *COMPILE[1:], *inputs, "--output-file", output, *arguments]
        subprocess.run(command, cwd=ROOT, check=True)
        print(f"wrote {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
