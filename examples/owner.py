"""An owner seals a file and publishes it: python examples/owner.py DATA POLICY FOLDER

DATA is encrypted on this machine. POLICY is a policy draft (`sealmarket owner policy-schema` says what it holds).
FOLDER is made: it gets the ciphertext, the sealed key shares and the data key, encrypted under SEALMARKET_PASSPHRASE.
Prints the asset's id.
"""

import os
import sys
from pathlib import Path

from sealmarket.client import Owner, Progress


def show(progress: Progress) -> None:
    """Tell people what happens."""
    print(f"{progress.state:8} {progress.about}", file=sys.stderr)


def main(data: Path, policy: Path, folder: Path) -> None:
    """Seal and publish."""
    passphrase = os.environ.get("SEALMARKET_PASSPHRASE")
    with Owner.connect() as owner:
        asset = owner.seal_and_publish(
            data, policy, folder, passphrase=passphrase, confirm_unencrypted_key=passphrase is None, on_progress=show
        )
    print(asset.asset_id)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
