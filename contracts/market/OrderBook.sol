// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {Counterparts} from "../libraries/Counterparts.sol";
import {JobBook} from "./JobBook.sol";

/// @title Validity and volume of signed orders
abstract contract OrderBook is JobBook {
    /// Check an order with a volume and count one job under it.
    function _countOrder(address signer, bytes32 orderHash, uint32 volume) internal {
        uint256 used = _used[signer][orderHash];
        if (used >= volume) revert IOrders.OrderFilled(orderHash, used, volume);
        _used[signer][orderHash] = used + 1;
    }

    /// Check that an order without a volume was not cancelled.
    function _checkNotCancelled(address signer, bytes32 orderHash) internal view {
        uint256 used = _used[signer][orderHash];
        if (used != 0) revert IOrders.OrderFilled(orderHash, used, type(uint32).max);
    }

    function _checkSigned(
        address token,
        address signer,
        bytes32 orderHash,
        uint64 generation,
        uint64 expiry,
        bytes calldata signature
    ) internal view {
        if (block.timestamp > expiry) revert IOrders.OrderExpired(orderHash, block.timestamp, expiry);
        _checkGeneration(token, signer, generation);
        _checkSignature(signer, _digest(orderHash), signature);
    }

    function _checkGeneration(address token, address signer, uint64 got) internal view {
        uint16 generation = _accounts[token][signer].generation();
        if (got != generation) revert IOrders.WrongGeneration(token, signer, got, generation);
    }

    function _checkIncluded(bytes32 root, address party, bytes32[] calldata proof) internal pure {
        if (!Counterparts.includes(root, party, proof)) revert IOrders.NotInSet(party, root);
    }
}
