// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Account, Tally} from "../types/Money.sol";

/// @notice An Account in one uint256, in the order of its fields: free (88 bits), staked (88), generation (16), settled
/// (24), refused (16), expired (16), failed (8).
type AccountWord is uint256;

using AccountWords for AccountWord global;

/// @title Reading and changing an AccountWord
/// @dev Sums of amounts need no check: the market holds less than 2^88 of a token, so no field overflows into the next.
library AccountWords {
    uint256 private constant AMOUNT = type(uint88).max;
    uint256 private constant STAKED_AT = 88;
    uint256 private constant GENERATION_AT = 176;
    uint256 private constant SETTLED_AT = 192;
    uint256 private constant REFUSED_AT = 216;
    uint256 private constant EXPIRED_AT = 232;
    uint256 private constant FAILED_AT = 248;

    function free(AccountWord account) internal pure returns (uint256) {
        return AccountWord.unwrap(account) & AMOUNT;
    }

    function staked(AccountWord account) internal pure returns (uint256) {
        return (AccountWord.unwrap(account) >> STAKED_AT) & AMOUNT;
    }

    function generation(AccountWord account) internal pure returns (uint16) {
        return uint16(AccountWord.unwrap(account) >> GENERATION_AT);
    }

    /// @notice The same account with more of both.
    function plus(AccountWord account, uint256 free_, uint256 staked_) internal pure returns (AccountWord) {
        unchecked {
            return AccountWord.wrap(AccountWord.unwrap(account) + free_ + (staked_ << STAKED_AT));
        }
    }

    /// @notice The same account with less of both; the caller has checked that it holds them.
    function minus(AccountWord account, uint256 free_, uint256 staked_) internal pure returns (AccountWord) {
        unchecked {
            return AccountWord.wrap(AccountWord.unwrap(account) - free_ - (staked_ << STAKED_AT));
        }
    }

    /// @notice The same account one generation on; the caller has checked that there is one.
    function nextGeneration(AccountWord account) internal pure returns (AccountWord) {
        unchecked {
            return AccountWord.wrap(AccountWord.unwrap(account) + (1 << GENERATION_AT));
        }
    }

    /// @notice The same account with one more of a counter, which stops at its maximum.
    function counted(AccountWord account, Tally tally) internal pure returns (AccountWord) {
        if (tally == Tally.Settled) return _counted(account, SETTLED_AT, type(uint24).max);
        if (tally == Tally.Refused) return _counted(account, REFUSED_AT, type(uint16).max);
        if (tally == Tally.Expired) return _counted(account, EXPIRED_AT, type(uint16).max);
        if (tally == Tally.Failed) return _counted(account, FAILED_AT, type(uint8).max);
        return account;
    }

    function unpack(AccountWord account) internal pure returns (Account memory) {
        uint256 word = AccountWord.unwrap(account);
        return Account({
            free: uint88(word),
            staked: uint88(word >> STAKED_AT),
            generation: uint16(word >> GENERATION_AT),
            settled: uint24(word >> SETTLED_AT),
            refused: uint16(word >> REFUSED_AT),
            expired: uint16(word >> EXPIRED_AT),
            failed: uint8(word >> FAILED_AT)
        });
    }

    function _counted(AccountWord account, uint256 at, uint256 most) private pure returns (AccountWord) {
        uint256 word = AccountWord.unwrap(account);
        if ((word >> at) & most == most) return account;
        unchecked {
            return AccountWord.wrap(word + (1 << at));
        }
    }
}
