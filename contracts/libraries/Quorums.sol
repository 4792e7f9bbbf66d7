// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Signatures} from "./Signatures.sol";

/// @title Signatures of several members of a committee over one digest, or over one each
library Quorums {
    /// @notice Check one member's signature; `before` are those already seen, with lower indices.
    /// @param removed Bit of each member that was removed.
    /// @param position The signature's place among those given, for the error.
    /// @return bit The member's bit in the bitmap.
    function checkNode(
        uint256 removed,
        Members calldata members,
        NodeSignature calldata signature,
        bytes32 digest,
        uint256 position,
        uint256 before
    ) internal pure returns (uint256 bit) {
        uint8 index = signature.index;
        bit = uint256(1) << index;
        if (index >= members.signers.length || before >= bit || removed & bit != 0) {
            revert IJobs.BadSignerIndex(index, position);
        }
        address expected = members.signers[index];
        address got = Signatures.recover(digest, signature.r, signature.vs);
        if (got != expected) revert IJobs.WrongNode(index, got, expected);
    }
}
