// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title Sets of parties or of documents, each committed to by one bytes32
library Counterparts {
    /// @notice Whether `party` is in the set, as its word.
    function includes(bytes32 root, address party, bytes32[] calldata proof) internal pure returns (bool) {
        return includes(root, bytes32(uint256(uint160(party))), proof);
    }

    /// @notice Whether `member` is in the set: root 0 contains everything, any other is a sorted-pair Merkle root over
    /// the leaves keccak256(bytes.concat(keccak256(abi.encode(member)))).
    function includes(bytes32 root, bytes32 member, bytes32[] calldata proof) internal pure returns (bool) {
        if (root == 0) return true;
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(member))));
        return MerkleProof.verifyCalldata(proof, root, leaf);
    }
}
