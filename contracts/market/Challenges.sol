// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {IJobs} from "../interfaces/IJobs.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Fault, JobSpec, Payout, Receipt, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {JobBook} from "./JobBook.sol";

/// @title "The ciphertext is not to be had": a bonded claim, and the committee's answer
abstract contract Challenges is JobBook {
    /// See {IJobs-challenge}.
    function challenge(JobSpec calldata spec, Receipt calldata receipt) external {
        require(
            msg.sender == spec.consumer || msg.sender == spec.payer,
            IOrders.NotRequestParty(msg.sender, spec.consumer, spec.payer)
        );
        bytes32 jobId = _timely(spec, Status.Settled, _stageOf(receipt));
        uint256 bond = _bondOf(spec.epoch, spec.token);

        _take(spec.token, msg.sender, bond);
        bytes32 stage = _stageOf(receipt, msg.sender);
        uint40 deadline = _enter(spec.requestHash, jobId, Status.Challenged, spec.decideWindow, stage);

        emit IJobs.JobChallenged(jobId, msg.sender, bond, deadline);
    }

    /// See {IJobs-answerChallenge}.
    function answerChallenge(
        JobSpec calldata spec,
        Receipt calldata receipt,
        address challenger,
        bool available,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external {
        bytes32 jobId = _timely(spec, Status.Challenged, _stageOf(receipt, challenger));
        FeeBook book = _bookOf(spec.epoch, spec.token);
        bytes32 digest = _digest(TypedData.challengeAnswerHash(jobId, receipt.resultHash, available));
        uint256 required = available ? book.threshold() : book.refusingQuorum();
        uint256 signers = _checkQuorum(spec.epoch, members, signatures, required, digest);

        uint256 fees = _oweFees(spec.epoch, spec.token, book, signers);
        uint256 bond = _bondOf(spec.epoch, spec.token);
        if (available) {
            emit IJobs.ChallengeAnswered(jobId, true, signers, fees, 0);
            _maturePaying(spec, jobId, receipt.units, bond - fees);
        } else {
            // The provider's penalty pays the answer as far as it goes, the challenger's bond the rest.
            uint256 fromPenalty = fees < spec.penalty ? fees : spec.penalty;
            uint256 bondReturned = bond + fromPenalty - fees;
            _credit(spec.token, challenger, bondReturned);
            emit IJobs.ChallengeAnswered(jobId, false, signers, fees, bondReturned);
            _reverse(spec, jobId, receipt.units, spec.penalty - fromPenalty);
        }
    }

    /// See {IJobs-closeChallenge}.
    function closeChallenge(JobSpec calldata spec, Receipt calldata receipt, address challenger) external {
        bytes32 jobId = _overdue(spec, Status.Challenged, _stageOf(receipt, challenger));
        uint256 bond = _bondOf(spec.epoch, spec.token);

        _credit(spec.token, challenger, bond);
        emit IJobs.ChallengeAnswered(jobId, true, 0, 0, bond);
        _mature(spec, jobId, receipt.units);
    }

    /// The payer gets back what it paid: the owners, who have their prices already, cost the provider its stake.
    function _reverse(JobSpec calldata spec, bytes32 jobId, uint32 units, uint256 burned) private {
        Payout memory payout;
        payout.refunded = uint128(Escrows.lockedBy(spec).owners + Escrows.earned(spec, units));
        payout.burned = uint128(burned);
        _credit(spec.token, spec.payer, payout.refunded);
        _burn(spec.token, burned);
        _releaseProvider(spec.token, spec.provider, 0, 0, Tally.Expired);
        _end(spec, jobId, Status.Expired, Fault.ResultWithheld, 0, payout);
    }

    /// What `Challenged` adds to the commitment.
    function _stageOf(Receipt calldata receipt, address challenger) private pure returns (bytes32) {
        return keccak256(abi.encode(receipt, challenger));
    }
}
