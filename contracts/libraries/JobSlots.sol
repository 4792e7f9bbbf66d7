// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Status} from "../types/Jobs.sol";

/// @notice A job in one uint256: status (8 bits), deadline of its current window (40), and a commitment to
/// everything else (208): finding another opening of it means inverting 208 bits.
type JobSlot is uint256;

using JobSlots for JobSlot global;

/// @title Reading and making a JobSlot
library JobSlots {
    uint256 private constant DEADLINE_AT = 8;
    uint256 private constant COMMITMENT_AT = 48;

    function make(Status status_, uint40 deadline_, uint208 commitment_) internal pure returns (JobSlot) {
        return JobSlot.wrap(
            uint256(uint8(status_)) | (uint256(deadline_) << DEADLINE_AT) | (uint256(commitment_) << COMMITMENT_AT)
        );
    }

    /// @notice What a slot commits to. All that a quote needs is named beside the bargain's hash; `stage` is what the
    /// steps so far added.
    function commit(bytes32 jobId, address provider, uint32 decideWindow, bytes32 bargainHash, bytes32 stage)
        internal
        pure
        returns (uint208)
    {
        return uint208(uint256(keccak256(abi.encode(jobId, provider, decideWindow, bargainHash, stage))));
    }

    function status(JobSlot slot) internal pure returns (Status) {
        return Status(uint8(JobSlot.unwrap(slot)));
    }

    function deadline(JobSlot slot) internal pure returns (uint40) {
        return uint40(JobSlot.unwrap(slot) >> DEADLINE_AT);
    }

    function commitment(JobSlot slot) internal pure returns (uint208) {
        return uint208(JobSlot.unwrap(slot) >> COMMITMENT_AT);
    }

    /// @notice The same slot in another status.
    function withStatus(JobSlot slot, Status status_) internal pure returns (JobSlot) {
        return JobSlot.wrap((JobSlot.unwrap(slot) & ~uint256(type(uint8).max)) | uint256(uint8(status_)));
    }
}
