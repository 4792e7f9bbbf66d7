// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ILedger} from "../interfaces/ILedger.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {Quorums} from "../libraries/Quorums.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {
    Bargain,
    Decision,
    DecisionCore,
    Fault,
    JobKey,
    Outcome,
    Payout,
    Status
} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title The provider's quote and the committee's decision
abstract contract Verdicts is Endings {
    /// See {IJobs-quote}.
    function quote(JobKey calldata key, bytes32 bargainHash, bytes32 evidenceHash, bytes calldata signature) external {
        if (evidenceHash == 0) revert IJobs.ZeroEvidenceHash();
        _checkTimely(key, bargainHash, Status.Matched, 0);
        if (msg.sender != key.provider) {
            _checkSignature(key.provider, _digest(TypedData.quoteHash(key.jobId, evidenceHash)), signature);
        }

        uint40 deadline = _enter(key, bargainHash, Status.Quoted, key.decideWindow, evidenceHash);

        emit IJobs.JobQuoted(key.jobId, evidenceHash, deadline);
    }

    /// See {IJobs-decide}.
    function decide(
        JobKey calldata key,
        Bargain calldata bargain,
        DecisionCore calldata core,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external {
        bytes32 bargainHash = _checkTimely(key, bargain, Status.Quoted, core.evidenceHash);
        Outcome outcome = _checkCore(core, bargain.minGrade);
        (uint32 epoch, address token) = (bargain.epoch, bargain.token);
        FeeBook book = _bookOf(epoch, token);
        uint256 required = outcome == Outcome.Accepted ? book.threshold() : book.refusingQuorum();
        if (signatures.length != required) revert IJobs.WrongSignatureCount(signatures.length, required);
        uint256 signers = _checkDecision(key.jobId, epoch, core, members, signatures);

        uint256 used = _oweFees(epoch, token, book, signers);
        uint256 unspent = book.reserve() - used;
        bool accepted = outcome == Outcome.Accepted;
        // An acceptance counts only while the terms let the job stand; else it is carried out as TermsRefused.
        if (accepted && _registry.stand(bargain.claims)) {
            bytes32 stage = keccak256(abi.encode(core.evidenceHash, core.enclaveSigner, core.enclaveKeyHash));
            uint40 deadline = _enter(key, bargainHash, Status.Accepted, bargain.settleWindow, stage);
            unspent += bargain.holdFee;
            _credit(token, bargain.payer, unspent);
            emit IJobs.JobDecided(key.jobId, core, signers, deadline, unspent);
            return;
        }
        emit IJobs.JobDecided(key.jobId, core, signers, 0, 0);
        Fault fault = accepted ? Fault.TermsRefused : _faultOf(outcome);
        Payout memory payout = FaultTable.beforeAcceptance(fault, Escrows.lockedBy(bargain), unspent, used);
        _carryOut(fault, key, bargain, core.evidenceHash, payout);
    }

    function _checkCore(DecisionCore calldata core, uint8 minGrade) private view returns (Outcome outcome) {
        uint8 highest = uint8(type(Outcome).max);
        if (core.outcome == 0 || core.outcome > highest) revert IJobs.UnknownOutcome(core.outcome, highest);
        if (block.timestamp > core.expiry) revert IJobs.DecisionExpired(block.timestamp, core.expiry);
        outcome = Outcome(core.outcome);
        if (outcome != Outcome.Accepted) return outcome;
        _checkGrade(core.grade, minGrade);
        if (core.enclaveSigner == address(0)) revert ILedger.ZeroAddress();
    }

    /// Check that each signature is a member's, over the common core and its own detail.
    function _checkDecision(
        bytes32 jobId,
        uint32 epoch,
        DecisionCore calldata core,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) private view returns (uint256 signers) {
        uint256 removed = _openedQuorum(epoch, members);
        Decision memory decision = Decision({
            jobId: jobId,
            evidenceHash: core.evidenceHash,
            enclaveSigner: core.enclaveSigner,
            enclaveKeyHash: core.enclaveKeyHash,
            termsDigest: core.termsDigest,
            epoch: epoch,
            outcome: core.outcome,
            grade: core.grade,
            reasons: core.reasons,
            expiry: core.expiry,
            detail: 0
        });
        for (uint256 i = 0; i < signatures.length; ++i) {
            decision.detail = signatures[i].detail;
            bytes32 digest = _digest(TypedData.hash(decision));
            signers |= Quorums.checkNode(removed, members, signatures[i], digest, i, signers);
        }
    }

    function _faultOf(Outcome outcome) private pure returns (Fault) {
        if (outcome == Outcome.PlatformRefused) return Fault.PlatformRefused;
        if (outcome == Outcome.RequestRefused) return Fault.RequestRefused;
        if (outcome == Outcome.TermsRefused) return Fault.TermsRefused;
        if (outcome == Outcome.InputRefused) return Fault.InputRefused;
        return Fault.EvidenceWithheld;
    }
}
