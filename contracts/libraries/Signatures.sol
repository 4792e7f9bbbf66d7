// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Signatures of accounts: ECDSA first, the signer's own contract (ERC-1271) second
/// @dev ECDSA refuses the zero signer and high s. ECDSA first is cheaper, and an account that has both a key and
/// code can still sign with its key.
library Signatures {
    /// Bounds the gas that a signer's contract can use of a batch.
    uint256 internal constant ERC1271_GAS = 400_000;

    /// @notice Whether `signature` over `digest` is `signer`'s.
    function isValid(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (signer == address(0)) return false;
        if (recover(digest, signature) == signer) return true;
        return signer.code.length > 0 && _isAcceptedByContract(signer, digest, signature);
    }

    /// @notice Who signed, by ECDSA alone, with 65 bytes or the 64 of EIP-2098; address(0) if the signature is none.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address recovered) {
        if (signature.length == 64) return recover(digest, bytes32(signature[0:32]), bytes32(signature[32:64]));
        if (signature.length != 65) return address(0);
        (recovered,,) = ECDSA.tryRecover(
            digest, uint8(signature[64]), bytes32(signature[0:32]), bytes32(signature[32:64])
        );
    }

    /// @notice Who signed, of a compact (EIP-2098) signature; address(0) if it is none.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal pure returns (address recovered) {
        (recovered,,) = ECDSA.tryRecover(digest, r, vs);
    }

    function _isAcceptedByContract(address signer, bytes32 digest, bytes calldata signature)
        private
        view
        returns (bool)
    {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        bool answered;
        bytes32 answer;
        // One word of the answer is copied, however long it is.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            answered := staticcall(ERC1271_GAS, signer, add(question, 0x20), mload(question), 0, 0x20)
            answered := and(answered, eq(returndatasize(), 0x20))
            answer := mload(0)
        }
        return answered && answer == bytes32(IERC1271.isValidSignature.selector);
    }
}
