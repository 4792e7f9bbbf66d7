// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {Escrow, Escrows} from "../libraries/Escrows.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Enclave, FailureReport, Fault, JobSpec, Payout, Receipt, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {Closing} from "./Closing.sol";

/// @title What the enclave's own signature does, and how the provider's credit matures
abstract contract Settling is Closing {
    uint8 private constant CAUSE_INPUT = 1;
    uint8 private constant CAUSE_WORKLOAD = 2;

    /// @inheritdoc IJobs
    function settle(
        JobSpec calldata spec,
        Enclave calldata enclave,
        Receipt calldata receipt,
        bytes calldata enclaveSignature,
        bytes calldata acknowledgement
    ) external {
        bytes32 jobId = _timely(spec, Status.Accepted, _stageOf(enclave));
        _checkEnclave(enclave, TypedData.settlementHash(jobId, receipt), enclaveSignature);
        _checkUnits(receipt.units, spec.maxUnits);
        if (acknowledgement.length != 0) _checkAcknowledged(spec, jobId, receipt, acknowledgement);

        uint256 refunded = uint256(spec.unitPrice) * (spec.maxUnits - receipt.units);
        _credit(spec.token, spec.payer, refunded);
        _payOwners(spec, type(uint256).max);
        _enter(spec.requestHash, jobId, Status.Settled, spec.challengeWindow, _stageOf(receipt));
        uint256 earned = Escrows.earned(spec, receipt.units);

        emit JobSettled(jobId, receipt.resultHash, receipt.receiptHash, receipt.units, refunded, earned);
        if (acknowledgement.length != 0) _mature(spec, jobId, receipt.units);
    }

    /// @inheritdoc IJobs
    function fail(
        JobSpec calldata spec,
        Enclave calldata enclave,
        FailureReport calldata report,
        bytes calldata enclaveSignature
    ) external {
        bytes32 jobId = _timely(spec, Status.Accepted, _stageOf(enclave));
        _checkEnclave(enclave, TypedData.failureHash(jobId, report), enclaveSignature);
        _checkUnits(report.units, spec.maxUnits);
        require(report.cause == CAUSE_INPUT || report.cause == CAUSE_WORKLOAD, UnknownCause(report.cause));
        bool inputFailed = report.cause == CAUSE_INPUT;
        uint256 failed = inputFailed ? report.assetIndex : type(uint256).max;
        require(
            !inputFailed || failed < spec.assets.length, NoSuchAsset(report.assetIndex, spec.assets.length)
        );

        Escrow memory escrow = Escrows.lockedBy(spec);
        uint256 owed = inputFailed ? escrow.owners - spec.assets[failed].price : escrow.owners;
        Payout memory payout;
        payout.paid = inputFailed ? 0 : uint128(Escrows.earned(spec, report.units));
        payout.refunded = uint128(Escrows.total(escrow) - owed - payout.paid);
        payout.stakeReturned = uint128(Escrows.stake(escrow, spec));
        payout.ownersPaid = _payOwners(spec, failed);
        _credit(spec.token, spec.payer, payout.refunded);
        _releaseProvider(spec.token, spec.provider, payout.paid, payout.stakeReturned, Tally.Failed);

        emit JobFailed(jobId, report.cause, report.assetIndex, report.units, report.receiptHash);
        Fault fault = inputFailed ? Fault.InputFailed : Fault.WorkloadFailed;
        _end(spec, jobId, Status.Failed, fault, enclave.evidenceHash, payout);
    }

    /// @inheritdoc IJobs
    function acknowledge(JobSpec calldata spec, Receipt calldata receipt, bytes calldata signature) external {
        bytes32 jobId = _timely(spec, Status.Settled, _stageOf(receipt));
        if (msg.sender != spec.consumer) _checkAcknowledged(spec, jobId, receipt, signature);
        _mature(spec, jobId, receipt.units);
    }

    /// @inheritdoc IJobs
    function mature(JobSpec calldata spec, Receipt calldata receipt) external {
        _mature(spec, _overdue(spec, Status.Settled, _stageOf(receipt)), receipt.units);
    }

    function _checkAcknowledged(
        JobSpec calldata spec,
        bytes32 jobId,
        Receipt calldata receipt,
        bytes calldata signature
    ) private view {
        bytes32 digest = _digest(TypedData.acknowledgementHash(jobId, receipt.resultHash));
        _checkSignature(spec.consumer, digest, signature);
    }

    function _checkEnclave(Enclave calldata enclave, bytes32 structHash, bytes calldata signature) private view {
        address got = Signatures.recover(_digest(structHash), signature);
        require(got == enclave.enclaveSigner, WrongEnclave(got, enclave.enclaveSigner));
    }

    function _checkUnits(uint32 got, uint32 most) private pure {
        require(got <= most, TooManyUnits(got, most));
    }
}
