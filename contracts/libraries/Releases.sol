// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {AssetClaim} from "../types/Assets.sol";

/// @title What an oracle node signs when it releases its shares to an enclave
/// @dev The same digest as in Python, sealmarket_enclave.protocol.release. The job id names chain and market.
library Releases {
    bytes32 private constant DOMAIN = keccak256("sealmarket/release/1");

    /// @notice Hash of the ciphertexts, one for each asset of the job in its order.
    function sentHash(AssetClaim[] calldata claims, bytes[] calldata sealed_) internal pure returns (bytes32) {
        bytes memory rows;
        for (uint256 i = 0; i < claims.length; ++i) {
            rows = abi.encodePacked(rows, claims[i].assetId, keccak256(sealed_[i]));
        }
        return keccak256(rows);
    }

    /// @notice What node `index` signs (EIP-191).
    function digest(bytes32 jobId, bytes32 evidenceHash, uint8 index, bytes32 sent) internal pure returns (bytes32) {
        return MessageHashUtils.toEthSignedMessageHash(
            keccak256(abi.encode(DOMAIN, jobId, evidenceHash, uint256(index), sent))
        );
    }
}
