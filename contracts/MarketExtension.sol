// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {OrderCancellation} from "./market/OrderCancellation.sol";
import {Challenges} from "./market/Challenges.sol";
import {Interrupting} from "./market/Interrupting.sol";
import {Ledger} from "./market/Ledger.sol";
import {MarketState, Parameters} from "./market/MarketState.sol";
import {Maturing} from "./market/Maturing.sol";
import {Readings} from "./market/Readings.sol";
import {Roles} from "./market/Roles.sol";

/// @title The market's code that few jobs need: accounts, cancellation, the rarer ends, views
/// @dev Runs by delegatecall from the Market that created it, in that market's storage (see MarketState). Called at its
/// own address it reads storage in which no token is admitted, so it cannot receive deposits.
contract MarketExtension is Ledger, OrderCancellation, Interrupting, Maturing, Challenges, Roles, Readings {
    constructor(address market, Parameters memory parameters) MarketState(market, parameters) {}
}
