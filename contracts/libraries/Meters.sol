// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice What a version still sells, and the rules of new matches, in one uint256: maxUses (32 bits), usesTaken (32),
/// budget (40), budgetTaken (40), perJobCap (32), epoch (16), termsVersion (16), maxHold (32), timeoutShare (8),
/// suspended (8).
type Meter is uint256;

using Meters for Meter global;

/// @title Reading and moving a Meter
library Meters {
    uint256 private constant USES_TAKEN_AT = 32;
    uint256 private constant BUDGET_AT = 64;
    uint256 private constant BUDGET_TAKEN_AT = 104;
    uint256 private constant PER_JOB_CAP_AT = 144;
    uint256 private constant EPOCH_AT = 176;
    uint256 private constant TERMS_VERSION_AT = 192;
    uint256 private constant MAX_HOLD_AT = 208;
    uint256 private constant TIMEOUT_SHARE_AT = 240;
    uint256 private constant SUSPENDED_AT = 248;
    /// The fields that terms do not set: what was taken, the epoch, and whether the version is suspended.
    uint256 private constant KEPT = (uint256(type(uint32).max) << USES_TAKEN_AT)
        | (uint256(type(uint40).max) << BUDGET_TAKEN_AT) | (uint256(type(uint16).max) << EPOCH_AT)
        | (uint256(type(uint8).max) << SUSPENDED_AT);

    /// @notice A meter of which nothing is taken and to which no terms are set yet.
    function ofEpoch(uint16 epoch_) internal pure returns (Meter) {
        return Meter.wrap(uint256(epoch_) << EPOCH_AT);
    }

    /// @notice The same meter under other terms.
    function under(
        Meter meter,
        uint32 maxUses_,
        uint40 budget_,
        uint32 perJobCap_,
        uint32 maxHold_,
        uint8 timeoutShare_,
        uint16 termsVersion_
    ) internal pure returns (Meter) {
        uint256 set = uint256(maxUses_) | (uint256(budget_) << BUDGET_AT) | (uint256(perJobCap_) << PER_JOB_CAP_AT)
            | (uint256(termsVersion_) << TERMS_VERSION_AT) | (uint256(maxHold_) << MAX_HOLD_AT)
            | (uint256(timeoutShare_) << TIMEOUT_SHARE_AT);
        return Meter.wrap((Meter.unwrap(meter) & KEPT) | set);
    }

    /// @notice The same meter under terms that only their version tells apart.
    function renumbered(Meter meter, uint16 termsVersion_) internal pure returns (Meter) {
        uint256 mask = uint256(type(uint16).max) << TERMS_VERSION_AT;
        return Meter.wrap((Meter.unwrap(meter) & ~mask) | (uint256(termsVersion_) << TERMS_VERSION_AT));
    }

    /// @notice With one more use and `epsilon` more budget taken; the caller has checked that they are left.
    function taking(Meter meter, uint256 epsilon) internal pure returns (Meter) {
        unchecked {
            return Meter.wrap(Meter.unwrap(meter) + (1 << USES_TAKEN_AT) + (epsilon << BUDGET_TAKEN_AT));
        }
    }

    /// @notice With one use and `epsilon` of budget given back, of those that were taken.
    function returning(Meter meter, uint256 epsilon) internal pure returns (Meter) {
        unchecked {
            return Meter.wrap(Meter.unwrap(meter) - (1 << USES_TAKEN_AT) - (epsilon << BUDGET_TAKEN_AT));
        }
    }

    function withSuspended(Meter meter, bool suspended_) internal pure returns (Meter) {
        uint256 mask = uint256(type(uint8).max) << SUSPENDED_AT;
        uint256 cleared = Meter.unwrap(meter) & ~mask;
        return Meter.wrap(suspended_ ? cleared | (1 << SUSPENDED_AT) : cleared);
    }

    function maxUses(Meter meter) internal pure returns (uint32) {
        return uint32(Meter.unwrap(meter));
    }

    function usesTaken(Meter meter) internal pure returns (uint32) {
        return uint32(Meter.unwrap(meter) >> USES_TAKEN_AT);
    }

    function budget(Meter meter) internal pure returns (uint40) {
        return uint40(Meter.unwrap(meter) >> BUDGET_AT);
    }

    function budgetTaken(Meter meter) internal pure returns (uint40) {
        return uint40(Meter.unwrap(meter) >> BUDGET_TAKEN_AT);
    }

    function perJobCap(Meter meter) internal pure returns (uint32) {
        return uint32(Meter.unwrap(meter) >> PER_JOB_CAP_AT);
    }

    function epoch(Meter meter) internal pure returns (uint16) {
        return uint16(Meter.unwrap(meter) >> EPOCH_AT);
    }

    function termsVersion(Meter meter) internal pure returns (uint16) {
        return uint16(Meter.unwrap(meter) >> TERMS_VERSION_AT);
    }

    function maxHold(Meter meter) internal pure returns (uint32) {
        return uint32(Meter.unwrap(meter) >> MAX_HOLD_AT);
    }

    function timeoutShare(Meter meter) internal pure returns (uint8) {
        return uint8(Meter.unwrap(meter) >> TIMEOUT_SHARE_AT);
    }

    function suspended(Meter meter) internal pure returns (bool) {
        return uint8(Meter.unwrap(meter) >> SUSPENDED_AT) != 0;
    }
}
