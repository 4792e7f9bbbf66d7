// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice An Entry in one word: account (160 bits), units (88, of which the signed type has 64), last (8). What a
/// tab paid by it has the same form, with an amount in place of the units.
type EntryWord is bytes32;

using EntryWords for EntryWord global;

/// @title Reading and making an EntryWord
library EntryWords {
    uint256 private constant ACCOUNT_AT = 96;
    uint256 private constant UNITS_AT = 8;
    uint256 private constant UNITS = type(uint88).max;
    uint256 private constant LAST = type(uint8).max;

    /// @notice The caller has checked that each fits its field.
    function make(address account_, uint256 units_, bool last_) internal pure returns (EntryWord) {
        uint256 word = (uint256(uint160(account_)) << ACCOUNT_AT) | (units_ << UNITS_AT);
        return EntryWord.wrap(bytes32(last_ ? word | 1 : word));
    }

    /// @notice The entry at a place below the length, which the caller has checked.
    function at(EntryWord[] calldata entries, uint256 place) internal pure returns (EntryWord entry) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            entry := calldataload(add(entries.offset, shl(5, place)))
        }
    }

    /// @notice Write an entry to a place below the length, which the caller has checked.
    function put(EntryWord[] memory entries, uint256 place, EntryWord entry) internal pure {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(add(add(entries, 0x20), shl(5, place)), entry)
        }
    }

    function account(EntryWord entry) internal pure returns (address) {
        return address(uint160(uint256(EntryWord.unwrap(entry)) >> ACCOUNT_AT));
    }

    /// @notice Less than 2^88, whatever the word is.
    function units(EntryWord entry) internal pure returns (uint256) {
        return (uint256(EntryWord.unwrap(entry)) >> UNITS_AT) & UNITS;
    }

    /// @notice Whether the account is served no more. As a number the field is 0 or 1 in all that is ever signed.
    function last(EntryWord entry) internal pure returns (bool) {
        return uint256(EntryWord.unwrap(entry)) & LAST != 0;
    }

    /// @notice The same entry with an amount below 2^88 in place of its units.
    function withUnits(EntryWord entry, uint256 units_) internal pure returns (EntryWord) {
        uint256 rest = uint256(EntryWord.unwrap(entry)) & ~(UNITS << UNITS_AT);
        return EntryWord.wrap(bytes32(rest | (units_ << UNITS_AT)));
    }
}
