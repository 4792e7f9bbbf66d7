// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Ledger} from "./market/Ledger.sol";
import {MarketState, Parameters} from "./market/MarketState.sol";
import {OrderCancellation} from "./market/OrderCancellation.sol";
import {Readings} from "./market/Readings.sol";
import {Roles} from "./market/Roles.sol";

/// @title The market's code that no job needs: accounts, cancellation of orders, roles, views
/// @dev Runs by delegatecall from the MarketEndings, in the market's storage (see MarketState). Called at its own
/// address it reads storage in which no token is admitted, so it cannot receive deposits.
contract MarketExtension is Ledger, OrderCancellation, Roles, Readings {
    constructor(address market, Parameters memory parameters) MarketState(market, parameters) {}
}
