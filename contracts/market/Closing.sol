// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Escrows} from "../libraries/Escrows.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Bargain, Enclave, Fault, JobKey, Payout, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {Endings} from "./Endings.sol";

/// @title The way out of a job that nobody takes a step of
abstract contract Closing is Endings {
    /// See {IJobs-close}.
    function close(JobKey calldata key, Bargain calldata bargain, Enclave calldata enclave) external {
        Status status = _slots[key.requestHash].status();
        bytes32 evidenceHash = enclave.evidenceHash;
        if (status == Status.Matched) {
            _checkOverdue(key, bargain, status, 0);
            _undo(key, bargain, Status.Expired, Fault.NoQuote, 0);
        } else if (status == Status.Quoted) {
            _checkOverdue(key, bargain, status, evidenceHash);
            _undo(key, bargain, Status.Expired, Fault.CommitteeSilent, evidenceHash);
        } else {
            _checkOverdue(key, bargain, Status.Accepted, TypedData.hashStage(enclave));
            _slash(key, bargain, evidenceHash);
        }
    }

    /// After acceptance: the owners are paid from the stake of the provider that went silent.
    function _slash(JobKey calldata key, Bargain calldata bargain, bytes32 evidenceHash) private {
        Payout memory payout;
        payout.refunded = uint128(Escrows.total(Escrows.lockedBy(bargain)));
        payout.burned = bargain.penalty;
        (payout.ownersPaid,) = _payOwners(bargain, type(uint256).max);

        _credit(bargain.token, bargain.payer, payout.refunded);
        _releaseProvider(bargain.token, key.provider, 0, 0, Tally.Expired);
        _end(key, Status.Expired, Fault.ProviderSilent, evidenceHash, payout);
    }
}
