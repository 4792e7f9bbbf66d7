"""Bugs of the kinds that audits found in markets like this one, planted one at a time: each must turn the tests red.

    python -m scripts.planted_bugs              plant them all, one after the other (long: a compilation each)
    python -m scripts.planted_bugs NAME ...     some of them
    python -m scripts.planted_bugs --list

Each is planted in a copy of the contracts, never in the tree itself. A bug that no test notices fails the run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import toolchain
from scripts.toolchain import ROOT


@dataclass(frozen=True, slots=True)
class Bug:
    """One planted bug: in ``file`` (under `contracts/`), the text that stands there once, and what it becomes."""

    name: str
    file: str
    right: str
    wrong: str


BUGS = (
    Bug(
        "sponsor-locks-consumer",
        "market/Matching.sol",
        "_take(spec.token, spec.payer,",
        "_take(spec.token, spec.consumer,",
    ),
    Bug("no-stake-locked", "market/Matching.sol", "_lockStake(spec.token, spec.provider, owners + spec.penalty);", ""),
    Bug("penalty-not-locked", "market/Matching.sol", "owners + spec.penalty)", "owners)"),
    Bug("price-above-limit", "market/Matching.sol", "price <= limit.maxPrice", "price >= 0"),
    Bug(
        "payer-unsigned",
        "market/Matching.sol",
        "if (request.payer != request.consumer) {",
        "if (request.payer == address(0)) {",
    ),
    Bug(
        "committees-mixed",
        "market/Matching.sol",
        "choice.pinned == 0 || choice.pinned == choice.highest",
        "choice.highest != 0",
    ),
    Bug("any-status", "market/JobBook.sol", "slot.status == expected", "slot.status != Status.None"),
    Bug("any-spec", "market/JobBook.sol", "commitment == slot.commitment", "slot.commitment != 0"),
    Bug(
        "late-is-fine",
        "market/JobBook.sol",
        "require(block.timestamp <= deadline",
        "require(block.timestamp <= deadline + 1 days",
    ),
    Bug(
        "windows-overlap",
        "market/JobBook.sol",
        "require(block.timestamp > deadline",
        "require(block.timestamp >= deadline",
    ),
    Bug("one-signature-twice", "market/JobBook.sol", "before < bit", "before <= type(uint256).max"),
    Bug("removed-member-signs", "market/JobBook.sol", "found.removed & bit == 0", "found.members != 0"),
    Bug(
        "any-node",
        "market/JobBook.sol",
        "require(got == expected, IJobs.WrongNode",
        "require(got != address(0), IJobs.WrongNode",
    ),
    Bug("stake-kept", "market/JobBook.sol", "payout.stakeReturned = uint128(", "payout.stakeReturned = 0 * uint128("),
    Bug("fork-replay", "market/MarketState.sol", "block.chainid == _chainId ?", "block.chainid != 0 ?"),
    Bug("below-quorum", "market/Verdicts.sol", "? book.threshold() :", "? book.threshold() - 1 :"),
    Bug("old-decision", "market/Verdicts.sol", "require(block.timestamp <= core.expiry", "require(core.expiry != 0"),
    Bug("any-grade", "market/Verdicts.sol", "require(core.grade >= minGrade", "require(core.grade >= 0"),
    Bug(
        "terms-ignored",
        "market/Verdicts.sol",
        "if (!_registry.consume(spec.assets)) {",
        "_registry.consume(spec.assets); if (false) {",
    ),
    Bug("refusal-keeps-reservation", "market/Verdicts.sol", "_registry.release(spec.assets);", ""),
    Bug("penalty-forgiven", "market/Verdicts.sol", "payout.burned = providersFault ? spec.penalty : 0;", ""),
    Bug(
        "foreign-evidence",
        "market/Verdicts.sol",
        "_checkSignature(spec.provider, _digest(TypedData.quoteHash(jobId, evidenceHash)), signature);",
        "",
    ),
    Bug(
        "owners-unpaid-by-silence", "market/Closing.sol", "payout.ownersPaid = _payOwners(spec, type(uint256).max);", ""
    ),
    Bug(
        "cancel-by-anyone",
        "market/Closing.sol",
        "msg.sender == spec.consumer || msg.sender == spec.payer",
        "msg.sender != address(0)",
    ),
    Bug("closing-keeps-reservation", "market/Closing.sol", "_registry.release(spec.assets);", ""),
    Bug("any-enclave", "market/Settling.sol", "require(got == enclave.enclaveSigner", "require(got != address(0)"),
    Bug("units-unbounded", "market/Settling.sol", "require(got <= most", "require(got <= type(uint32).max"),
    Bug("failed-input-paid", "market/Settling.sol", "_payOwners(spec, failed)", "_payOwners(spec, type(uint256).max)"),
    Bug(
        "acknowledged-by-anyone",
        "market/Settling.sol",
        "if (msg.sender != spec.consumer) _check",
        "if (msg.sender == address(0)) _check",
    ),
    Bug("free-challenge", "market/Challenges.sol", "_take(spec.token, msg.sender, bond);", ""),
    Bug("fees-claimed-twice", "market/Ledger.sol", "_books[epoch][token] = book;", ""),
    Bug("charged-transfer", "market/Ledger.sol", "require(received == amount", "require(received != 0"),
    Bug("no-unbonding", "market/Ledger.sol", "block.timestamp >= leaving.readyAt", "leaving.readyAt != 0"),
    Bug("volume-uncounted", "market/OrderBook.sol", "[orderHash] = used + 1;", "[orderHash] = used;"),
    Bug("generation-ignored", "market/OrderBook.sol", "require(got == generation", "require(got >= 0"),
    Bug("uses-unbounded", "AssetRegistry.sol", "taken < version.maxUses &&", ""),
    Bug("budget-unspent", "AssetRegistry.sol", "version.budgetSpent += epsilon;", ""),
    Bug("anyone-owns", "AssetRegistry.sol", "require(own.owner == msg.sender", "require(own.owner != address(0)"),
    Bug("superset-root-unseen", "AssetRegistry.sol", "version.termsVersion == use.termsVersion && ", ""),
    Bug("anyone-meters", "AssetRegistry.sol", "require(msg.sender == market", "require(msg.sender != address(0)"),
    Bug("loosened-expiry", "AssetRegistry.sol", "terms.expiry <= current.expiry", "terms.expiry != 0"),
    Bug("framed-node", "OracleCommittee.sol", "TypedData.hash(first) != TypedData.hash(second)", "first.expiry != 0"),
    Bug("pause-by-anyone", "Market.sol", "require(msg.sender == guardian", "require(msg.sender != address(0)"),
)
_COMPILATION_SECONDS = 1800


def planted(bug: Bug, text: str) -> str:
    """The file's text with the bug. Raises ValueError unless what is right stands there exactly once."""
    found = text.count(bug.right)
    if found != 1:
        raise ValueError(f"{bug.name}: {bug.right!r} stands {found} times in contracts/{bug.file}, expected once")
    return text.replace(bug.right, bug.wrong)


