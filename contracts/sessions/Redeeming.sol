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

    /// Let each entry's tab pay what it owes.
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
                Entry calldata entry = entries[i];
                address account = entry.account;
                TabWord tab = tabs[account];
                uint256 due = tab.due(uint256(entry.units) * unitPrice, block.timestamp);
                bool last = entry.last;
                if (last) last = tab.limit() != 0 && !tab.isClosed(block.timestamp);
                if (due == 0 && !last) continue;
                tab = tab.paying(due);
                tabs[account] = last ? tab.closing(block.timestamp) : tab;
                collected += due;
                uint256 payment = (uint256(uint160(account)) << 96) | (due << 8);
                payments[count++] = bytes32(last ? payment | 1 : payment);
            }
        }
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(payments, count)
        }
    }
}
