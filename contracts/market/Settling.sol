// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Bargain, Enclave, JobKey, SettledResult, Status} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title Settlement by the enclave's signature
abstract contract Settling is Endings {
    /// See {IJobs-settle}.
    function settle(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        SettledResult calldata result,
        bytes calldata enclaveSignature,
        bytes calldata acknowledgement
    ) external {
        bool acknowledged = acknowledgement.length != 0;
        if (acknowledged && _slots[key.requestHash].status() == Status.Settled) {
            // Another account settled first, without the acknowledgement.
            _matureAcknowledged(key, bargain, result, acknowledgement);
            return;
        }
        bytes32 bargainHash = _checkTimely(key, bargain, Status.Accepted, TypedData.hashStage(enclave));
        (bytes32 jobId, uint32 units) = (key.jobId, result.units);
        _checkEnclave(enclave, TypedData.settlementHash(jobId, result), enclaveSignature);
        _checkUnits(key, bargain, units);
        if (acknowledged) _checkAcknowledged(bargain.consumer, jobId, result, acknowledgement);

        uint256 metered = Escrows.priceOf(bargain, bargain.maxUnits);
        (uint256 refunded, uint256 payable_) =
            FaultTable.settlement(bargain.computePrice, metered, Escrows.priceOf(bargain, units));
        _credit(bargain.token, bargain.payer, refunded);
        uint256 owners = _payOwners(bargain, 1, 1);
        _enter(key, bargainHash, Status.Settled, bargain.challengeWindow, TypedData.hashStage(result));

        emit IJobs.JobSettled(jobId, result.resultHash, result.receiptHash, units, refunded, payable_);
        if (!acknowledged) return;
        (uint256 provider, uint256 stake) = FaultTable.matured(owners, bargain.penalty, payable_, 0);
        _mature(key, bargain.token, provider, stake);
    }
}
