// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {TypedData} from "../libraries/TypedData.sol";
import {Bargain, JobKey, SettledResult, Status} from "../types/Jobs.sol";
import {Endings} from "./Endings.sol";

/// @title Payment of a settled job's provider: by the consumer's acknowledgement, or after the challenge window
abstract contract Maturing is Endings {
    /// See {IJobs-acknowledge}.
    function acknowledge(
        JobKey calldata key,
        Bargain calldata bargain,
        SettledResult calldata result,
        bytes calldata signature
    ) external {
        _matureAcknowledged(key, bargain, result, signature);
    }

    /// See {IJobs-mature}.
    function mature(JobKey calldata key, Bargain calldata bargain, SettledResult calldata result) external {
        _checkOverdue(key, bargain, Status.Settled, TypedData.hashStage(result));
        _matureMetered(key, bargain, result.units, 0);
    }
}
