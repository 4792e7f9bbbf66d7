"""An auditor verifies a job: python examples/auditor.py PROOF BLOCK_HASH [DEVELOPMENT_ROOT ...]

PROOF is the proof file of a job. BLOCK_HASH names a block that the auditor trusts from another source than the parties
of the job, an explorer or a node of its own. DEVELOPMENT_ROOT admits the virtual devices of one root: such evidence is
SIMULATED. Ends with an error unless every step is proven.
"""

import sys
from pathlib import Path

from sealmarket.client import Auditor, Bytes32


def main(proof: Path, block: str, roots: list[str]) -> None:
    """Verify, and explain each step."""
    with Auditor.connect(development_roots=map(Path, roots)) as auditor:
        report = auditor.require(proof, at=Bytes32.parse(block))
    for step in report.steps:
        print(f"{step.number}. {step.name}: {step.state.value}")
    print(f"{report.conclusion.value}{', SIMULATED' if report.simulated else ''}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
