// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {TypedData} from "../libraries/TypedData.sol";
import {Bargain, JobKey, Receipt, Status} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title How a settled job's provider is paid: by the consumer's word, or by the clock
abstract contract Maturing is Endings {
    /// See {IJobs-acknowledge}.
    function acknowledge(
        JobKey calldata key,
        Bargain calldata bargain,
        Receipt calldata receipt,
        bytes calldata signature
    ) external {
        _checkTimely(key, bargain, Status.Settled, TypedData.hashStage(receipt));
        if (msg.sender != bargain.consumer) _checkAcknowledged(bargain.consumer, key.jobId, receipt, signature);
        _mature(key, bargain, receipt.units);
    }

    /// See {IJobs-mature}.
    function mature(JobKey calldata key, Bargain calldata bargain, Receipt calldata receipt) external {
        _checkOverdue(key, bargain, Status.Settled, TypedData.hashStage(receipt));
        _mature(key, bargain, receipt.units);
    }
}
