// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MarketExtension} from "./MarketExtension.sol";
import {IJobs} from "./interfaces/IJobs.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {Closing} from "./market/Closing.sol";
import {MarketState, Parameters} from "./market/MarketState.sol";
import {Matching} from "./market/Matching.sol";
import {Settling} from "./market/Settling.sol";
import {Verdicts} from "./market/Verdicts.sol";
import {TokenFee, Windows} from "./types/Money.sol";

/// @title The market
/// @dev Answers everything in IMarket. The steps that every job takes are here, so that they cost least; all other
/// calls are passed to the MarketExtension, whose code runs in this contract's storage.
contract Market is Matching, Verdicts, Settling, Closing {
    /// See {IMarket-extension}.
    address public immutable extension;

    /// @dev Registry and committee are deployed first, with this contract's address-to-be: each must name it.
    constructor(Parameters memory parameters, Windows memory minimums, TokenFee[] memory tokens)
        MarketState(address(this), parameters)
        Matching(minimums)
    {
        _checkServes(parameters.registry.market());
        _checkServes(parameters.committee.market());
        extension = address(new MarketExtension(address(this), parameters));
        for (uint256 i = 0; i < tokens.length; ++i) {
            _admit(tokens[i].token, tokens[i].fee);
        }
    }

    /// Run a call with the extension's code, and return or revert as it does.
    // solhint-disable-next-line no-complex-fallback
    fallback() external payable {
        address target = extension;
        // solhint-disable-next-line no-inline-assembly
        assembly {
            calldatacopy(0, 0, calldatasize())
            let succeeded := delegatecall(gas(), target, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if succeeded { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }

    /// Coin comes in by `deposit` alone.
    receive() external payable {
        revert ILedger.WrongValue(msg.value, 0);
    }

    /// See {IMarket-batch}.
    function batch(bytes[] calldata calls) external returns (bool[] memory succeeded) {
        succeeded = new bool[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            bytes memory answer;
            // Into this very contract and as the same caller: no more power than the calls one by one.
            // solhint-disable-next-line avoid-low-level-calls
            (succeeded[i], answer) = address(this).delegatecall(calls[i]);
            if (!succeeded[i]) emit IJobs.BatchEntryFailed(i, answer);
        }
    }

    function _admit(address token, uint64 fee) private {
        if (_tokens[token].admitted || (token != address(0) && token.code.length == 0)) {
            revert ILedger.BadToken(token);
        }
        _tokens[token] = Token({admitted: true, fee: fee});
        emit ILedger.TokenAdmitted(token, fee);
    }

    function _checkServes(address named) private view {
        if (named != address(this)) revert IJobs.WrongMarket(named, address(this));
    }
}
