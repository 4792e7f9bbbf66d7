// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AssetUse} from "../types/Assets.sol";
import {Decision, JobSpec, Receipt, FailureReport} from "../types/Jobs.sol";
import {AssetLimit, AssetOrder, ComputeOrder, Request} from "../types/Orders.sol";

/// @title EIP-712 hashes of everything that anybody signs
/// @dev A struct in memory is one word per field, a dynamic array one word with its place. So a struct is hashed
/// where it lies: the word in front of it is lent to the type hash, and the last word, where it is an array, to the
/// array's hash. Both are put back. This is what makes hashing cost a tenth of encoding it anew.
library TypedData {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant ASSET_LIMIT_TYPEHASH = keccak256(
        "AssetLimit(bytes32 assetId,uint32 version,uint32 termsVersion,uint128 maxPrice,uint64 epsilon)"
    );
    bytes32 internal constant REQUEST_TYPEHASH = keccak256(
        "Request(address consumer,address payer,address token,bytes32 workloadDigest,bytes32 parametersDigest,bytes32 resultKeyHash,uint32 purpose,uint8 tee,uint8 minGrade,bytes32 providers,uint128 maxComputePrice,uint128 maxUnitPrice,uint32 maxUnits,uint32 quoteWindow,uint32 decideWindow,uint32 settleWindow,uint32 challengeWindow,uint64 expiry,uint256 salt,AssetLimit[] assets)AssetLimit(bytes32 assetId,uint32 version,uint32 termsVersion,uint128 maxPrice,uint64 epsilon)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant COMPUTE_ORDER_TYPEHASH = keccak256(
        "ComputeOrder(address provider,address token,uint8 tee,uint8 grade,uint128 price,uint128 unitPrice,uint128 penalty,uint32 volume,uint64 expiry,bytes32 consumers,uint256 salt)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant ASSET_ORDER_TYPEHASH = keccak256(
        "AssetOrder(bytes32 assetId,uint32 version,uint128 price,uint32 volume,uint64 expiry,bytes32 consumers,bytes32 providers,uint256 salt)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant ASSET_USE_TYPEHASH = keccak256(
        "AssetUse(bytes32 assetId,address owner,uint32 version,uint32 termsVersion,bytes32 sealHash,uint128 price,uint64 epsilon)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant JOB_SPEC_TYPEHASH = keccak256(
        "JobSpec(bytes32 requestHash,address consumer,address payer,address provider,address token,bytes32 workloadDigest,bytes32 parametersDigest,bytes32 resultKeyHash,uint32 purpose,uint8 tee,uint8 minGrade,uint32 epoch,uint128 computePrice,uint128 unitPrice,uint32 maxUnits,uint128 penalty,uint64 matchedAt,uint32 quoteWindow,uint32 decideWindow,uint32 settleWindow,uint32 challengeWindow,AssetUse[] assets)AssetUse(bytes32 assetId,address owner,uint32 version,uint32 termsVersion,bytes32 sealHash,uint128 price,uint64 epsilon)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant QUOTE_TYPEHASH = keccak256("Quote(bytes32 jobId,bytes32 evidenceHash)");
    bytes32 internal constant DECISION_TYPEHASH = keccak256(
        "Decision(bytes32 jobId,bytes32 evidenceHash,address enclaveSigner,bytes32 enclaveKeyHash,bytes32 termsDigest,uint32 epoch,uint8 outcome,uint8 grade,uint256 reasons,uint64 expiry,bytes32 detail)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant STOP_TYPEHASH =
        keccak256("Stop(bytes32 jobId,bytes32 evidenceHash,uint32 epoch,uint256 reasons)");
    bytes32 internal constant SETTLEMENT_TYPEHASH =
        keccak256("Settlement(bytes32 jobId,bytes32 resultHash,bytes32 receiptHash,uint32 units,bool last)");
    bytes32 internal constant FAILURE_TYPEHASH =
        keccak256("Failure(bytes32 jobId,uint8 cause,uint8 assetIndex,uint32 units,bytes32 receiptHash)");
    bytes32 internal constant ACKNOWLEDGEMENT_TYPEHASH =
        keccak256("Acknowledgement(bytes32 jobId,bytes32 resultHash)");
    bytes32 internal constant CHALLENGE_ANSWER_TYPEHASH =
        keccak256("ChallengeAnswer(bytes32 jobId,bytes32 resultHash,bool available)");

    /// @notice EIP-712 domain separator of the market at `market_` on this chain.
    function domainSeparator(address market_) internal view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Sealmarket"), keccak256("1"), block.chainid, market_)
        );
    }

    /// @notice What is signed: 0x1901, domain, struct.
    function toDigest(bytes32 separator, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }

    function hash(Request memory request) internal pure returns (bytes32) {
        AssetLimit[] memory limits = request.assets;
        bytes32[] memory hashes = new bytes32[](limits.length);
        for (uint256 i = 0; i < limits.length; ++i) {
            hashes[i] = _hashWords(_place(limits[i]), 5, ASSET_LIMIT_TYPEHASH);
        }
        return _hashWithTail(_place(request), 20, REQUEST_TYPEHASH, keccak256(abi.encodePacked(hashes)));
    }

    function hash(JobSpec memory spec) internal pure returns (bytes32) {
        AssetUse[] memory uses = spec.assets;
        bytes32[] memory hashes = new bytes32[](uses.length);
        for (uint256 i = 0; i < uses.length; ++i) {
            hashes[i] = _hashWords(_place(uses[i]), 7, ASSET_USE_TYPEHASH);
        }
        return _hashWithTail(_place(spec), 22, JOB_SPEC_TYPEHASH, keccak256(abi.encodePacked(hashes)));
    }

    function hash(ComputeOrder memory order) internal pure returns (bytes32) {
        return _hashWords(_place(order), 11, COMPUTE_ORDER_TYPEHASH);
    }

    function hash(AssetOrder memory order) internal pure returns (bytes32) {
        return _hashWords(_place(order), 8, ASSET_ORDER_TYPEHASH);
    }

    function hash(Decision memory decision) internal pure returns (bytes32) {
        return _hashWords(_place(decision), 11, DECISION_TYPEHASH);
    }

    function quoteHash(bytes32 jobId, bytes32 evidenceHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(QUOTE_TYPEHASH, jobId, evidenceHash));
    }

    function stopHash(bytes32 jobId, bytes32 evidenceHash, uint32 epoch, uint256 reasons)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(STOP_TYPEHASH, jobId, evidenceHash, epoch, reasons));
    }

    /// @notice The settlement that ends a job: `last` is true, since a job settles once.
    function settlementHash(bytes32 jobId, Receipt memory receipt) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(SETTLEMENT_TYPEHASH, jobId, receipt.resultHash, receipt.receiptHash, receipt.units, true)
        );
    }

    function failureHash(bytes32 jobId, FailureReport memory report) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(FAILURE_TYPEHASH, jobId, report.cause, report.assetIndex, report.units, report.receiptHash)
        );
    }

    function acknowledgementHash(bytes32 jobId, bytes32 resultHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACKNOWLEDGEMENT_TYPEHASH, jobId, resultHash));
    }

    function challengeAnswerHash(bytes32 jobId, bytes32 resultHash, bool available) internal pure returns (bytes32) {
        return keccak256(abi.encode(CHALLENGE_ANSWER_TYPEHASH, jobId, resultHash, available));
    }

    /* solhint-disable no-inline-assembly */

    function _hashWords(uint256 place, uint256 words, bytes32 typeHash) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let front := sub(place, 0x20)
            let saved := mload(front)
            mstore(front, typeHash)
            result := keccak256(front, shl(5, add(words, 1)))
            mstore(front, saved)
        }
    }

    function _hashWithTail(uint256 place, uint256 words, bytes32 typeHash, bytes32 tailHash)
        private
        pure
        returns (bytes32 result)
    {
        assembly ("memory-safe") {
            let front := sub(place, 0x20)
            let tail := add(front, shl(5, words))
            let savedFront := mload(front)
            let savedTail := mload(tail)
            mstore(front, typeHash)
            mstore(tail, tailHash)
            result := keccak256(front, shl(5, add(words, 1)))
            mstore(front, savedFront)
            mstore(tail, savedTail)
        }
    }

    function _place(AssetLimit memory value) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := value
        }
    }

    function _place(AssetUse memory value) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := value
        }
    }

    function _place(Request memory value) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := value
        }
    }

    function _place(JobSpec memory value) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := value
        }
    }

    function _place(ComputeOrder memory value) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := value
        }
    }

    function _place(AssetOrder memory value) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := value
        }
    }

    function _place(Decision memory value) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := value
        }
    }

    /* solhint-enable no-inline-assembly */
}
