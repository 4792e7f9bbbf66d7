// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ISessions} from "../interfaces/ISessions.sol";
import {AccrualWord, AccrualWords} from "../libraries/AccrualWords.sol";
import {SessionData} from "../libraries/SessionData.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TabWord} from "../libraries/TabWords.sol";
import {Entry, Statement} from "../types/Sessions.sol";
import {SessionState} from "./SessionState.sol";

/// @notice The storage slot of a tab.
type TabPlace is uint256;

/// @title Taking the enclave's statements
abstract contract Redeeming is SessionState {
    /// @inheritdoc ISessions
    function redeem(Statement calldata statement, bytes calldata signature) external {
        bytes32 jobId = statement.jobId;
        Service storage service = _known(jobId);
        if (block.timestamp > _lastSecond(service)) revert ServiceOver(jobId, block.timestamp, service.end);
        address signer = Signatures.recover(_digest(SessionData.hash(statement)), signature);
        if (signer != service.enclaveSigner) revert IJobs.WrongEnclave(signer, service.enclaveSigner);

        (uint256 collected, bytes32[] memory payments) = _collect(jobId, statement.entries, service.unitPrice);
        AccrualWord accrued = service.accrued;
        (uint64 redeemed, uint64 total) = (accrued.redeemed(), statement.total);
        uint256 royalties = total > redeemed ? uint256(total - redeemed) * service.royalties : 0;
        bool last = statement.last || accrued.last();
        if (payments.length == 0 && total <= redeemed && last == accrued.last()) revert NothingToDo(jobId);
        uint256 bond = accrued.bond() + collected;
        if (bond < royalties) revert BondTooSmall(jobId, bond, royalties);
        if (total > redeemed) redeemed = total;
        service.accrued = AccrualWords.make(redeemed, accrued.credited(), bond - royalties, last);

        emit StatementRedeemed(jobId, redeemed, statement.last, royalties, payments);
        if (statement.last) _endNow(jobId, service);
    }

    /// Let each entry's tab pay what it owes. The enclave signed these words, so none has dirty bits.
    /// @return collected What they paid together. @return payments As in StatementRedeemed.
    function _collect(bytes32 jobId, Entry[] calldata entries, uint256 unitPrice)
        private
        returns (uint256 collected, bytes32[] memory payments)
    {
        mapping(address account => TabWord) storage tabs = _tabs[jobId];
        payments = new bytes32[](entries.length);
        uint256 count = 0;
        unchecked {
            // Units are below 2^64 and a price is below 2^88; payments are within limits, all of one account.
            for (uint256 i = 0; i < entries.length; ++i) {
                (uint256 account, uint256 units, uint256 last) = _entry(entries, i);
                TabPlace place = _placeOf(tabs, account);
                TabWord tab = _read(place);
                if (tab.isClosed(block.timestamp)) continue;
                uint256 due = tab.due(units * unitPrice);
                if (tab.limit() == 0) last = 0;
                if (due | last == 0) continue;
                tab = tab.paying(due);
                _write(place, last == 0 ? tab : tab.closing(block.timestamp));
                collected += due;
                _put(payments, count++, (account << 96) | (due << 8) | last);
            }
        }
        _shorten(payments, count);
    }

    /// Cheaper than the checked accesses of the language, which cost a tenth of an entry.
    /* solhint-disable no-inline-assembly */
    function _entry(Entry[] calldata entries, uint256 i)
        private
        pure
        returns (uint256 account, uint256 units, uint256 last)
    {
        assembly ("memory-safe") {
            let at := add(entries.offset, mul(i, 0x60))
            account := calldataload(at)
            units := calldataload(add(at, 0x20))
            last := calldataload(add(at, 0x40))
        }
    }

    /// The slot of `tabs[account]`.
    function _placeOf(mapping(address account => TabWord) storage tabs, uint256 account)
        private
        pure
        returns (TabPlace place)
    {
        assembly ("memory-safe") {
            mstore(0, account)
            mstore(0x20, tabs.slot)
            place := keccak256(0, 0x40)
        }
    }

    function _read(TabPlace place) private view returns (TabWord tab) {
        assembly ("memory-safe") {
            tab := sload(place)
        }
    }

    function _write(TabPlace place, TabWord tab) private {
        assembly ("memory-safe") {
            sstore(place, tab)
        }
    }

    /// Write an item of a list that has room for it.
    function _put(bytes32[] memory list, uint256 i, uint256 item) private pure {
        assembly ("memory-safe") {
            mstore(add(add(list, 0x20), shl(5, i)), item)
        }
    }

    function _shorten(bytes32[] memory list, uint256 count) private pure {
        assembly ("memory-safe") {
            mstore(list, count)
        }
    }
}
