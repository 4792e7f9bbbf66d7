// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ISessions} from "../interfaces/ISessions.sol";
import {AccrualWord, AccrualWords} from "../libraries/AccrualWords.sol";
import {EntryWord, EntryWords} from "../libraries/EntryWords.sol";
import {SessionData} from "../libraries/SessionData.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TabWord} from "../libraries/TabWords.sol";
import {SessionState} from "./SessionState.sol";

/// @title Taking the enclave's statements
abstract contract Redeeming is SessionState {
    using EntryWords for EntryWord[];

    /// @inheritdoc ISessions
    function redeem(
        bytes32 jobId,
        uint64 total,
        bool last,
        EntryWord[] calldata entries,
        bytes calldata signature
    ) external {
        Service storage service = _known(jobId);
        if (block.timestamp > _lastSecond(service)) revert ServiceOver(jobId, block.timestamp, service.end);
        bytes32 digest = _digest(SessionData.hashStatement(jobId, total, last, entries));
        address signer = Signatures.recover(digest, signature);
        if (signer != service.enclaveSigner) revert IJobs.WrongEnclave(signer, service.enclaveSigner);

        (uint256 collected, EntryWord[] memory payments) = _collect(jobId, entries, service.unitPrice);
        AccrualWord accrued = service.accrued;
        uint64 redeemed = accrued.redeemed();
        uint256 royalties = total > redeemed ? uint256(total - redeemed) * service.royalties : 0;
        bool ends = last || accrued.last();
        if (payments.length == 0 && total <= redeemed && ends == accrued.last()) revert NothingToDo(jobId);
        uint256 bond = accrued.bond() + collected;
        if (bond < royalties) revert BondTooSmall(jobId, bond, royalties);
        if (total > redeemed) redeemed = total;
        service.accrued = AccrualWords.make(redeemed, accrued.credited(), bond - royalties, ends);

        emit StatementRedeemed(jobId, redeemed, last, royalties, payments);
        if (last) _endNow(jobId, service);
    }

    /// Let each entry's tab pay what it owes.
    /// @return collected What they paid together. @return payments As in StatementRedeemed.
    function _collect(bytes32 jobId, EntryWord[] calldata entries, uint256 unitPrice)
        private
        returns (uint256 collected, EntryWord[] memory payments)
    {
        mapping(address account => TabSlot) storage tabs = _tabs[jobId];
        payments = new EntryWord[](entries.length);
        uint256 count = 0;
        unchecked {
            // Units and a price are below 2^88 each; payments are within limits, all of one account.
            for (uint256 i = 0; i < entries.length; ++i) {
                EntryWord entry = entries.at(i);
                TabSlot storage slot = tabs[entry.account()];
                TabWord tab = slot.word;
                // Most tabs have no time of closing, and most entries pay: one comparison each is all that they cost.
                if (tab.closesAt() != 0) {
                    if (tab.isClosed(block.timestamp)) continue;
                }
                uint256 due = tab.due(entry.units() * unitPrice);
                if (due == 0) {
                    if (!entry.last() || tab.limit() == 0) continue;
                }
                if (entry.last()) tab = tab.closing(block.timestamp);
                slot.word = tab.paying(due);
                collected += due;
                payments.put(count++, entry.withUnits(due));
            }
        }
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(payments, count)
        }
    }
}
