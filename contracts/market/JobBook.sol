// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {IOrders} from "../interfaces/IOrders.sol";
import {JobSlot, JobSlots} from "../libraries/JobSlots.sol";
import {Quorums} from "../libraries/Quorums.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Bargain, Fault, JobKey, Payout, Status} from "../types/Jobs.sol";
import {OracleFees} from "./OracleFees.sol";

/// @title The slots of jobs, and the guards that every transition passes
abstract contract JobBook is OracleFees {
    /// Put a job into a state whose window begins now.
    function _enter(JobKey calldata key, bytes32 bargainHash, Status status, uint32 window, bytes32 stage)
        internal
        returns (uint40 deadline)
    {
        deadline = uint40(block.timestamp) + window;
        _slots[key.requestHash] = JobSlots.make(status, deadline, _commitOf(key, bargainHash, stage));
    }

    /// Put a job into an end state, which is never left.
    function _end(JobKey calldata key, Status status, Fault fault, bytes32 evidenceHash, Payout memory payout)
        internal
    {
        _slots[key.requestHash] = _slots[key.requestHash].withStatus(status);
        emit IJobs.JobEnded(key.jobId, status, fault, evidenceHash, payout);
    }

    /// Check that the job is in the state, within its window.
    /// @return bargainHash For the next commitment.
    function _checkTimely(JobKey calldata key, Bargain calldata bargain, Status expected, bytes32 stage)
        internal
        view
        returns (bytes32 bargainHash)
    {
        bargainHash = TypedData.hash(bargain);
        _checkTimely(key, bargainHash, expected, stage);
    }

    /// As above, for a step that needs nothing of the bargain but its hash.
    function _checkTimely(JobKey calldata key, bytes32 bargainHash, Status expected, bytes32 stage) internal view {
        uint40 deadline = _checkOpened(key, bargainHash, expected, stage);
        if (block.timestamp > deadline) revert IJobs.TooLate(key.requestHash, block.timestamp, deadline);
    }

    /// Check that the job is in the state, after its window.
    function _checkOverdue(JobKey calldata key, Bargain calldata bargain, Status expected, bytes32 stage)
        internal
        view
    {
        uint40 deadline = _checkOpened(key, TypedData.hash(bargain), expected, stage);
        if (block.timestamp <= deadline) revert IJobs.TooEarly(key.requestHash, block.timestamp, deadline);
    }

    function _checkUnused(bytes32 requestHash) internal view {
        if (_slots[requestHash].status() != Status.None) revert IOrders.RequestUsed(requestHash);
    }

    function _checkSignature(address signer, bytes32 digest, bytes calldata signature) internal view {
        if (!Signatures.isValid(signer, digest, signature)) revert IOrders.BadSignature(signer, digest);
    }

    /// Check that exactly `required` members signed `digest`.
    /// @return signers Bitmap of their indices.
    function _checkQuorum(
        uint32 epoch,
        Members calldata members,
        NodeSignature[] calldata signatures,
        uint256 required,
        bytes32 digest
    ) internal view returns (uint256 signers) {
        uint256 removed = _openedQuorum(epoch, members);
        if (signatures.length != required) revert IJobs.WrongSignatureCount(signatures.length, required);
        for (uint256 i = 0; i < signatures.length; ++i) {
            signers |= Quorums.checkNode(removed, members, signatures[i], digest, i, signers);
        }
    }

    /// Check a number against the smallest and the largest that is allowed; `field` is its name.
    function _checkBounds(bytes32 field, uint256 got, uint256 least, uint256 most) internal pure {
        if (got < least || got > most) revert IJobs.OutOfBounds(field, got, least, most);
    }

    function _checkGrade(uint8 got, uint8 least) internal pure {
        if (got < least) revert IJobs.GradeTooLow(got, least);
    }

    /// What a slot commits to. All that a quote needs is named beside the bargain's hash.
    function _commit(bytes32 jobId, address provider, uint32 decideWindow, bytes32 bargainHash, bytes32 stage)
        internal
        pure
        returns (uint208)
    {
        return JobSlots.commit(jobId, provider, decideWindow, bargainHash, stage);
    }

    /// Check that the job is in the state, within its window or after it.
    function _checkOpened(JobKey calldata key, bytes32 bargainHash, Status expected, bytes32 stage)
        internal
        view
        returns (uint40 deadline)
    {
        JobSlot slot = _slots[key.requestHash];
        Status status = slot.status();
        if (status != expected) revert IJobs.UnexpectedStatus(key.requestHash, status, expected);
        uint208 commitment = _commitOf(key, bargainHash, stage);
        if (commitment != slot.commitment()) {
            revert IJobs.WrongCommitment(key.requestHash, commitment, slot.commitment());
        }
        return slot.deadline();
    }

    function _commitOf(JobKey calldata key, bytes32 bargainHash, bytes32 stage) private pure returns (uint208) {
        return _commit(key.jobId, key.provider, key.decideWindow, bargainHash, stage);
    }
}
