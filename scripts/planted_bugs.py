"""Bugs of the kinds that audits found in markets like this one, planted one at a time: each must turn the tests red.

    python -m scripts.planted_bugs              plant them all, one after the other
    python -m scripts.planted_bugs NAME ...     some of them
    python -m scripts.planted_bugs --list
    python -m scripts.planted_bugs NAME ... --tests Sessions.t.sol,Sessions.invariant.t.sol

All are written into one copy of the contracts, each behind a switch, so that one compilation serves them all; the
address of the block's producer says which of them is on. First the copy is run with none on, and must pass. A bug
that no test notices fails the run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import toolchain
from scripts.toolchain import ROOT


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug: in ``file`` (under `contracts/`), a whole expression or statement that stands there once, and what
    replaces it while the bug is planted (nothing, for a statement that is left out)."""

    name: str
    file: str
    right: str
    wrong: str = ""


BUGS = (
    Bug(
        "sponsor-locks-consumer",
        "market/Matching.sol",
        "_take(spec.token, spec.payer, owners + work + feesHeld + hold);",
        "_take(spec.token, spec.consumer, owners + work + feesHeld + hold);",
    ),
    Bug(
        "hold-fee-not-locked",
        "market/Matching.sol",
        "_take(spec.token, spec.payer, owners + work + feesHeld + hold);",
        "_take(spec.token, spec.payer, owners + work + feesHeld);",
    ),
    Bug("no-stake-locked", "market/Matching.sol", "_lockStake(spec.token, spec.provider, owners + penalty);"),
    Bug(
        "penalty-not-locked",
        "market/Matching.sol",
        "_lockStake(spec.token, spec.provider, owners + penalty);",
        "_lockStake(spec.token, spec.provider, owners);",
    ),
    *(
        Bug(f"{name}-unchecked", "market/Matching.sol", f"_checkBounds({check});")
        for name, check in {
            "quote-window": '"quoteWindow", spec.quoteWindow, _MIN_QUOTE, MAX_WINDOW',
            "decide-window": '"decideWindow", spec.decideWindow, _MIN_DECIDE, MAX_WINDOW',
            "settle-window": '"settleWindow", spec.settleWindow, least > _MIN_SETTLE ? least : _MIN_SETTLE, MAX_WINDOW',
            "challenge-window": '"challengeWindow", spec.challengeWindow, _MIN_CHALLENGE, MAX_WINDOW',
            "shortest-quote": '"minQuoteWindow", spec.quoteWindow, compute.minQuoteWindow, MAX_WINDOW',
            "shortest-settle": '"minSettleWindow", spec.settleWindow, compute.minSettleWindow, MAX_WINDOW',
            "hold-of-stake": '"maxHold", _longestJob(spec), 0, compute.maxHold',
            "hold-of-use": '"maxHold of terms", _longestUse(spec), 0, reserved.maxHold',
            "run-seconds": '"maxRunSeconds", spec.runSeconds, 0, compute.maxRunSeconds',
            "read-seconds": '"maxReadSeconds", spec.readSeconds, 0, compute.maxReadSeconds',
            "validate-seconds": '"maxValidateSeconds", spec.validateSeconds, 0, compute.maxValidateSeconds',
            "decoded-bytes": '"maxDecodedBytes", spec.decodedBytes, 0, compute.maxDecodedBytes',
            "least-penalty": '"penalty", penalty, request.minPenalty, type(uint128).max',
            "penalty-for-fees": ('"penalty for fees", penalty, 2 * feesHeld + book.members() * fee, type(uint128).max'),
            "most-stake": '"maxStake", owners + penalty, 0, compute.maxStake',
            "timeout-limit": '"timeoutLimit", spec.timeoutLimit, atTimeout, type(uint128).max',
            "kind": '"kind", spec.kind, 1, type(uint8).max',
        }.items()
    ),
    Bug(
        "settle-window-off-by-one",
        "market/Matching.sol",
        "uint256(spec.runSeconds) + spec.readSeconds + spec.validateSeconds + _settleOverhead()",
        "uint256(spec.runSeconds) + spec.readSeconds + spec.validateSeconds + _settleOverhead() - 1",
    ),
    Bug(
        "held-without-the-report",
        "market/Matching.sol",
        "uint256(spec.quoteWindow) + 2 * uint256(spec.decideWindow) + 2 * uint256(spec.settleWindow)",
        "uint256(spec.quoteWindow) + spec.decideWindow + spec.settleWindow",
    ),
    Bug("owners-share-of-a-timeout", "market/Matching.sol", "reserved.timeoutShare > demand.timeoutShare", "false"),
    Bug("kinds-mixed", "market/Matching.sol", "compute.kind != spec.kind", "false"),
    Bug(
        "any-capability",
        "market/Matching.sol",
        "!Counterparts.includes(request.capabilities, spec.capabilityHash, deal.capabilityProof)",
        "false",
    ),
    Bug("asset-twice", "market/Matching.sol", "spec.assets[j].assetId == assetId", "false"),
    Bug("above-standing-price", "market/Matching.sol", "price > reserved.price", "false"),
    Bug(
        "sponsor-cannot-cancel",
        "market/Matching.sol",
        "_checkGeneration(token, spec.payer, uint64(salt >> 224));",
    ),
    Bug("price-above-limit", "market/Matching.sol", "price > most", "false"),
    Bug("payer-unsigned", "market/Matching.sol", "spec.payer != spec.consumer", "spec.payer == address(0)"),
    Bug(
        "committees-mixed",
        "market/Matching.sol",
        "reserved.epoch != spec.epoch",
        "reserved.epoch == 0",
    ),
    Bug("transfer-for-nothing", "market/Ledger.sol", "_credit(token, to, amount);", "_credit(token, to, amount + 1);"),
    Bug("transfer-without-answer", "market/Ledger.sol", "answer != ILedgerReceiver.onLedgerTransfer.selector", "false"),
    Bug("service-of-any-job", "sessions/Services.sol", "got != commitment", "false"),
    Bug("service-of-a-batch-job", "sessions/Services.sol", "spec.kind != KIND", "false"),
    Bug(
        "lease-not-covered",
        "sessions/Services.sol",
        '_checkBound("price of a lease", uses[i].price, uint256(terms.lease) * royalty.perUnit, type(uint128).max);',
    ),
    Bug(
        "close-before-the-enclave-knows",
        "sessions/Services.sol",
        '_checkBound("redemptionWindow", terms.redemptionWindow, shortest, MAX_REDEMPTION);',
    ),
    Bug("bond-taken-early", "sessions/Services.sol", "over ? 0 : _leastBond(service)", "over ? 0 : 0"),
    Bug("bond-of-anyone", "sessions/Services.sol", "msg.sender != service.provider", "false"),
    Bug("royalties-again", "sessions/Services.sol", "service.accrued = accrued.allCredited();"),
    Bug("royalties-by-other-terms", "sessions/SessionState.sol", "got != spec.extensionHash", "false"),
    Bug("tabs-of-strangers", "sessions/Tabs.sol", "msg.sender != address(market)", "false"),
    Bug("tab-returns-twice", "sessions/Tabs.sol", "_tabs[jobId][account].word = tab.returned();"),
    Bug("tab-returns-all", "sessions/Tabs.sol", "tab.limit() - tab.paid()", "tab.limit()"),
    Bug("tab-returns-at-once", "sessions/Tabs.sol", "block.timestamp < opensAt", "false"),
    Bug(
        "tab-outside-the-set",
        "sessions/Tabs.sol",
        "if (!admitted) revert AccountNotAllowed(use.assetId, opening.account);",
    ),
    Bug("tab-without-bond", "sessions/Tabs.sol", "bond < least", "false"),
    Bug("tab-in-any-token", "sessions/Tabs.sol", "token != service.token", "false"),
    Bug("statement-of-anyone", "sessions/Redeeming.sol", "signer != service.enclaveSigner", "signer == address(0)"),
    Bug("statement-too-late", "sessions/Redeeming.sol", "block.timestamp > _lastSecond(service)", "false"),
    Bug(
        "royalties-of-the-whole",
        "sessions/Redeeming.sol",
        "uint256(total - redeemed) * service.royalties",
        "uint256(total) * service.royalties",
    ),
    Bug("royalties-unpaid", "sessions/Redeeming.sol", "bond - royalties", "bond"),
    Bug(
        "older-statement-counts-down",
        "sessions/Redeeming.sol",
        "if (total > redeemed) redeemed = total;",
        "redeemed = total;",
    ),
    Bug("paid-above-the-limit", "libraries/TabWords.sol", "Math.min(owed, tab.limit())", "owed"),
    Bug("limit-that-runs-over", "libraries/TabWords.sol", "sum > AMOUNT", "false"),
    Bug("paid-again", "sessions/Redeeming.sol", "slot.word = tab.paying(due);", "slot.word = tab;"),
    Bug("closed-tab-pays", "sessions/Redeeming.sol", "tab.isClosed(block.timestamp)", "false"),
    Bug("tab-closed-before-it-opened", "sessions/Redeeming.sol", "tab.limit() == 0", "false"),
    Bug(
        "tab-for-a-revoked-asset",
        "AssetRegistry.sol",
        "rules.access == Access.Revoked || block.timestamp > rules.expiry",
        "block.timestamp > rules.expiry",
    ),
    Bug(
        "tab-under-expired-terms",
        "AssetRegistry.sol",
        "rules.access == Access.Revoked || block.timestamp > rules.expiry",
        "rules.access == Access.Revoked",
    ),
    Bug("tab-for-any-purpose", "AssetRegistry.sol", "purpose & ~rules.purposes == 0", "true"),
    Bug("opening-read-elsewhere", "sessions/Tabs.sol", "offset != 32", "false"),
    Bug("returned-tab-pays", "libraries/TabWords.sol", "timestamp >= at || at == TIME", "timestamp >= at"),
    Bug("renewal-paid-again", "sessions/Renewals.sol", "blockNumber < least", "false"),
    Bug("renewals-at-once", "sessions/Renewals.sol", "block.timestamp < payableFrom", "false"),
    Bug("renewal-by-one", "sessions/Renewals.sol", "signatures.length != found.threshold", "signatures.length == 0"),
    Bug("renewal-of-others", "sessions/Renewals.sol", "got != found.membersHash", "false"),
    Bug(
        "close-unasked",
        "sessions/Renewals.sol",
        "state.closing && requested != 0 && requested <= renewal.blockNumber",
        "state.closing",
    ),
    Bug("any-status", "market/JobBook.sol", "status != expected", "status == Status.None"),
    Bug("any-opening", "market/JobBook.sol", "commitment != slot.commitment()", "slot.commitment() == 0"),
    Bug(
        "quote-by-another",
        "libraries/JobSlots.sol",
        "keccak256(abi.encode(jobId, provider, decideWindow, bargainHash, stage))",
        "keccak256(abi.encode(jobId, decideWindow, bargainHash, stage))",
    ),
    Bug("late-is-fine", "market/JobBook.sol", "block.timestamp > deadline", "block.timestamp > deadline + 1 days"),
    Bug("windows-overlap", "market/JobBook.sol", "block.timestamp <= deadline", "block.timestamp < deadline"),
    Bug("one-signature-twice", "libraries/Quorums.sol", "before >= bit", "false"),
    Bug("removed-member-signs", "libraries/Quorums.sol", "removed & bit != 0", "false"),
    Bug("any-node", "libraries/Quorums.sol", "got != expected", "got == address(0)"),
    Bug("any-grade", "market/JobBook.sol", "if (got < least) revert IJobs.GradeTooLow(got, least);"),
    Bug("fork-replay", "market/MarketState.sol", "block.chainid == _chainId", "block.chainid != 0"),
    Bug(
        "stake-kept",
        "market/Endings.sol",
        "_releaseProvider(token, key.provider, payout.paid, payout.stakeReturned, FaultTable.tallyOf(fault));",
        "_releaseProvider(token, key.provider, payout.paid, 0, FaultTable.tallyOf(fault));",
    ),
    Bug("ending-keeps-uses", "market/Endings.sol", "_registry.release(bargain.claims);"),
    Bug("any-enclave", "market/Endings.sol", "got != enclave.enclaveSigner", "got == address(0)"),
    Bug("units-unbounded", "market/Endings.sol", "got > bargain.maxUnits", "false"),
    Bug(
        "units-without-time",
        "market/Endings.sol",
        "block.timestamp < begun ? 1 : (block.timestamp - begun) / SECONDS_PER_UNIT + 1",
        "type(uint32).max",
    ),
    Bug(
        "owners-rounded-apart",
        "market/Endings.sol",
        "sum * total / owed",
        "paid + uint256(claims[i].price) * total / owed",
    ),
    Bug("excluded-shares-count", "market/Endings.sol", "found.posted & ~found.excluded", "found.posted"),
    Bug(
        "shares-missing-at-once",
        "market/Endings.sol",
        "sharesDeadline == 0 || block.timestamp <= sharesDeadline",
        "sharesDeadline == 0",
    ),
    Bug("stop-forgotten", "market/Endings.sol", "if (found.stopped) return Fault.StoppedBeforeRelease;"),
    Bug("below-quorum", "market/Verdicts.sol", "book.threshold()", "book.threshold() - 1"),
    Bug("old-decision", "market/Verdicts.sol", "block.timestamp > core.expiry", "core.expiry == 0"),
    Bug("terms-ignored", "market/Verdicts.sol", "_registry.stand(bargain.claims)", "true"),
    Bug("hold-fee-kept", "market/Verdicts.sol", "unspent += bargain.holdFee;"),
    Bug(
        "refusal-keeps-uses",
        "libraries/FaultTable.sol",
        "(RETURNING >> uint8(fault)) & 1 != 0",
        "fault == Fault.NoQuote || fault == Fault.CommitteeSilent || fault == Fault.Withdrawn",
    ),
    Bug(
        "penalty-forgiven",
        "libraries/FaultTable.sol",
        "if (fault == Fault.PlatformRefused)      return (all + f, owners, penalty - f);",
        "if (fault == Fault.PlatformRefused) return (all, whole, 0);",
    ),
    Bug(
        "stop-keeps-uses",
        "libraries/FaultTable.sol",
        "(RETURNING >> uint8(fault)) & 1 != 0",
        "RETURNING & (1 << uint256(fault)) != 0 && fault != Fault.StoppedBeforeRelease",
    ),
    Bug(
        "missing-shares-keep-uses",
        "libraries/FaultTable.sol",
        "(RETURNING >> uint8(fault)) & 1 != 0",
        "RETURNING & (1 << uint256(fault)) != 0 && fault != Fault.SharesMissing",
    ),
    Bug(
        "hold-fee-returned-on-withdrawal",
        "libraries/FaultTable.sol",
        "return /* Fault.Withdrawn */                    (most,    whole,  hold);",
        "return (all, whole, 0);",
    ),
    Bug(
        "hold-fee-to-the-provider",
        "libraries/FaultTable.sol",
        "if (fault == Fault.RequestRefused)       return (most,    whole,  hold);",
        "if (fault == Fault.RequestRefused) return (most, whole + hold, 0);",
    ),
    Bug(
        "consumer-pays-for-withheld-evidence",
        "libraries/FaultTable.sol",
        "if (fault == Fault.EvidenceWithheld)     return (all + f, owners, penalty - f);",
        "if (fault == Fault.EvidenceWithheld) return (all, owners, penalty);",
    ),
    Bug(
        "consumer-pays-for-a-silent-provider",
        "libraries/FaultTable.sol",
        "_smaller(fees, penalty)",
        "0",
    ),
    Bug(
        "provider-pays-for-a-silent-committee",
        "libraries/FaultTable.sol",
        "if (fault == Fault.SharesMissing)        return (all,     0,        whole,  0,           0);",
        "if (fault == Fault.SharesMissing) return (all, 0, held.owners, penalty, 0);",
    ),
    Bug(
        "owners-paid-for-a-failed-input",
        "libraries/FaultTable.sol",
        "if (fault == Fault.InputFailed)          return (all,     0,        whole,  0,           0);",
        "if (fault == Fault.InputFailed) return (all - held.owners, 0, whole, 0, held.owners);",
    ),
    Bug(
        "paused-reader-keeps-uses",
        "libraries/FaultTable.sol",
        "(RETURNING >> uint8(fault)) & 1 != 0",
        "RETURNING & (1 << uint256(fault)) != 0 && fault != Fault.ReaderTimedOut",
    ),
    Bug(
        "paused-reader-sold",
        "libraries/FaultTable.sol",
        "if (fault == Fault.ReaderTimedOut)       return (all,     0,        whole,  0,           0);",
        "if (fault == Fault.ReaderTimedOut) return (all - held.compute, held.compute, whole, 0, 0);",
    ),
    Bug(
        "timeout-limit-ignored",
        "libraries/FaultTable.sol",
        "_smaller(held.owners, limit - provider)",
        "held.owners",
    ),
    Bug(
        "timeout-fee-above-the-work",
        "libraries/FaultTable.sol",
        "_smaller(_smaller(fee, work), limit)",
        "_smaller(fee, limit)",
    ),
    Bug("unmetered-units-kept", "libraries/FaultTable.sol", "metered - used", "metered - metered"),
    Bug(
        "answer-paid-twice",
        "libraries/FaultTable.sol",
        "bondLeft + forAnswer",
        "bondLeft + answerFees",
    ),
    Bug(
        "foreign-evidence",
        "market/Verdicts.sol",
        "_checkSignature(key.provider, _digest(TypedData.quoteHash(key.jobId, evidenceHash)), signature);",
    ),
    Bug(
        "owners-unpaid-by-silence",
        "libraries/FaultTable.sol",
        "return /* Fault.ProviderSilent */               (all + f, 0,        0,      penalty - f, held.owners);",
        "return (all + f, 0, 0, penalty - f, 0);",
    ),
    Bug(
        "cancel-by-anyone",
        "market/Interrupting.sol",
        "msg.sender != bargain.consumer && msg.sender != bargain.payer",
        "msg.sender == address(0)",
    ),
    Bug(
        "owners-unpaid-for-a-paused-validator",
        "market/Interrupting.sol",
        "bargain.timeoutLimit",
        "fault == Fault.ValidatorTimedOut ? bargain.timeoutFee : bargain.timeoutLimit",
    ),
    Bug(
        "paused-reader-ends-as-a-validator",
        "market/Interrupting.sol",
        "if (cause == CAUSE_READER) return Fault.ReaderTimedOut;",
        "if (cause == CAUSE_READER) return Fault.ValidatorTimedOut;",
    ),
    Bug(
        "paused-reader-suspends",
        "market/Interrupting.sol",
        "fault == Fault.InputFailed",
        "fault == Fault.InputFailed || fault == Fault.ReaderTimedOut",
    ),
    Bug(
        "reader-of-no-asset",
        "market/Interrupting.sol",
        "cause == CAUSE_INPUT || cause == CAUSE_VALIDATOR || cause == CAUSE_READER",
        "cause == CAUSE_INPUT || cause == CAUSE_VALIDATOR",
    ),
    Bug("suspension-lifted-free", "market/Interrupting.sol", "_take(token, msg.sender, cost);"),
    Bug(
        "failed-input-sold-on",
        "market/Interrupting.sol",
        "_registry.suspend(bargain.claims[index].assetId, bargain.claims[index].version, key.jobId);",
    ),
    Bug(
        "acknowledged-by-anyone",
        "market/Endings.sol",
        "acknowledgement.length != 0 || msg.sender != bargain.consumer",
        "acknowledgement.length != 0",
    ),
    Bug(
        "acknowledgement-outrun",
        "market/Settling.sol",
        "acknowledged && _slots[key.requestHash].status() == Status.Settled",
        "false",
    ),
    Bug(
        "report-by-anyone",
        "market/Missing.sol",
        "if (msg.sender != key.provider) revert IJobs.OnlyProvider(msg.sender, key.provider);",
    ),
    Bug("report-unsigned", "market/Missing.sol", "_checkEnclave(enclave, signed, enclaveSignature);"),
    Bug(
        "complaint-taken-back",
        "market/Missing.sol",
        "excluded & record.excluded != record.excluded",
        "false",
    ),
    Bug("deadline-moved-again", "market/Missing.sol", "record.sharesDeadline == 0", "true"),
    Bug(
        "report-moves-no-deadline",
        "market/Missing.sol",
        "key.decideWindow + bargain.settleWindow",
        "bargain.settleWindow",
    ),
    Bug("report-sets-nothing-aside", "market/Missing.sol", "_takeWithStake(bargain.token, key.provider, setAside);"),
    Bug(
        "report-takes-no-stake",
        "market/Accounts.sol",
        "_accounts[token][holder] = account.minus(free, lacking);",
        "_accounts[token][holder] = account.minus(free, 0);",
    ),
    Bug(
        "posted-release-unpaid",
        "market/Missing.sol",
        "record.unspent -= uint88(_oweFees(bargain.epoch, bargain.token, book, 1 << uint256(index)));",
    ),
    Bug(
        "release-posted-twice",
        "market/Missing.sol",
        "_openedQuorum(bargain.epoch, members) | record.posted",
        "_openedQuorum(bargain.epoch, members)",
    ),
    Bug("release-of-another", "market/Missing.sol", "got != members.signers[index]", "got == address(0)"),
    Bug("unspent-returned-twice", "market/Missing.sol", "record.unspent = 0;"),
    Bug(
        "unspent-returned-early",
        "market/Missing.sol",
        "if (block.timestamp <= deadline) revert IJobs.TooEarly(requestHash, block.timestamp, deadline);",
    ),
    Bug(
        "stop-undercuts-a-settlement",
        "market/Missing.sol",
        "fault == Fault.StoppedBeforeRelease && msg.sender != key.provider && block.timestamp <= deadline",
        "false",
    ),
    Bug("stopped-by-few", "market/Missing.sol", "_bookOf(bargain.epoch, bargain.token).refusingQuorum()", "1"),
    Bug("free-challenge", "market/Challenges.sol", "_take(bargain.token, msg.sender, bond);"),
    Bug("fees-claimed-twice", "market/Ledger.sol", "_books[epoch][token] = book;"),
    Bug("charged-transfer", "market/Ledger.sol", "received != amount", "received == 0"),
    Bug("no-unbonding", "market/Ledger.sol", "block.timestamp < leaving.readyAt", "false"),
    Bug("volume-uncounted", "market/OrderBook.sol", "_used[signer][orderHash] = used + 1;"),
    Bug("generation-ignored", "market/OrderBook.sol", "got != generation", "false"),
    Bug("pause-by-anyone", "market/Roles.sol", "msg.sender != _guardian", "msg.sender == address(0)"),
    Bug("removal-by-anyone", "market/Roles.sol", "msg.sender != address(_committee)", "msg.sender == address(0)"),
    Bug("uses-unbounded", "AssetRegistry.sol", "meter.usesTaken() >= meter.maxUses()", "false"),
    Bug(
        "budget-untaken",
        "AssetRegistry.sol",
        "version.meter = meter.taking(limit.epsilon);",
        "version.meter = meter.taking(0);",
    ),
    Bug("anyone-owns", "AssetRegistry.sol", "own.rules.owner != msg.sender", "own.rules.owner == address(0)"),
    Bug("superset-root-unseen", "AssetRegistry.sol", "rules.strictVersion <= claim.termsVersion", "true"),
    Bug("grade-unseen", "AssetRegistry.sol", "terms.minGrade != inForce.minGrade", "false"),
    Bug(
        "any-change-is-strict",
        "AssetRegistry.sol",
        "if (strict) current.rules.strictVersion = termsVersion;",
        "current.rules.strictVersion = termsVersion;",
    ),
    Bug(
        "suspended-version-matches",
        "AssetRegistry.sol",
        "if (meter.suspended()) revert Suspended(assetId, limit.version);",
    ),
    Bug("lifted-by-anyone", "AssetRegistry.sol", "found.rules.owner != by", "false"),
    Bug(
        "tightened-to-the-same",
        "AssetRegistry.sol",
        "keccak256(abi.encode(inForce)) == keccak256(abi.encode(terms))",
        "false",
    ),
    Bug("revocation-unseen", "AssetRegistry.sol", "rules.access != Access.Revoked", "true"),
    Bug("expiry-unseen", "AssetRegistry.sol", "block.timestamp <= rules.expiry", "true"),
    Bug("tightening-forgets-what-was-taken", "libraries/Meters.sol", "(Meter.unwrap(meter) & KEPT) | set", "set"),
    Bug("anyone-meters", "AssetRegistry.sol", "msg.sender != market", "msg.sender == address(0)"),
    Bug("loosened-expiry", "AssetRegistry.sol", "terms.expiry > current.expiry", "false"),
    Bug(
        "framed-node",
        "OracleCommittee.sol",
        "TypedData.hash(first) == TypedData.hash(second)",
        "first.expiry == 0",
    ),
    Bug("end-moved", "OracleCommittee.sol", "announced != 0", "false"),
    Bug("end-at-once", "OracleCommittee.sol", "endsAt < least || endsAt > least + MOST_AHEAD", "endsAt == 0"),
    Bug("end-untold", "OracleCommittee.sol", "IMarket(market).noteEnd(epoch, endsAt);"),
    Bug("end-outlasted", "market/Matching.sol", "until > endsAt", "block.timestamp > endsAt"),
    Bug("end-of-the-last-alone", "market/Roles.sol", "epoch > _lastEnding", "true"),
    Bug("anchored-again", "OracleCommittee.sol", "before != 0", "false"),
    Bug("removal-untold", "OracleCommittee.sol", "IMarket(market).noteRemoved(epoch, membersHash);"),
)
NONE = 0
_SWITCH = """// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

library Planted {
    function on(uint256 bug) internal view returns (bool) {
        return uint160(address(block.coinbase)) == bug;
    }
}
"""
_CONFIG = """import base from "./contracts.config.js";

const tests = base.test.solidity;
const fuzz = { ...tests.fuzz, runs: 50 };
const invariant = { ...tests.invariant, runs: 16 };
const solidity = { ...tests, coinbase: process.env.PLANTED_BUG, fuzz, invariant };
export default { ...base, test: { solidity } };
"""
_RUN_SECONDS, _COMPILE_SECONDS = 1800, 7200


