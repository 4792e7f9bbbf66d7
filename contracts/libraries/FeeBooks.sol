// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice Oracle fees of one (epoch, token) in one uint256: fee (64 bits), members (8), threshold (8), then 16 bits
/// for each member's unclaimed signatures.
type FeeBook is uint256;

using FeeBooks for FeeBook global;

/// @title Reading and counting in a FeeBook
library FeeBooks {
    uint256 private constant COUNTERS_AT = 80;
    uint256 private constant COUNTER_BITS = 16;
    uint256 private constant COUNTER_MAX = type(uint16).max;

    /// @notice A book with all counters at 0. `members_` is at least 1.
    function open(uint64 fee_, uint8 members_, uint8 threshold_) internal pure returns (FeeBook) {
        return FeeBook.wrap(uint256(fee_) | (uint256(members_) << 64) | (uint256(threshold_) << 72));
    }

    function isOpen(FeeBook book) internal pure returns (bool) {
        return members(book) != 0;
    }

    function fee(FeeBook book) internal pure returns (uint64) {
        return uint64(FeeBook.unwrap(book));
    }

    function members(FeeBook book) internal pure returns (uint8) {
        return uint8(FeeBook.unwrap(book) >> 64);
    }

    function threshold(FeeBook book) internal pure returns (uint8) {
        return uint8(FeeBook.unwrap(book) >> 72);
    }

    /// @notice Signatures that refuse or stop: enough that the other members cannot accept, and at least the threshold.
    function refusingQuorum(FeeBook book) internal pure returns (uint256) {
        unchecked {
            // The threshold is never above the number of members.
            uint256 t = threshold(book);
            uint256 blocking = members(book) - t + 1;
            return blocking > t ? blocking : t;
        }
    }

    /// @notice The most that a job's decision can cost.
    function reserve(FeeBook book) internal pure returns (uint256) {
        unchecked {
            return refusingQuorum(book) * fee(book);
        }
    }

    /// @notice What an acceptance costs: the fees of a threshold of signatures.
    function acceptance(FeeBook book) internal pure returns (uint256) {
        unchecked {
            return uint256(threshold(book)) * fee(book);
        }
    }

    function unclaimed(FeeBook book, uint256 index) internal pure returns (uint16) {
        return uint16(FeeBook.unwrap(book) >> _shift(index));
    }

    /// @notice Count one signature for each member in the bitmap.
    /// @return updated The new book. @return counted How many were counted: a full counter stays as it is.
    function count(FeeBook book, uint256 signers) internal pure returns (FeeBook updated, uint256 counted) {
        uint256 word = FeeBook.unwrap(book);
        unchecked {
            for (uint256 shift = COUNTERS_AT; signers != 0; shift += COUNTER_BITS) {
                if (signers & 1 != 0 && (word >> shift) & COUNTER_MAX != COUNTER_MAX) {
                    word += 1 << shift;
                    ++counted;
                }
                signers >>= 1;
            }
        }
        updated = FeeBook.wrap(word);
    }

    /// @notice Set a member's counter to 0 and return its old value.
    function claim(FeeBook book, uint256 index) internal pure returns (FeeBook updated, uint256 counted) {
        counted = unclaimed(book, index);
        updated = FeeBook.wrap(FeeBook.unwrap(book) - (counted << _shift(index)));
    }

    function _shift(uint256 index) private pure returns (uint256) {
        return COUNTERS_AT + COUNTER_BITS * index;
    }
}
