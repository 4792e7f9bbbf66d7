// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {TypedData} from "../libraries/TypedData.sol";
import {JobSpec} from "../types/Jobs.sol";
import {AssetOrder, ComputeOrder, Request} from "../types/Orders.sol";

/// @title The hashes of documents, to be called with what tests hold in memory
contract Hashes {
    function ofRequest(Request calldata request) external pure returns (bytes32) {
        return TypedData.hash(request);
    }

    function ofSpec(JobSpec calldata spec) external pure returns (bytes32) {
        return TypedData.hash(spec);
    }

    function ofCompute(ComputeOrder calldata order) external pure returns (bytes32) {
        return TypedData.hash(order);
    }

    function ofAsset(AssetOrder calldata order) external pure returns (bytes32) {
        return TypedData.hash(order);
    }
}
