// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {Counterparts} from "../libraries/Counterparts.sol";
import {JobBook} from "./JobBook.sol";

/// @title Validity and volume of signed orders
abstract contract OrderBook is JobBook {
    /// A volume that means "as often as stake or terms allow": such an order is not counted, which saves a write.
    uint32 internal constant UNCOUNTED = type(uint32).max;

    /// Check that an order is neither filled nor cancelled, and count one job under it if it has a volume.
    function _useOrder(address signer, bytes32 orderHash, uint32 volume) internal {
        uint256 used = _used[signer][orderHash];
        if (used >= volume) revert IOrders.OrderFilled(orderHash, used, volume);
        if (volume == UNCOUNTED) return;
        _used[signer][orderHash] = used + 1;
        emit IOrders.OrderUsed(signer, orderHash);
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