def catches(bug: Bug, folder: Path) -> bool:
    """Whether the Solidity tests notice; ``folder`` is empty and becomes the copy."""
    shutil.copytree(ROOT / "contracts", folder / "contracts")
    for name in ("hardhat.config.js", "package.json"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    file = folder / "contracts" / bug.file
    file.write_text(planted(bug, file.read_text()))
    done = subprocess.run(
        toolchain.hardhat_command("test", "solidity"),
        cwd=folder,
        env=toolchain.node_environment(),
        capture_output=True,
        text=True,
        timeout=_COMPILATION_SECONDS,
        check=False,
    )
    if "Compilation failed" in done.stdout + done.stderr:
        raise ValueError(f"{bug.name} does not compile:\n{done.stdout}{done.stderr}")
    return done.returncode != 0 and "failing" in done.stdout


def main(arguments: Sequence[str]) -> int:
    """Plant and test; 1 when one was not noticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all when none is named")
    parser.add_argument("--list", action="store_true", help="say what there is")
    chosen = parser.parse_args(arguments)
    bugs = [bug for bug in BUGS if not chosen.names or bug.name in chosen.names]
    if chosen.list:
        print("\n".join(f"{bug.name:28} contracts/{bug.file}" for bug in bugs))
        return 0
    missed = []
    for bug in bugs:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="sealmarket-bug-") as folder:
            caught = catches(bug, Path(folder))
        print(f"{'caught' if caught else 'MISSED'}  {bug.name} ({time.monotonic() - started:.0f} s)", flush=True)
        if not caught:
            missed.append(bug.name)
    print(f"{len(bugs) - len(missed)} of {len(bugs)} planted bugs were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
