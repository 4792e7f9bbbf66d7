// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice What a service has earned, in one uint256: redeemed (64 bits), credited (64), bond (88), last (8).
type AccrualWord is uint256;

using AccrualWords for AccrualWord global;

/// @title Reading and changing an AccrualWord
library AccrualWords {
    uint256 private constant CREDITED_AT = 64;
    uint256 private constant BOND_AT = 128;
    uint256 private constant LAST_AT = 216;

    /// @notice The caller has checked that each fits its field.
    function make(uint64 redeemed_, uint64 credited_, uint256 bond_, bool last_)
        internal
        pure
        returns (AccrualWord)
    {
        uint256 word = uint256(redeemed_) | (uint256(credited_) << CREDITED_AT) | (bond_ << BOND_AT);
        return AccrualWord.wrap(last_ ? word | (1 << LAST_AT) : word);
    }

    /// @notice The highest total of a statement.
    function redeemed(AccrualWord accrued) internal pure returns (uint64) {
        return uint64(AccrualWord.unwrap(accrued));
    }

    /// @notice Units for which the owners were credited.
    function credited(AccrualWord accrued) internal pure returns (uint64) {
        return uint64(AccrualWord.unwrap(accrued) >> CREDITED_AT);
    }

    /// @notice The provider's money, from which royalties and renewals are paid.
    function bond(AccrualWord accrued) internal pure returns (uint256) {
        return uint88(AccrualWord.unwrap(accrued) >> BOND_AT);
    }

    /// @notice Whether the last statement was redeemed.
    function last(AccrualWord accrued) internal pure returns (bool) {
        return AccrualWord.unwrap(accrued) >> LAST_AT != 0;
    }

    /// @notice The same with another bond; the caller has checked that it fits.
    function withBond(AccrualWord accrued, uint256 bond_) internal pure returns (AccrualWord) {
        return make(accrued.redeemed(), accrued.credited(), bond_, accrued.last());
    }

    /// @notice The same with all royalties credited.
    function allCredited(AccrualWord accrued) internal pure returns (AccrualWord) {
        return make(accrued.redeemed(), accrued.redeemed(), accrued.bond(), accrued.last());
    }
}
