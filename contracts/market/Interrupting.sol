// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {IOrders} from "../interfaces/IOrders.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Bargain, Enclave, FailureReport, Fault, JobKey, Payout, Status} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title Ends before a result: withdrawal, stop by the committee, failure signed by the enclave
abstract contract Interrupting is Endings {
    uint8 private constant CAUSE_INPUT = 1;
    uint8 private constant CAUSE_WORKLOAD = 2;

    /// See {IJobs-cancel}.
    function cancel(JobKey calldata key, Bargain calldata bargain) external {
        if (msg.sender != bargain.consumer && msg.sender != bargain.payer) {
            revert IOrders.NotRequestParty(msg.sender, bargain.consumer, bargain.payer);
        }
        _checkTimely(key, bargain, Status.Matched, 0);
        _carryOut(Ending(Fault.Withdrawn, 0), key, bargain, _undecided(Fault.Withdrawn, bargain));
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

        emit IJobs.JobStopped(key.jobId, enclave.evidenceHash, reasons, signers);
        Payout memory payout =
            FaultTable.afterAcceptance(Fault.StoppedBeforeRelease, Escrows.lockedBy(bargain), 0, 0, 0);
        _carryOut(Ending(Fault.StoppedBeforeRelease, enclave.evidenceHash), key, bargain, payout);
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
        (Fault fault, Payout memory payout) = _rowOf(report, bargain);

        emit IJobs.JobFailed(key.jobId, report.cause, report.assetIndex, report.units, report.receiptHash);
        _carryOut(Ending(fault, enclave.evidenceHash), key, bargain, payout);
    }

    /// The row of a reported cause.
    function _rowOf(FailureReport calldata report, Bargain calldata bargain)
        private
        pure
        returns (Fault fault, Payout memory payout)
    {
        (uint8 cause, uint8 failed, uint256 assets) = (report.cause, report.assetIndex, bargain.claims.length);
        if (cause != CAUSE_INPUT && cause != CAUSE_WORKLOAD) revert IJobs.UnknownCause(cause);
        if (cause == CAUSE_INPUT && failed >= assets) revert IJobs.NoSuchAsset(failed, assets);
        fault = cause == CAUSE_INPUT ? Fault.InputFailed : Fault.WorkloadFailed;
        uint256 price = cause == CAUSE_INPUT ? bargain.claims[failed].price : 0;
        uint256 used = Escrows.priceOf(bargain, report.units);
        uint256 every = Escrows.everyAsset(bargain);
        uint256 paid = cause == CAUSE_INPUT ? every & ~(1 << failed) : every;
        payout = FaultTable.afterAcceptance(fault, Escrows.lockedBy(bargain), used, paid, price);
    }
}
