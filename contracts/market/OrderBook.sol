// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {Counterparts} from "../libraries/Counterparts.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Request} from "../types/Orders.sol";
import {JobBook} from "./JobBook.sol";

/// @title Which signed orders still count
abstract contract OrderBook is JobBook {
    /// A volume that stands for "as often as the terms allow".
    uint32 internal constant UNCOUNTED = type(uint32).max;

    /// See {IOrders-cancelOrder}.
    function cancelOrder(bytes32 orderHash) external {
        _used[msg.sender][orderHash] = type(uint256).max;
        emit IOrders.OrderCancelled(msg.sender, orderHash);
    }

    /// See {IOrders-cancelAllOrders}.
    function cancelAllOrders() external {
        uint64 generation = _generations[msg.sender] + 1;
        _generations[msg.sender] = generation;
        emit IOrders.AllOrdersCancelled(msg.sender, generation);
    }

    /// See {IOrders-cancelRequest}.
    function cancelRequest(Request calldata request) external {
        require(
            msg.sender == request.consumer || msg.sender == request.payer,
            IOrders.NotRequestParty(msg.sender, request.consumer, request.payer)
        );
        bytes32 requestHash = TypedData.hash(request);
        _void(requestHash);
        emit IOrders.RequestCancelled(requestHash, msg.sender);
    }

    /// Check an order with a volume and count one job under it.
    function _useOrder(
        address signer,
        bytes32 orderHash,
        uint256 salt,
        uint64 expiry,
        uint32 volume,
        bytes calldata signature
    ) internal {
        uint256 used = _used[signer][orderHash];
        require(
            volume == UNCOUNTED ? used == 0 : used < volume, IOrders.OrderFilled(orderHash, used, volume)
        );
        _checkSigned(signer, orderHash, salt, expiry, signature);
        if (volume == UNCOUNTED) return;
        _used[signer][orderHash] = used + 1;
        emit IOrders.OrderUsed(signer, orderHash);
    }

    function _checkSigned(
        address signer,
        bytes32 orderHash,
        uint256 salt,
        uint64 expiry,
        bytes calldata signature
    ) internal view {
        require(block.timestamp <= expiry, IOrders.OrderExpired(orderHash, block.timestamp, expiry));
        uint64 generation = _generations[signer];
        uint64 got = uint64(salt >> 192);
        require(got == generation, IOrders.WrongGeneration(signer, got, generation));
        _checkSignature(signer, _digest(orderHash), signature);
    }

    function _checkIncluded(bytes32 root, address party, bytes32[] calldata proof) internal pure {
        require(Counterparts.includes(root, party, proof), IOrders.NotInSet(party, root));
    }
}
