// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {IOrders} from "../interfaces/IOrders.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Bargain, Enclave, FailureReport, Fault, JobKey, Payout, Status} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title Ends before a result: withdrawal, and failure signed by the enclave
abstract contract Interrupting is Endings {
    uint8 private constant CAUSE_INPUT = 1;
    uint8 private constant CAUSE_WORKLOAD = 2;
    uint8 private constant CAUSE_TIME = 3;
    uint8 private constant CAUSE_VALIDATOR = 4;
    uint8 private constant CAUSE_READER = 5;

    /// See {IJobs-cancel}.
    function cancel(JobKey calldata key, Bargain calldata bargain) external {
        if (msg.sender != bargain.consumer && msg.sender != bargain.payer) {
            revert IOrders.NotRequestParty(msg.sender, bargain.consumer, bargain.payer);
        }
        _checkTimely(key, bargain, Status.Matched, 0);
        _carryOut(Ending(Fault.Withdrawn, 0), key, bargain, _undecided(Fault.Withdrawn, bargain));
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
        _checkUnits(key, bargain, report.units);
        (uint8 cause, uint8 index) = (report.cause, report.assetIndex);
        bool ofAsset = cause == CAUSE_INPUT || cause == CAUSE_VALIDATOR || cause == CAUSE_READER;
        if (ofAsset && index >= bargain.claims.length) revert IJobs.NoSuchAsset(index, bargain.claims.length);
        (Fault fault, Payout memory payout) = _rowOf(report, bargain);

        emit IJobs.JobFailed(key.jobId, cause, index, report.units, report.receiptHash);
        _carryOut(Ending(fault, enclave.evidenceHash), key, bargain, payout);
        if (fault == Fault.InputFailed) {
            _registry.suspend(bargain.claims[index].assetId, bargain.claims[index].version, key.jobId);
        }
    }

    /// See {IJobs-liftSuspension}.
    function liftSuspension(bytes32 assetId, uint32 version) external {
        (uint32 epoch, address token) = _registry.lift(assetId, version, msg.sender);
        uint256 cost = _openBook(epoch, token).reserve();
        _take(token, msg.sender, cost);
        emit IJobs.SuspensionPaid(assetId, version, token, cost);
    }

    /// The payout of a reported cause, by its row.
    function _rowOf(FailureReport calldata report, Bargain calldata bargain)
        private
        view
        returns (Fault fault, Payout memory payout)
    {
        fault = _faultOf(report.cause);
        if (fault != Fault.WorkloadTimedOut && fault != Fault.ValidatorTimedOut) {
            uint256 used = Escrows.priceOf(bargain, report.units);
            return (fault, _unsettled(fault, bargain, _bookOf(bargain.epoch, bargain.token), used));
        }
        uint256 every = Escrows.everyAsset(bargain);
        payout =
            FaultTable.timedOut(Escrows.lockedBy(bargain), bargain.timeoutFee, bargain.timeoutLimit, every);
    }

    function _faultOf(uint8 cause) private pure returns (Fault) {
        if (cause == CAUSE_INPUT) return Fault.InputFailed;
        if (cause == CAUSE_WORKLOAD) return Fault.WorkloadFailed;
        if (cause == CAUSE_TIME) return Fault.WorkloadTimedOut;
        if (cause == CAUSE_VALIDATOR) return Fault.ValidatorTimedOut;
        if (cause == CAUSE_READER) return Fault.ReaderTimedOut;
        revert IJobs.UnknownCause(cause);
    }
}