def planted(bugs: Iterable[tuple[int, Bug]], text: str) -> str:
    """A file's text with its bugs, each behind its number.

    Raises:
        ValueError: what is right does not stand there exactly once.
    """
    for number, bug in bugs:
        found = text.count(bug.right)
        if found != 1:
            raise ValueError(f"{bug.name}: {bug.right!r} stands {found} times in contracts/{bug.file}, expected once")
        on = f"Planted.on({number})"
        if bug.right.endswith(";"):
            switched = f"if ({on}) {{ {bug.wrong} }} else {{ {bug.right} }}"
        else:
            switched = f"({on} ? ({bug.wrong}) : ({bug.right}))"
        text = text.replace(bug.right, switched)
    return text


def copy_with_all(folder: Path) -> None:
    """Make ``folder``, which is empty, a project whose contracts carry every bug."""
    shutil.copytree(ROOT / "contracts", folder / "contracts")
    shutil.copy(ROOT / "package.json", folder / "package.json")
    shutil.copy(ROOT / "hardhat.config.js", folder / "contracts.config.js")
    (folder / "hardhat.config.js").write_text(_CONFIG)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    contracts = folder / "contracts"
    (contracts / "Planted.sol").write_text(_SWITCH)
    for path in {contracts / bug.file for bug in BUGS}:
        name = str(path.relative_to(contracts))
        text = planted(((n, bug) for n, bug in enumerate(BUGS, start=1) if bug.file == name), path.read_text())
        up = "../" * (len(Path(name).parts) - 1) or "./"
        path.write_text(re.sub(r"(?m)^(pragma .*)$", rf'\1\nimport {{Planted}} from "{up}Planted.sol";', text, count=1))
    for path in contracts.rglob("*.sol"):
        # The switch reads the block: what was pure no longer is.
        path.write_text(re.sub(r"\bpure\b", "view", path.read_text()))


