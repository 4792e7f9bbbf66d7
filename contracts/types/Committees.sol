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
}

/// @notice One committee, in one slot.
struct Epoch {
    /// keccak256(abi.encode(signers, keysDigest)), truncated to its low 184 bits.
    uint184 membersHash;
    /// First second at which its signatures count.
    uint40 activeAt;
    uint8 members;
    uint8 threshold;
    /// Bit i: member i was proven to have signed two different decisions.
    uint16 removed;
}

/// @notice What the market keeps of an epoch that its jobs use: who may sign, without asking again.
struct Quorum {
    /// As in Epoch; never 0 once kept.
    uint184 membersHash;
    /// As in Epoch; the committee contract updates it when it changes.
    uint16 removed;
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
