// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Decision} from "./Jobs.sol";

/// @dev Most members of a committee: as many as one fee slot has counters for.
uint256 constant MAX_MEMBERS = 11;

/// @notice The opening of a committee's hash, passed along with signatures.
struct Members {
    address[] signers;
    /// keccak256(abi.encodePacked(hpkeKeyHashes)), in the order of the signers.
    bytes32 keysDigest;
    /// Bit i: member i was removed.
    uint16 removed;
}

/// @notice One committee.
struct Epoch {
    /// keccak256(abi.encode(signers, keysDigest, removed)).
    bytes32 membersHash;
    /// First second at which its signatures count.
    uint40 activeAt;
    uint8 members;
    uint8 threshold;
    /// Bit i: member i was proven to have signed what excludes something else that it signed.
    uint16 removed;
    /// Last second at which a new job of this epoch may still be under way; 0 while no end is announced.
    uint40 endsAt;
}

/// @notice One node's signature (EIP-2098 compact form). `detail` is part of a Decision only; 0 elsewhere.
struct NodeSignature {
    uint8 index;
    bytes32 detail;
    bytes32 r;
    bytes32 vs;
}

/// @notice A decision with one node's signature, as evidence of equivocation.
struct SignedDecision {
    Decision decision;
    bytes32 r;
    bytes32 vs;
}

/// @notice A node's promise that it has not released its shares for a job and never will, with its signature.
struct SignedStop {
    bytes32 jobId;
    bytes32 evidenceHash;
    uint256 reasons;
    bytes32 r;
    bytes32 vs;
}

/// @notice What a node signed when it released its shares: libraries/Releases.sol has the hashes.
struct SignedRelease {
    bytes32 sentHash;
    bytes32 r;
    bytes32 vs;
}
