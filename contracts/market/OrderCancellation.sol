// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {JobSlots} from "../libraries/JobSlots.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Status} from "../types/Jobs.sol";
import {Request} from "../types/Orders.sol";
import {JobBook} from "./JobBook.sol";

/// @title Cancellation of orders and requests
abstract contract OrderCancellation is JobBook {
    /// See {IOrders-cancelOrder}.
    function cancelOrder(bytes32 orderHash) external {
        _used[msg.sender][orderHash] = type(uint256).max;
        emit IOrders.OrderCancelled(msg.sender, orderHash);
    }

    /// See {IOrders-cancelAllOrders}.
    function cancelAllOrders(address token) external {
        uint16 generation = _accounts[token][msg.sender].generation();
        if (generation == type(uint16).max) revert IOrders.NoGenerationLeft(token, msg.sender);
        _accounts[token][msg.sender] = _accounts[token][msg.sender].nextGeneration();
        emit IOrders.AllOrdersCancelled(token, msg.sender, generation + 1);
    }

    /// See {IOrders-cancelRequest}.
    function cancelRequest(Request calldata request) external {
        if (msg.sender != request.consumer && msg.sender != request.payer) {
            revert IOrders.NotRequestParty(msg.sender, request.consumer, request.payer);
        }
        bytes32 requestHash = TypedData.hash(request);
        _checkUnused(requestHash);
        _slots[requestHash] = JobSlots.make(Status.Cancelled, 0, 0);
        emit IOrders.RequestCancelled(requestHash, msg.sender);
    }
}
