// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {Counterparts} from "../libraries/Counterparts.sol";
import {JobBook} from "./JobBook.sol";

/// @title Which signed orders still count
abstract contract OrderBook is JobBook {
    /// Check an order with a volume and count one job under it.
    function _countOrder(address signer, bytes32 orderHash, uint32 volume) internal {
        uint256 used = _used[signer][orderHash];
        require(used < volume, IOrders.OrderFilled(orderHash, used, volume));
        _used[signer][orderHash] = used + 1;
    }

    /// Check that an order without a volume was not cancelled.
    function _checkNotCancelled(address signer, bytes32 orderHash) internal view {
        uint256 used = _used[signer][orderHash];
        require(used == 0, IOrders.OrderFilled(orderHash, used, type(uint32).max));
    }

    function _checkSigned(
        address token,
        address signer,
        bytes32 orderHash,
        uint256 salt,
        uint64 expiry,
        bytes calldata signature
    ) internal view {
        require(block.timestamp <= expiry, IOrders.OrderExpired(orderHash, block.timestamp, expiry));
        uint16 generation = _accounts[token][signer].generation;
        uint64 got = uint64(salt >> 192);
        require(got == generation, IOrders.WrongGeneration(token, signer, got, generation));
        _checkSignature(signer, _digest(orderHash), signature);
    }

    function _checkIncluded(bytes32 root, address party, bytes32[] calldata proof) internal pure {
        require(Counterparts.includes(root, party, proof), IOrders.NotInSet(party, root));
    }
}
