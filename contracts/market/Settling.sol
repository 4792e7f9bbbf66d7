// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Bargain, Enclave, JobKey, Receipt, Status} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title The enclave's testimony, by which a job pays
abstract contract Settling is Endings {
    /// See {IJobs-settle}.
    function settle(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        Receipt calldata receipt,
        bytes calldata enclaveSignature,
        bytes calldata acknowledgement
    ) external {
        bytes32 bargainHash = _checkTimely(key, bargain, Status.Accepted, TypedData.hashStage(enclave));
        (bytes32 jobId, address token) = (key.jobId, bargain.token);
        (uint32 units, uint32 maxUnits) = (receipt.units, bargain.maxUnits);
        _checkEnclave(enclave, TypedData.settlementHash(jobId, receipt), enclaveSignature);
        _checkUnits(units, maxUnits);
        bool acknowledged = acknowledgement.length != 0;
        if (acknowledged) _checkAcknowledged(bargain.consumer, jobId, receipt, acknowledgement);

        uint256 refunded = uint256(bargain.unitPrice) * (maxUnits - units);
        _credit(token, bargain.payer, refunded);
        (, uint256 owners) = _payOwners(bargain, type(uint256).max);
        _enter(key, bargainHash, Status.Settled, bargain.challengeWindow, TypedData.hashStage(receipt));
        uint256 earned = Escrows.earned(bargain, units);

        emit IJobs.JobSettled(jobId, receipt.resultHash, receipt.receiptHash, units, refunded, earned);
        if (acknowledged) _endMatured(key, token, earned, owners + bargain.penalty);
    }
}
