// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IJobs} from "../interfaces/IJobs.sol";
import {Tab} from "../types/Sessions.sol";

/// @notice A Tab in one uint256, in the order of its fields: limit (88 bits), paid (88), requestedBlock (40), closesAt
/// (40).
type TabWord is uint256;

using TabWords for TabWord global;

/// @title Reading and changing a TabWord
/// @dev A limit counts all that was ever locked, what was paid included: the same money may come again, so `adding`
/// checks that it fits its field. `paying` needs no check: what is paid stays within the limit.
library TabWords {
    uint256 private constant AMOUNT = type(uint88).max;
    uint256 private constant TIME = type(uint40).max;
    uint256 private constant PAID_AT = 88;
    uint256 private constant REQUESTED_AT = 176;
    uint256 private constant CLOSES_AT = 216;

    function limit(TabWord tab) internal pure returns (uint256) {
        return TabWord.unwrap(tab) & AMOUNT;
    }

    function paid(TabWord tab) internal pure returns (uint256) {
        return (TabWord.unwrap(tab) >> PAID_AT) & AMOUNT;
    }

    function requestedBlock(TabWord tab) internal pure returns (uint256) {
        return (TabWord.unwrap(tab) >> REQUESTED_AT) & TIME;
    }

    function closesAt(TabWord tab) internal pure returns (uint256) {
        return TabWord.unwrap(tab) >> CLOSES_AT;
    }

    /// @notice What the tab pays until `owed` is paid, within its limit, while it is open.
    /// @param owed What was served to the account since the service began.
    function due(TabWord tab, uint256 owed) internal pure returns (uint256) {
        return Math.saturatingSub(Math.min(owed, tab.limit()), tab.paid());
    }

    /// @notice Whether the tab pays nothing any more, by the clock.
    function isClosed(TabWord tab, uint256 timestamp) internal pure returns (bool) {
        uint256 at = tab.closesAt();
        return at != 0 && (timestamp >= at || at == TIME);
    }

    /// @notice Whether what was left has returned.
    function isReturned(TabWord tab) internal pure returns (bool) {
        return tab.closesAt() == TIME;
    }

    /// @notice The same tab with more locked. Reverts where the limit does not fit its field.
    function adding(TabWord tab, uint256 amount) internal pure returns (TabWord) {
        uint256 sum = tab.limit() + amount;
        if (sum > AMOUNT) revert IJobs.OutOfBounds("limit", sum, 0, AMOUNT);
        unchecked {
            return TabWord.wrap(TabWord.unwrap(tab) + amount);
        }
    }

    /// @notice The same tab with more paid, of what `due` says.
    function paying(TabWord tab, uint256 amount) internal pure returns (TabWord) {
        unchecked {
            return TabWord.wrap(TabWord.unwrap(tab) + (amount << PAID_AT));
        }
    }

    /// @notice The same tab, of which the account asked to close it, for the first time.
    function requested(TabWord tab, uint256 blockNumber) internal pure returns (TabWord) {
        return TabWord.wrap(TabWord.unwrap(tab) | ((blockNumber & TIME) << REQUESTED_AT));
    }

    /// @notice The same tab, closing at a time.
    function closing(TabWord tab, uint256 timestamp) internal pure returns (TabWord) {
        uint256 cleared = (TabWord.unwrap(tab) << 40) >> 40;
        return TabWord.wrap(cleared | (timestamp << CLOSES_AT));
    }

    /// @notice The same tab after what was left has returned.
    function returned(TabWord tab) internal pure returns (TabWord) {
        return tab.closing(TIME);
    }

    function unpack(TabWord tab) internal pure returns (Tab memory) {
        return Tab({
            limit: uint88(tab.limit()),
            paid: uint88(tab.paid()),
            requestedBlock: uint40(tab.requestedBlock()),
            closesAt: uint40(tab.closesAt())
        });
    }
}
