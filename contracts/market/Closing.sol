// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {FeeBook} from "../libraries/FeeBooks.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Bargain, Enclave, Fault, JobKey, Payout, Status} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title How a job ends whose next step is overdue
abstract contract Closing is Endings {
    /// See {IJobs-close}.
    function close(JobKey calldata key, Bargain calldata bargain, Enclave calldata enclave) external {
        Status status = _slots[key.requestHash].status();
        bytes32 evidenceHash = enclave.evidenceHash;
        if (status == Status.Matched) {
            _checkOverdue(key, bargain, status, 0);
            _carryOut(Fault.NoQuote, key, bargain, 0, _undecided(Fault.NoQuote, bargain));
        } else if (status == Status.Quoted) {
            _checkOverdue(key, bargain, status, evidenceHash);
            Payout memory payout = _undecided(Fault.CommitteeSilent, bargain);
            _carryOut(Ending(Fault.CommitteeSilent, evidenceHash), key, bargain, payout);
        } else {
            _checkOverdue(key, bargain, Status.Accepted, TypedData.hashStage(enclave));
            FeeBook book = _bookOf(bargain.epoch, bargain.token);
            Fault fault = _interruptedBy(key.requestHash, book);
            if (fault == Fault.None) fault = Fault.ProviderSilent;
            _carryOut(Ending(fault, evidenceHash), key, bargain, _unsettled(fault, bargain, book, 0));
        }
    }
}
