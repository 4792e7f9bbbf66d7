// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Cancelling} from "./market/Cancelling.sol";
import {Challenges} from "./market/Challenges.sol";
import {Interrupting} from "./market/Interrupting.sol";
import {Ledger} from "./market/Ledger.sol";
import {MarketState, Parameters} from "./market/MarketState.sol";
import {Maturing} from "./market/Maturing.sol";
import {Readings} from "./market/Readings.sol";
import {Roles} from "./market/Roles.sol";

/// @title The half of the market's code that is not on every job's way: money, cancelling, rarer ends, readings
/// @dev Runs by delegatecall from the Market that created it, in that market's storage (see MarketState). Called at its
/// own address it finds storage in which no token is admitted, so nobody's money can come to lie there.
contract TradeDesk is Ledger, Cancelling, Interrupting, Maturing, Challenges, Roles, Readings {
    constructor(address market, Parameters memory parameters) MarketState(market, parameters) {}
}
