// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ILedger} from "../interfaces/ILedger.sol";
import {Account, Tally} from "../types/Money.sol";
import {MarketState} from "./MarketState.sol";

/// @title Moving money between accounts
/// @dev The market holds at most 2^88 - 1 of a token (checked when it comes in), so no account can overflow and no
/// credit can fail.
abstract contract Accounts is MarketState {
    /// Add to a free balance.
    function _credit(address token, address holder, uint256 amount) internal {
        if (amount == 0) return;
        Account storage account = _accounts[token][holder];
        unchecked {
            account.free += uint88(amount);
        }
    }

    /// Take from a free balance, which must cover it.
    function _take(address token, address holder, uint256 amount) internal {
        Account storage account = _accounts[token][holder];
        uint256 free = account.free;
        if (amount > free) revert ILedger.InsufficientBalance(token, holder, free, amount);
        unchecked {
            account.free = uint88(free - amount);
        }
    }

    /// Take from a stake, which must cover it.
    function _lockStake(address token, address holder, uint256 amount) internal {
        Account storage account = _accounts[token][holder];
        uint256 staked = account.staked;
        if (amount > staked) revert ILedger.InsufficientStake(token, holder, staked, amount);
        unchecked {
            account.staked = uint88(staked - amount);
        }
    }

    /// Pay a provider, give back its stake, and count how its job ended: one write.
    function _releaseProvider(address token, address provider, uint256 paid, uint256 stakeReturned, Tally tally)
        internal
    {
        Account memory account = _accounts[token][provider];
        unchecked {
            account.free += uint88(paid);
            account.staked += uint88(stakeReturned);
            if (tally == Tally.Settled && account.settled != type(uint24).max) account.settled += 1;
            else if (tally == Tally.Refused && account.refused != type(uint16).max) account.refused += 1;
            else if (tally == Tally.Expired && account.expired != type(uint16).max) account.expired += 1;
            else if (tally == Tally.Failed && account.failed != type(uint8).max) account.failed += 1;
        }
        _accounts[token][provider] = account;
    }

    /// The fee of an admitted token.
    function _feeOf(address token) internal view returns (uint64) {
        Token memory found = _tokens[token];
        if (!found.admitted) revert ILedger.TokenNotAdmitted(token);
        return found.fee;
    }
}
