// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IMarket} from "./interfaces/IMarket.sol";
import {Redeeming} from "./sessions/Redeeming.sol";
import {Renewals} from "./sessions/Renewals.sol";
import {SessionState} from "./sessions/SessionState.sol";
import {Tabs} from "./sessions/Tabs.sol";

/// @title Sessions
/// @dev Documented in ISessions. It calls the market, its registry and its committee, and no code of others: none of
/// the calls that it makes can come back to it.
contract Sessions is Tabs, Redeeming, Renewals {
    constructor(IMarket market_) SessionState(market_) {}
}
