// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ILedger} from "../interfaces/ILedger.sol";
import {AccountWord} from "../libraries/AccountWords.sol";
import {Tally} from "../types/Money.sol";
import {MarketState} from "./MarketState.sol";

/// @title Moving money between accounts
/// @dev The market holds at most 2^88 - 1 of a token (checked when it comes in), so no account can overflow and no
/// credit can fail.
abstract contract Accounts is MarketState {
    /// Add to a free balance.
    function _credit(address token, address holder, uint256 amount) internal {
        if (amount == 0) return;
        _accounts[token][holder] = _accounts[token][holder].plus(amount, 0);
    }

    /// Take from a free balance, which must cover it.
    function _take(address token, address holder, uint256 amount) internal {
        AccountWord account = _accounts[token][holder];
        if (amount > account.free()) revert ILedger.InsufficientBalance(token, holder, account.free(), amount);
        _accounts[token][holder] = account.minus(amount, 0);
    }

    /// Take from a free balance, and what that lacks from the stake that no job holds.
    function _takeWithStake(address token, address holder, uint256 amount) internal {
        AccountWord account = _accounts[token][holder];
        uint256 free = amount < account.free() ? amount : account.free();
        uint256 lacking = amount - free;
        if (lacking > account.staked()) revert ILedger.InsufficientStake(token, holder, account.staked(), lacking);
        _accounts[token][holder] = account.minus(free, lacking);
    }

    /// Take from a stake, which must cover it.
    function _lockStake(address token, address holder, uint256 amount) internal {
        AccountWord account = _accounts[token][holder];
        if (amount > account.staked()) revert ILedger.InsufficientStake(token, holder, account.staked(), amount);
        _accounts[token][holder] = account.minus(0, amount);
    }

    /// Pay a provider, give back its stake, and count how its job ended: one write.
    function _releaseProvider(address token, address provider, uint256 paid, uint256 stakeReturned, Tally tally)
        internal
    {
        _accounts[token][provider] = _accounts[token][provider].plus(paid, stakeReturned).counted(tally);
    }

    /// The fee of an admitted token.
    function _feeOf(address token) internal view returns (uint64) {
        Token memory found = _tokens[token];
        if (!found.admitted) revert ILedger.TokenNotAdmitted(token);
        return found.fee;
    }
}
