// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {IJobs} from "../interfaces/IJobs.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Bargain, Fault, JobKey, Payout, Receipt, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {Endings} from "./Endings.sol";

/// @title "The ciphertext is not to be had": a bonded claim, and the committee's answer
abstract contract Challenges is Endings {
    /// See {IJobs-challenge}.
    function challenge(JobKey calldata key, Bargain calldata bargain, Receipt calldata receipt) external {
        if (msg.sender != bargain.consumer && msg.sender != bargain.payer) {
            revert IOrders.NotRequestParty(msg.sender, bargain.consumer, bargain.payer);
        }
        bytes32 bargainHash = _checkTimely(key, bargain, Status.Settled, TypedData.hashStage(receipt));
        uint256 bond = _bondOf(bargain.epoch, bargain.token);

        _take(bargain.token, msg.sender, bond);
        bytes32 stage = _stageOf(receipt, msg.sender);
        uint40 deadline = _enter(key, bargainHash, Status.Challenged, key.decideWindow, stage);

        emit IJobs.JobChallenged(key.jobId, msg.sender, bond, deadline);
    }

    /// See {IJobs-answerChallenge}.
    function answerChallenge(
        JobKey calldata key,
        Bargain calldata bargain,
        Receipt calldata receipt,
        address challenger,
        bool available,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external {
        _checkTimely(key, bargain, Status.Challenged, _stageOf(receipt, challenger));
        FeeBook book = _bookOf(bargain.epoch, bargain.token);
        bytes32 digest = _digest(TypedData.challengeAnswerHash(key.jobId, receipt.resultHash, available));
        uint256 required = available ? book.threshold() : book.refusingQuorum();
        uint256 signers = _checkQuorum(bargain.epoch, members, signatures, required, digest);

        uint256 fees = _oweFees(bargain.epoch, bargain.token, book, signers);
        uint256 bond = _bondOf(bargain.epoch, bargain.token);
        if (available) {
            emit IJobs.ChallengeAnswered(key.jobId, true, signers, fees, 0);
            _maturePaying(key, bargain, receipt.units, bond - fees);
        } else {
            // The provider's penalty pays the answer as far as it goes, the challenger's bond the rest.
            uint256 fromPenalty = fees < bargain.penalty ? fees : bargain.penalty;
            uint256 bondReturned = bond + fromPenalty - fees;
            _credit(bargain.token, challenger, bondReturned);
            emit IJobs.ChallengeAnswered(key.jobId, false, signers, fees, bondReturned);
            _reverse(key, bargain, receipt.units, bargain.penalty - fromPenalty);
        }
    }

    /// See {IJobs-closeChallenge}.
    function closeChallenge(
        JobKey calldata key,
        Bargain calldata bargain,
        Receipt calldata receipt,
        address challenger
    ) external {
        _checkOverdue(key, bargain, Status.Challenged, _stageOf(receipt, challenger));
        uint256 bond = _bondOf(bargain.epoch, bargain.token);

        _credit(bargain.token, challenger, bond);
        emit IJobs.ChallengeAnswered(key.jobId, true, 0, 0, bond);
        _mature(key, bargain, receipt.units);
    }

    /// The payer gets back what it paid: the owners, who have their prices already, cost the provider its stake.
    function _reverse(JobKey calldata key, Bargain calldata bargain, uint32 units, uint256 burned) private {
        Payout memory payout;
        payout.refunded = uint128(Escrows.lockedBy(bargain).owners + Escrows.earned(bargain, units));
        payout.burned = uint128(burned);
        _credit(bargain.token, bargain.payer, payout.refunded);
        _releaseProvider(bargain.token, key.provider, 0, 0, Tally.Expired);
        _end(key, Status.Expired, Fault.ResultWithheld, 0, payout);
    }

    /// What `Challenged` adds to the commitment.
    function _stageOf(Receipt calldata receipt, address challenger) private pure returns (bytes32) {
        return keccak256(abi.encode(receipt, challenger));
    }
}
