// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Challenges} from "./market/Challenges.sol";
import {Closing} from "./market/Closing.sol";
import {Delegating} from "./market/Delegating.sol";
import {Interrupting} from "./market/Interrupting.sol";
import {MarketState, Parameters} from "./market/MarketState.sol";
import {Maturing} from "./market/Maturing.sol";
import {Missing} from "./market/Missing.sol";

/// @title The market's code for the ends that few jobs have
/// @dev Runs by delegatecall from the Market, in its storage (see MarketState), and passes on what it does not know to
/// the MarketExtension.
contract MarketEndings is Interrupting, Missing, Closing, Maturing, Challenges, Delegating {
    /// See {IMarket-extension}.
    address public immutable extension;

    constructor(address market, Parameters memory parameters, address extension_) MarketState(market, parameters) {
        extension = extension_;
    }

    // solhint-disable-next-line no-complex-fallback
    fallback() external payable {
        _delegate(extension);
    }
}
