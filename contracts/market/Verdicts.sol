// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ILedger} from "../interfaces/ILedger.sol";
import {IJobs} from "../interfaces/IJobs.sol";
import {Escrow, Escrows} from "../libraries/Escrows.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Epoch, Members, NodeSignature} from "../types/Committees.sol";
import {
    Decision,
    DecisionCore,
    Enclave,
    Fault,
    JobSpec,
    Outcome,
    Payout,
    Status
} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {JobBook} from "./JobBook.sol";

/// @title Evidence and what the committee says of it
abstract contract Verdicts is JobBook, IJobs {
    /// @inheritdoc IJobs
    function quote(JobSpec calldata spec, bytes32 evidenceHash, bytes calldata signature) external {
        require(evidenceHash != 0, ZeroEvidenceHash());
        bytes32 jobId = _timely(spec, Status.Matched, 0);
        if (msg.sender != spec.provider) {
            _checkSignature(spec.provider, _digest(TypedData.quoteHash(jobId, evidenceHash)), signature);
        }

        uint40 deadline = _enter(spec.requestHash, jobId, Status.Quoted, spec.decideWindow, evidenceHash);

        emit JobQuoted(jobId, evidenceHash, deadline);
    }

    /// @inheritdoc IJobs
    function decide(
        JobSpec calldata spec,
        DecisionCore calldata core,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external {
        bytes32 jobId = _timely(spec, Status.Quoted, core.evidenceHash);
        Outcome outcome = _checkCore(core, spec.minGrade);
        FeeBook book = _bookOf(spec.epoch, spec.token);
        uint256 required = outcome == Outcome.Accepted ? book.threshold() : book.refusingQuorum();
        require(signatures.length == required, WrongSignatureCount(signatures.length, required));
        uint256 signers = _checkDecision(jobId, spec.epoch, core, members, signatures);

        uint256 unspent = book.reserve() - _oweFees(spec.epoch, spec.token, book, signers);
        if (outcome == Outcome.Accepted) {
            _accept(spec, jobId, core, signers, unspent);
        } else {
            emit JobDecided(jobId, core, signers, 0, 0);
            _registry.release(spec.assets);
            _refuse(spec, jobId, core.evidenceHash, _faultOf(outcome), unspent, _requestFee(book, outcome));
        }
    }

    /// @inheritdoc IJobs
    function stop(
        JobSpec calldata spec,
        Enclave calldata enclave,
        uint256 reasons,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external {
        bytes32 jobId = _timely(spec, Status.Accepted, _stageOf(enclave));
        bytes32 digest = _digest(TypedData.stopHash(jobId, enclave.evidenceHash, spec.epoch, reasons));
        uint256 required = _bookOf(spec.epoch, spec.token).refusingQuorum();
        uint256 signers = _checkQuorum(spec.epoch, members, signatures, required, digest);

        Escrow memory escrow = Escrows.lockedBy(spec);
        Payout memory payout;
        payout.refunded = uint128(Escrows.total(escrow));
        payout.stakeReturned = uint128(Escrows.stake(escrow, spec));
        _credit(spec.token, spec.payer, payout.refunded);
        _releaseProvider(spec.token, spec.provider, 0, payout.stakeReturned, Tally.None);

        emit JobStopped(jobId, enclave.evidenceHash, reasons, signers);
        _end(spec, jobId, Status.Stopped, Fault.StoppedBeforeRelease, enclave.evidenceHash, payout);
    }

    /// An acceptance counts only under the terms of the match; else it is carried out as a refusal by the terms.
    function _accept(JobSpec calldata spec, bytes32 jobId, DecisionCore calldata core, uint256 signers, uint256 unspent)
        private
    {
        if (!_registry.consume(spec.assets)) {
            emit JobDecided(jobId, core, signers, 0, 0);
            _refuse(spec, jobId, core.evidenceHash, Fault.TermsRefused, unspent, 0);
            return;
        }
        bytes32 stage = keccak256(abi.encode(core.evidenceHash, core.enclaveSigner, core.enclaveKeyHash));
        uint40 deadline = _enter(spec.requestHash, jobId, Status.Accepted, spec.settleWindow, stage);
        _credit(spec.token, spec.payer, unspent);
        emit JobDecided(jobId, core, signers, deadline, unspent);
    }

    /// The refusing rows of the fault table. `unspent` is what oracle signatures did not take of the fees held.
    function _refuse(
        JobSpec calldata spec,
        bytes32 jobId,
        bytes32 evidenceHash,
        Fault fault,
        uint256 unspent,
        uint256 requestFee
    ) private {
        Escrow memory escrow = Escrows.lockedBy(spec);
        uint256 locked = Escrows.total(escrow);
        bool providersFault = fault == Fault.PlatformRefused || fault == Fault.EvidenceWithheld;
        Payout memory payout;
        payout.paid = uint128(requestFee < locked ? requestFee : locked);
        payout.refunded = uint128(locked + unspent - payout.paid);
        payout.burned = providersFault ? spec.penalty : 0;
        payout.stakeReturned = uint128(Escrows.stake(escrow, spec) - payout.burned);

        _credit(spec.token, spec.payer, payout.refunded);
        _burn(spec.token, payout.burned);
        Tally tally = providersFault ? Tally.Refused : Tally.None;
        _releaseProvider(spec.token, spec.provider, payout.paid, payout.stakeReturned, tally);
        _end(spec, jobId, Status.Refused, fault, evidenceHash, payout);
    }

    function _requestFee(FeeBook book, Outcome outcome) private view returns (uint256) {
        return outcome == Outcome.RequestRefused ? uint256(book.fee()) * _requestFeeFactor : 0;
    }

    function _checkCore(DecisionCore calldata core, uint8 minGrade) private view returns (Outcome outcome) {
        uint8 highest = uint8(type(Outcome).max);
        require(core.outcome != 0 && core.outcome <= highest, UnknownOutcome(core.outcome, highest));
        require(block.timestamp <= core.expiry, DecisionExpired(block.timestamp, core.expiry));
        outcome = Outcome(core.outcome);
        if (outcome != Outcome.Accepted) return outcome;
        require(core.grade >= minGrade, GradeTooLow(core.grade, minGrade));
        require(core.enclaveSigner != address(0), ILedger.ZeroAddress());
    }

    /// Check that each signature is a member's, over the common core and its own detail.
    function _checkDecision(
        bytes32 jobId,
        uint32 epoch,
        DecisionCore calldata core,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) private view returns (uint256 signers) {
        Epoch memory found = _openedEpoch(epoch, members);
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
            signers |= _checkNode(found, members, signatures[i], digest, i, signers);
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
