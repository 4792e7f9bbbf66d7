// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Challenges} from "./market/Challenges.sol";
import {Ledger} from "./market/Ledger.sol";
import {MarketState, Parameters} from "./market/MarketState.sol";
import {Matching} from "./market/Matching.sol";
import {Windows} from "./types/Money.sol";

/// @title The half of the market's code that money, orders, matches and challenges run in
/// @dev Runs by delegatecall from the Market that created it, in that market's storage (see MarketState). Called at its
/// own address it finds storage in which no token is admitted, so nobody's money can come to lie there.
contract TradeDesk is Ledger, Matching, Challenges {
    constructor(address market, Parameters memory parameters, Windows memory minimums)
        MarketState(market, parameters)
        Matching(minimums)
    {}
}
