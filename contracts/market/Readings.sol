// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "../interfaces/IAssetRegistry.sol";
import {IOracleCommittee} from "../interfaces/IOracleCommittee.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {JobSlot} from "../libraries/JobSlots.sol";
import {Status} from "../types/Jobs.sol";
import {Account, Interruption, Unbonding} from "../types/Money.sol";
import {OracleFees} from "./OracleFees.sol";

/// @title Views
abstract contract Readings is OracleFees {
    /// See {ILedger-accountOf}.
    function accountOf(address token, address holder) external view returns (Account memory) {
        return _accounts[token][holder].unpack();
    }

    /// See {ILedger-unbondingOf}.
    function unbondingOf(address token, address holder) external view returns (Unbonding memory) {
        return _unbonding[token][holder];
    }

    /// See {ILedger-feeBookOf}.
    function feeBookOf(uint32 epoch, address token)
        external
        view
        returns (uint64 fee, uint8 members, uint8 threshold, uint16[] memory unclaimed)
    {
        FeeBook book = _books[epoch][token];
        (fee, members, threshold) = (book.fee(), book.members(), book.threshold());
        unclaimed = new uint16[](members);
        for (uint256 i = 0; i < members; ++i) {
            unclaimed[i] = book.unclaimed(i);
        }
    }

    /// See {ILedger-tokenOf}.
    function tokenOf(address token) external view returns (bool admitted, uint64 fee) {
        Token memory found = _tokens[token];
        return (found.admitted, found.fee);
    }

    /// See {ILedger-committee}.
    function committee() external view returns (IOracleCommittee) {
        return _committee;
    }

    /// See {ILedger-unbondingDelay}.
    function unbondingDelay() external view returns (uint40) {
        return _unbondingDelay;
    }

    /// See {IOrders-usedOf}.
    function usedOf(address signer, bytes32 orderHash) external view returns (uint256) {
        return _used[signer][orderHash];
    }

    /// See {IJobs-jobOf}.
    function jobOf(bytes32 requestHash) external view returns (Status status, uint40 deadline, uint208 commitment) {
        JobSlot slot = _slots[requestHash];
        return (slot.status(), slot.deadline(), slot.commitment());
    }

    /// See {IJobs-interruptionOf}.
    function interruptionOf(bytes32 requestHash) external view returns (Interruption memory) {
        return _interruptions[requestHash];
    }

    /// See {IJobs-holdFee}.
    function holdFee(uint256 owners, uint256 minPenalty, uint32 quoteWindow, uint32 decideWindow, uint64 fee)
        external
        view
        returns (uint256)
    {
        return _holdFee(owners, minPenalty, uint256(quoteWindow) + decideWindow, fee);
    }

    /// See {IJobs-bondOf}.
    function bondOf(uint32 epoch, address token) external view returns (uint256) {
        return _bondOf(epoch, token);
    }

    /// See {IJobs-registry}.
    function registry() external view returns (IAssetRegistry) {
        return _registry;
    }

    /// See {IJobs-paused}.
    function paused() external view returns (bool) {
        return _paused;
    }

    /// See {IJobs-requestFeeFactor}.
    function requestFeeFactor() external view returns (uint16) {
        return _requestFeeFactor;
    }

    /// See {IJobs-holdRate}.
    function holdRate() external view returns (uint64) {
        return _holdRate;
    }

    /// See {IJobs-finality}.
    function finality() external view returns (uint32) {
        return _finality;
    }

    /// See {IJobs-transferAllowance}.
    function transferAllowance() external view returns (uint32) {
        return _transferAllowance;
    }

    /// See {IMarket-guardian}.
    function guardian() external view returns (address) {
        return _guardian;
    }
}
