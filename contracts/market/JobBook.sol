// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {IOrders} from "../interfaces/IOrders.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Epoch, Members, NodeSignature} from "../types/Committees.sol";
import {Enclave, Fault, JobSpec, Payout, Receipt, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {OracleFees} from "./OracleFees.sol";

/// @title The slots of jobs, and the guards that every transition passes
abstract contract JobBook is OracleFees {
    /// Put a job into a state whose window begins now.
    function _enter(bytes32 requestHash, bytes32 jobId, Status status, uint32 window, bytes32 stage)
        internal
        returns (uint40 deadline)
    {
        deadline = uint40(block.timestamp) + window;
        _slots[requestHash] = Slot({status: status, deadline: deadline, commitment: _commit(jobId, stage)});
    }

    /// Put a job into an end state, which is never left.
    function _end(
        JobSpec calldata spec,
        bytes32 jobId,
        Status status,
        Fault fault,
        bytes32 evidenceHash,
        Payout memory payout
    ) internal {
        _slots[spec.requestHash].status = status;
        emit IJobs.JobEnded(jobId, status, fault, evidenceHash, payout);
    }

    /// Pay the provider and give its stake back.
    function _mature(JobSpec calldata spec, bytes32 jobId, uint32 units) internal {
        _maturePaying(spec, jobId, units, 0);
    }

    /// As `_mature`, with `extra` from a lost challenge.
    function _maturePaying(JobSpec calldata spec, bytes32 jobId, uint32 units, uint256 extra) internal {
        Payout memory payout;
        payout.paid = uint128(Escrows.earned(spec, units) + extra);
        payout.stakeReturned = uint128(Escrows.stake(Escrows.lockedBy(spec), spec));
        _releaseProvider(spec.token, spec.provider, payout.paid, payout.stakeReturned, Tally.Settled);
        _end(spec, jobId, Status.Matured, Fault.None, 0, payout);
    }

    /// Void a request that has no job.
    function _void(bytes32 requestHash) internal {
        _checkUnused(requestHash);
        _slots[requestHash].status = Status.Cancelled;
    }

    /// The job's id, if it is in the state, within its window.
    function _timely(JobSpec calldata spec, Status expected, bytes32 stage) internal view returns (bytes32 jobId) {
        uint40 deadline;
        (jobId, deadline) = _opened(spec, expected, stage);
        require(block.timestamp <= deadline, IJobs.TooLate(spec.requestHash, block.timestamp, deadline));
    }

    /// The job's id, if it is in the state, after its window.
    function _overdue(JobSpec calldata spec, Status expected, bytes32 stage) internal view returns (bytes32 jobId) {
        uint40 deadline;
        (jobId, deadline) = _opened(spec, expected, stage);
        require(block.timestamp > deadline, IJobs.TooEarly(spec.requestHash, block.timestamp, deadline));
    }

    function _statusOf(bytes32 requestHash) internal view returns (Status) {
        return _slots[requestHash].status;
    }

    function _checkUnused(bytes32 requestHash) internal view {
        require(_slots[requestHash].status == Status.None, IOrders.RequestUsed(requestHash));
    }

    function _checkSignature(address signer, bytes32 digest, bytes calldata signature) internal view {
        require(Signatures.isValid(signer, digest, signature), IOrders.BadSignature(signer, digest));
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
        Epoch memory found = _openedEpoch(epoch, members);
        require(signatures.length == required, IJobs.WrongSignatureCount(signatures.length, required));
        for (uint256 i = 0; i < signatures.length; ++i) {
            signers |= _checkNode(found, members, signatures[i], digest, i, signers);
        }
    }

    /// Check one member's signature; `before` are those already seen, with lower indices.
    /// @return bit The member's place in the bitmap.
    function _checkNode(
        Epoch memory found,
        Members calldata members,
        NodeSignature calldata signature,
        bytes32 digest,
        uint256 position,
        uint256 before
    ) internal pure returns (uint256 bit) {
        uint8 index = signature.index;
        bit = uint256(1) << index;
        require(
            index < found.members && before < bit && found.removed & bit == 0, IJobs.BadSignerIndex(index, position)
        );
        address expected = members.signers[index];
        address got = Signatures.recover(digest, signature.r, signature.vs);
        require(got == expected, IJobs.WrongNode(index, got, expected));
    }

    /// What `Accepted` adds to the commitment.
    function _stageOf(Enclave calldata enclave) internal pure returns (bytes32) {
        return keccak256(abi.encode(enclave));
    }

    /// What `Settled` adds to the commitment.
    function _stageOf(Receipt calldata receipt) internal pure returns (bytes32) {
        return keccak256(abi.encode(receipt));
    }

    function _opened(JobSpec calldata spec, Status expected, bytes32 stage)
        private
        view
        returns (bytes32 jobId, uint40 deadline)
    {
        Slot memory slot = _slots[spec.requestHash];
        require(slot.status == expected, IJobs.UnexpectedStatus(spec.requestHash, slot.status, expected));
        jobId = _digest(TypedData.hash(spec));
        uint208 commitment = _commit(jobId, stage);
        require(
            commitment == slot.commitment, IJobs.WrongCommitment(spec.requestHash, commitment, slot.commitment)
        );
        deadline = slot.deadline;
    }

    function _commit(bytes32 jobId, bytes32 stage) private pure returns (uint208) {
        return uint208(uint256(keccak256(abi.encode(jobId, stage))));
    }
}
