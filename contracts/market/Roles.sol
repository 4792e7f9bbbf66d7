// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {MarketState} from "./MarketState.sol";

/// @title The calls of the guardian and of the committee contract
abstract contract Roles is MarketState {
    /// See {IMarket-setPaused}.
    function setPaused(bool paused_) external {
        if (msg.sender != _guardian) revert IJobs.OnlyGuardian(msg.sender, _guardian);
        _paused = paused_;
        emit IJobs.MatchingPaused(paused_);
    }

    /// See {IMarket-noteRemoved}.
    function noteRemoved(uint32 epoch, bytes32 membersHash) external {
        _checkCommittee();
        // An epoch that no job uses yet is read when the first one does.
        if (_quorums[epoch] != 0) _quorums[epoch] = membersHash;
    }

    /// See {IMarket-noteEnd}.
    function noteEnd(uint32 epoch, uint40 endsAt) external {
        _checkCommittee();
        _ends[epoch] = endsAt;
        if (epoch > _lastEnding) _lastEnding = epoch;
    }

    function _checkCommittee() private view {
        if (msg.sender != address(_committee)) revert IJobs.OnlyCommittee(msg.sender, address(_committee));
    }
}
