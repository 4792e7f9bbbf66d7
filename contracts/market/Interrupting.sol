// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {IOrders} from "../interfaces/IOrders.sol";
import {Escrow, Escrows} from "../libraries/Escrows.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Bargain, Enclave, FailureReport, Fault, JobKey, Payout, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {Endings} from "./Endings.sol";

/// @title Ends before a result: withdrawn, stopped by the committee, failed by the enclave's word
abstract contract Interrupting is Endings {
    uint8 private constant CAUSE_INPUT = 1;
    uint8 private constant CAUSE_WORKLOAD = 2;

    /// See {IJobs-cancel}.
    function cancel(JobKey calldata key, Bargain calldata bargain) external {
        if (msg.sender != bargain.consumer && msg.sender != bargain.payer) {
            revert IOrders.NotRequestParty(msg.sender, bargain.consumer, bargain.payer);
        }
        _checkTimely(key, bargain, Status.Matched, 0);
        _undo(key, bargain, Status.Cancelled, Fault.Withdrawn, 0);
    }

    /// See {IJobs-stop}.
    function stop(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        uint256 reasons,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external {
        _checkTimely(key, bargain, Status.Accepted, TypedData.hashStage(enclave));
        bytes32 digest = _digest(TypedData.stopHash(key.jobId, enclave.evidenceHash, bargain.epoch, reasons));
        uint256 required = _bookOf(bargain.epoch, bargain.token).refusingQuorum();
        uint256 signers = _checkQuorum(bargain.epoch, members, signatures, required, digest);

        Escrow memory escrow = Escrows.lockedBy(bargain);
        Payout memory payout;
        payout.refunded = uint128(Escrows.total(escrow));
        payout.stakeReturned = uint128(Escrows.stake(escrow, bargain));
        _credit(bargain.token, bargain.payer, payout.refunded);
        _releaseProvider(bargain.token, key.provider, 0, payout.stakeReturned, Tally.None);

        emit IJobs.JobStopped(key.jobId, enclave.evidenceHash, reasons, signers);
        _end(key, Status.Stopped, Fault.StoppedBeforeRelease, enclave.evidenceHash, payout);
    }

    /// See {IJobs-fail}.
    function fail(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        FailureReport calldata report,
        bytes calldata enclaveSignature
    ) external {
        _checkTimely(key, bargain, Status.Accepted, TypedData.hashStage(enclave));
        _checkEnclave(enclave, TypedData.failureHash(key.jobId, report), enclaveSignature);
        _checkUnits(report.units, bargain.maxUnits);
        if (report.cause != CAUSE_INPUT && report.cause != CAUSE_WORKLOAD) revert IJobs.UnknownCause(report.cause);
        bool inputFailed = report.cause == CAUSE_INPUT;
        uint256 failed = inputFailed ? report.assetIndex : type(uint256).max;
        if (inputFailed && failed >= bargain.claims.length) {
            revert IJobs.NoSuchAsset(report.assetIndex, bargain.claims.length);
        }

        Escrow memory escrow = Escrows.lockedBy(bargain);
        uint256 owed = inputFailed ? escrow.owners - bargain.claims[failed].price : escrow.owners;
        Payout memory payout;
        payout.paid = inputFailed ? 0 : uint128(Escrows.earned(bargain, report.units));
        payout.refunded = uint128(Escrows.total(escrow) - owed - payout.paid);
        payout.stakeReturned = uint128(Escrows.stake(escrow, bargain));
        (payout.ownersPaid,) = _payOwners(bargain, failed);
        _credit(bargain.token, bargain.payer, payout.refunded);
        _releaseProvider(bargain.token, key.provider, payout.paid, payout.stakeReturned, Tally.Failed);

        emit IJobs.JobFailed(key.jobId, report.cause, report.assetIndex, report.units, report.receiptHash);
        Fault fault = inputFailed ? Fault.InputFailed : Fault.WorkloadFailed;
        _end(key, Status.Failed, fault, enclave.evidenceHash, payout);
    }
}