def goes_red(number: int, folder: Path, tests: Sequence[str] = (), *, compiled: bool) -> bool:
    """Whether the Solidity tests notice that a bug is on. Raises ValueError when they could not be run."""
    with subprocess.Popen(
        toolchain.hardhat_command("test", "solidity", *tests, *(["--no-compile"] if compiled else [])),
        cwd=folder,
        env=toolchain.node_environment() | {"PLANTED_BUG": f"0x{number:040x}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            said, _ = running.communicate(timeout=_RUN_SECONDS if compiled else _COMPILE_SECONDS)
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)  # with the compiler that it started
            raise
    if " passing" not in said and " failing" not in said:
        raise ValueError(f"the tests did not run:\n{said}")
    return running.returncode != 0 and " failing" in said


def main(arguments: Sequence[str]) -> int:
    """Plant and test; 1 when one was not noticed, or when the copy fails with none on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all when none is named")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--tests", default="", metavar="FILE,...", help="of contracts/, where these are enough")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.names) - {bug.name for bug in BUGS}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}; --list says what there is")
    bugs = [(n, bug) for n, bug in enumerate(BUGS, start=1) if not chosen.names or bug.name in chosen.names]
    if chosen.list:
        print("\n".join(f"{bug.name:28} contracts/{bug.file}" for _, bug in bugs))
        return 0
    tests = [f"contracts/{name}" for name in chosen.tests.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="sealmarket-bugs-") as name:
        folder = Path(name)
        copy_with_all(folder)
        print("compiling, and running with no bug on: minutes", flush=True)
        if goes_red(NONE, folder, tests, compiled=False):
            print("the tests fail with no bug on: mend them first", file=sys.stderr)
            return 1
        missed = [bug.name for number, bug in bugs if not _caught(number, bug, folder, tests)]
    print(f"{len(bugs) - len(missed)} of {len(bugs)} planted bugs were caught")
    return 1 if missed else 0


def _caught(number: int, bug: Bug, folder: Path, tests: Sequence[str]) -> bool:
    started = time.monotonic()
    caught = goes_red(number, folder, tests, compiled=True)
    print(f"{'caught' if caught else 'MISSED'}  {bug.name} ({time.monotonic() - started:.0f} s)", flush=True)
    return caught


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
