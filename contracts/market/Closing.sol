// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOrders} from "../interfaces/IOrders.sol";
import {IJobs} from "../interfaces/IJobs.sol";
import {Escrow, Escrows} from "../libraries/Escrows.sol";
import {Enclave, Fault, JobSpec, Payout, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {JobBook} from "./JobBook.sol";

/// @title The ways out of a job that no quorum and no enclave is needed for
abstract contract Closing is JobBook, IJobs {
    /// @inheritdoc IJobs
    function cancel(JobSpec calldata spec) external {
        require(
            msg.sender == spec.consumer || msg.sender == spec.payer,
            IOrders.NotRequestParty(msg.sender, spec.consumer, spec.payer)
        );
        bytes32 jobId = _timely(spec, Status.Matched, 0);
        _undo(spec, jobId, Status.Cancelled, Fault.Withdrawn, 0);
    }

    /// @inheritdoc IJobs
    function close(JobSpec calldata spec, Enclave calldata enclave) external {
        Status status = _statusOf(spec.requestHash);
        bytes32 evidenceHash = enclave.evidenceHash;
        if (status == Status.Matched) {
            _undo(spec, _overdue(spec, status, 0), Status.Expired, Fault.NoQuote, 0);
        } else if (status == Status.Quoted) {
            bytes32 jobId = _overdue(spec, status, evidenceHash);
            _undo(spec, jobId, Status.Expired, Fault.CommitteeSilent, evidenceHash);
        } else {
            _slash(spec, _overdue(spec, Status.Accepted, _stageOf(enclave)), evidenceHash);
        }
    }

    /// Before acceptance: everything goes back, but for the penalty of a provider that never quoted.
    function _undo(JobSpec calldata spec, bytes32 jobId, Status status, Fault fault, bytes32 evidenceHash) private {
        Escrow memory escrow = Escrows.lockedBy(spec);
        bool providersFault = fault == Fault.NoQuote;
        Payout memory payout;
        payout.refunded = uint128(Escrows.total(escrow) + _bookOf(spec.epoch, spec.token).reserve());
        payout.burned = providersFault ? spec.penalty : 0;
        payout.stakeReturned = uint128(Escrows.stake(escrow, spec) - payout.burned);

        _registry.release(spec.assets);
        _credit(spec.token, spec.payer, payout.refunded);
        _burn(spec.token, payout.burned);
        Tally tally = providersFault ? Tally.Expired : Tally.None;
        _releaseProvider(spec.token, spec.provider, 0, payout.stakeReturned, tally);
        _end(spec, jobId, status, fault, evidenceHash, payout);
    }

    /// After acceptance: the owners are paid from the stake of the provider that went silent.
    function _slash(JobSpec calldata spec, bytes32 jobId, bytes32 evidenceHash) private {
        Payout memory payout;
        payout.refunded = uint128(Escrows.total(Escrows.lockedBy(spec)));
        payout.burned = spec.penalty;
        payout.ownersPaid = _payOwners(spec, type(uint256).max);

        _credit(spec.token, spec.payer, payout.refunded);
        _burn(spec.token, payout.burned);
        _releaseProvider(spec.token, spec.provider, 0, 0, Tally.Expired);
        _end(spec, jobId, Status.Expired, Fault.ProviderSilent, evidenceHash, payout);
    }

    /// Credit each owner its price, but that of asset `except`.
    /// @return paid Bitmap of the assets whose owners were credited.
    function _payOwners(JobSpec calldata spec, uint256 except) internal returns (uint16 paid) {
        for (uint256 i = 0; i < spec.assets.length; ++i) {
            if (i == except) continue;
            _credit(spec.token, spec.assets[i].owner, spec.assets[i].price);
            paid |= uint16(1 << i);
        }
    }
}
