// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {IJobs} from "../interfaces/IJobs.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Bargain, Fault, JobKey, Payout, SettledResult, Status} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title Bonded claims that a result's ciphertext is unavailable, and the committee's answers
abstract contract Challenges is Endings {
    /// See {IJobs-challenge}.
    function challenge(JobKey calldata key, Bargain calldata bargain, SettledResult calldata result) external {
        if (msg.sender != bargain.consumer && msg.sender != bargain.payer) {
            revert IOrders.NotRequestParty(msg.sender, bargain.consumer, bargain.payer);
        }
        bytes32 bargainHash = _checkTimely(key, bargain, Status.Settled, TypedData.hashStage(result));
        uint256 bond = _bondOf(bargain.epoch, bargain.token);

        _take(bargain.token, msg.sender, bond);
        bytes32 stage = _stageOf(result, msg.sender);
        uint40 deadline = _enter(key, bargainHash, Status.Challenged, key.decideWindow, stage);

        emit IJobs.JobChallenged(key.jobId, msg.sender, bond, deadline);
    }

    /// See {IJobs-answerChallenge}.
    function answerChallenge(
        JobKey calldata key,
        Bargain calldata bargain,
        SettledResult calldata result,
        address challenger,
        bool available,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external {
        _checkTimely(key, bargain, Status.Challenged, _stageOf(result, challenger));
        FeeBook book = _bookOf(bargain.epoch, bargain.token);
        bytes32 digest = _digest(TypedData.challengeAnswerHash(key.jobId, result.resultHash, available));
        uint256 required = available ? book.threshold() : book.refusingQuorum();
        uint256 signers = _checkQuorum(bargain.epoch, members, signatures, required, digest);

        uint256 fees = _oweFees(bargain.epoch, bargain.token, book, signers);
        uint256 bondLeft = _bondOf(bargain.epoch, bargain.token) - fees;
        if (available) {
            emit IJobs.ChallengeAnswered(key.jobId, true, signers, fees, 0);
            _matureMetered(key, bargain, result.units, bondLeft);
            return;
        }
        (uint256 owners, uint256 earned) = (Escrows.lockedBy(bargain).owners, Escrows.earned(bargain, result.units));
        (Payout memory payout, uint256 bondReturned) =
            FaultTable.withheld(owners, bargain.penalty, earned, bondLeft, fees, book.acceptance());
        _credit(bargain.token, challenger, bondReturned);
        emit IJobs.ChallengeAnswered(key.jobId, false, signers, fees, bondReturned);
        _carryOut(Ending(Fault.ResultWithheld, 0), key, bargain, payout);
    }

    /// See {IJobs-closeChallenge}.
    function closeChallenge(
        JobKey calldata key,
        Bargain calldata bargain,
        SettledResult calldata result,
        address challenger
    ) external {
        _checkOverdue(key, bargain, Status.Challenged, _stageOf(result, challenger));
        uint256 bond = _bondOf(bargain.epoch, bargain.token);

        _credit(bargain.token, challenger, bond);
        emit IJobs.ChallengeAnswered(key.jobId, true, 0, 0, bond);
        _matureMetered(key, bargain, result.units, 0);
    }

    /// What `Challenged` adds to the commitment.
    function _stageOf(SettledResult calldata result, address challenger) private pure returns (bytes32) {
        return keccak256(abi.encode(result, challenger));
    }
}
