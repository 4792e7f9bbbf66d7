// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AssetClaim, AssetUse} from "../types/Assets.sol";
import {Bargain, Decision, Enclave, FailureReport, JobSpec, SettledResult} from "../types/Jobs.sol";
import {AssetLimit, AssetOrder, ComputeOrder, Request} from "../types/Orders.sol";

/// @title EIP-712 hashes of all signed documents
/// @dev A struct of values is one word per field, in calldata and in memory alike, and that is also how EIP-712 encodes
/// it. Documents in calldata are therefore copied unchanged behind their type hash. Documents in memory are hashed in
/// place: the type hash overwrites the word before the struct, the array's hash the word of a closing array, and both
/// words are restored afterwards. Encoding field by field would cost ten times as much. Words are hashed with dirty
/// upper bits, if any: the hash then differs from every hash that was signed or that a job was made from.
/* solhint-disable no-inline-assembly */
library TypedData {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant ASSET_LIMIT_TYPEHASH = keccak256(
        "AssetLimit(bytes32 assetId,uint32 version,uint32 termsVersion,uint128 maxPrice,uint64 epsilon)"
    );
    bytes32 internal constant REQUEST_TYPEHASH = keccak256(
        "Request(uint8 kind,bytes32 extensionHash,address consumer,address payer,address token,bytes32 workloadDigest,bytes32 parametersDigest,bytes32 resultKeysHash,uint32 purpose,uint8 tee,uint8 minGrade,bytes32 providers,bytes32 capabilities,uint128 maxComputePrice,uint128 maxUnitPrice,uint32 maxUnits,uint128 minPenalty,uint128 timeoutLimit,uint32 runSeconds,uint32 readSeconds,uint32 validateSeconds,uint64 decodedBytes,uint32 quoteWindow,uint32 decideWindow,uint32 settleWindow,uint32 challengeWindow,uint64 expiry,uint256 salt,AssetLimit[] assets)AssetLimit(bytes32 assetId,uint32 version,uint32 termsVersion,uint128 maxPrice,uint64 epsilon)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant COMPUTE_ORDER_TYPEHASH = keccak256(
        "ComputeOrder(uint8 kind,address provider,address token,uint8 tee,uint8 grade,uint128 price,uint128 unitPrice,uint128 penalty,uint128 maxStake,uint128 timeoutFee,uint32 minQuoteWindow,uint32 minSettleWindow,uint32 maxHold,uint32 maxRunSeconds,uint32 maxReadSeconds,uint32 maxValidateSeconds,uint64 maxDecodedBytes,bytes32 capabilityHash,uint32 volume,uint64 expiry,bytes32 consumers,uint256 salt)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant ASSET_ORDER_TYPEHASH = keccak256(
        "AssetOrder(bytes32 assetId,uint32 version,uint128 price,uint32 volume,uint64 expiry,bytes32 consumers,bytes32 providers,uint256 salt)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant ASSET_USE_TYPEHASH = keccak256(
        "AssetUse(bytes32 assetId,address owner,uint32 version,uint32 termsVersion,bytes32 sealHash,uint128 price,uint64 epsilon)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant JOB_SPEC_TYPEHASH = keccak256(
        "JobSpec(bytes32 requestHash,uint8 kind,bytes32 extensionHash,address consumer,address payer,address provider,address token,bytes32 workloadDigest,bytes32 parametersDigest,bytes32 resultKeysHash,bytes32 capabilityHash,uint32 purpose,uint8 tee,uint8 minGrade,uint32 epoch,uint128 computePrice,uint128 unitPrice,uint32 maxUnits,uint128 penalty,uint128 holdFee,uint128 timeoutFee,uint128 timeoutLimit,uint32 runSeconds,uint32 readSeconds,uint32 validateSeconds,uint64 decodedBytes,uint64 matchedAt,uint32 quoteWindow,uint32 decideWindow,uint32 settleWindow,uint32 challengeWindow,AssetUse[] assets)AssetUse(bytes32 assetId,address owner,uint32 version,uint32 termsVersion,bytes32 sealHash,uint128 price,uint64 epsilon)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant ASSET_CLAIM_TYPEHASH = keccak256(
        "AssetClaim(bytes32 assetId,address owner,uint32 version,uint32 termsVersion,uint128 price,uint64 epsilon)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant BARGAIN_TYPEHASH = keccak256(
        "Bargain(address consumer,address payer,address token,uint32 epoch,uint8 minGrade,uint128 computePrice,uint128 unitPrice,uint32 maxUnits,uint128 penalty,uint128 holdFee,uint128 timeoutFee,uint128 timeoutLimit,uint32 settleWindow,uint32 challengeWindow,AssetClaim[] claims)AssetClaim(bytes32 assetId,address owner,uint32 version,uint32 termsVersion,uint128 price,uint64 epsilon)" // solhint-disable-line max-line-length
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
    bytes32 internal constant SHARES_MISSING_TYPEHASH =
        keccak256("SharesMissing(bytes32 jobId,bytes32 evidenceHash,uint16 excluded)");
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

    function hash(Request calldata request) internal pure returns (bytes32) {
        AssetLimit[] calldata limits = request.assets;
        uint256 place;
        uint256 items;
        assembly ("memory-safe") {
            place := request
            items := limits.offset
        }
        bytes32 tail = hashItems(items, limits.length, 5, ASSET_LIMIT_TYPEHASH);
        return hashCopied(place, 29, REQUEST_TYPEHASH, tail);
    }

    function hash(JobSpec calldata spec) internal pure returns (bytes32) {
        AssetUse[] calldata uses = spec.assets;
        uint256 place;
        uint256 items;
        assembly ("memory-safe") {
            place := spec
            items := uses.offset
        }
        bytes32 tail = hashItems(items, uses.length, 7, ASSET_USE_TYPEHASH);
        return hashCopied(place, 32, JOB_SPEC_TYPEHASH, tail);
    }

    function hash(Bargain calldata bargain) internal pure returns (bytes32) {
        AssetClaim[] calldata claims = bargain.claims;
        uint256 place;
        uint256 items;
        assembly ("memory-safe") {
            place := bargain
            items := claims.offset
        }
        bytes32 tail = hashItems(items, claims.length, 6, ASSET_CLAIM_TYPEHASH);
        return hashCopied(place, 15, BARGAIN_TYPEHASH, tail);
    }

    function hash(ComputeOrder calldata order) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := order
        }
        // The last field takes the position of a closing array.
        return hashCopied(place, 22, COMPUTE_ORDER_TYPEHASH, bytes32(order.salt));
    }

    function hash(AssetOrder calldata order) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := order
        }
        return hashCopied(place, 8, ASSET_ORDER_TYPEHASH, bytes32(order.salt));
    }

    /// @notice Hash of a JobSpec that is being made.
    function hashNew(JobSpec memory spec) internal pure returns (bytes32) {
        AssetUse[] memory uses = spec.assets;
        bytes32[] memory hashes = new bytes32[](uses.length);
        for (uint256 i = 0; i < uses.length; ++i) {
            AssetUse memory use = uses[i];
            uint256 item;
            assembly ("memory-safe") {
                item := use
            }
            hashes[i] = _hashInPlace(item, 7, ASSET_USE_TYPEHASH, bytes32(uint256(use.epsilon)));
        }
        uint256 place;
        assembly ("memory-safe") {
            place := spec
        }
        return _hashInPlace(place, 32, JOB_SPEC_TYPEHASH, keccak256(abi.encodePacked(hashes)));
    }

    /// @notice Hash of the Bargain that follows from a JobSpec.
    function hashBargain(JobSpec memory spec) internal pure returns (bytes32) {
        AssetUse[] memory uses = spec.assets;
        bytes32[] memory hashes = new bytes32[](uses.length);
        for (uint256 i = 0; i < uses.length; ++i) {
            AssetUse memory use = uses[i];
            hashes[i] = keccak256(
                abi.encode(
                    ASSET_CLAIM_TYPEHASH,
                    use.assetId,
                    use.owner,
                    use.version,
                    use.termsVersion,
                    use.price,
                    use.epsilon
                )
            );
        }
        Bargain memory bargain;
        (bargain.consumer, bargain.payer, bargain.token) = (spec.consumer, spec.payer, spec.token);
        (bargain.epoch, bargain.minGrade) = (spec.epoch, spec.minGrade);
        (bargain.computePrice, bargain.unitPrice) = (spec.computePrice, spec.unitPrice);
        (bargain.maxUnits, bargain.penalty, bargain.holdFee) = (spec.maxUnits, spec.penalty, spec.holdFee);
        (bargain.timeoutFee, bargain.timeoutLimit) = (spec.timeoutFee, spec.timeoutLimit);
        (bargain.settleWindow, bargain.challengeWindow) = (spec.settleWindow, spec.challengeWindow);
        uint256 place;
        assembly ("memory-safe") {
            place := bargain
        }
        return _hashInPlace(place, 15, BARGAIN_TYPEHASH, keccak256(abi.encodePacked(hashes)));
    }

    function hash(Decision memory decision) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := decision
        }
        return _hashInPlace(place, 11, DECISION_TYPEHASH, decision.detail);
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
    function settlementHash(bytes32 jobId, SettledResult memory result) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(SETTLEMENT_TYPEHASH, jobId, result.resultHash, result.receiptHash, result.units, true)
        );
    }

    function failureHash(bytes32 jobId, FailureReport memory report) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(FAILURE_TYPEHASH, jobId, report.cause, report.assetIndex, report.units, report.receiptHash)
        );
    }

    function sharesMissingHash(bytes32 jobId, bytes32 evidenceHash, uint16 excluded) internal pure returns (bytes32) {
        return keccak256(abi.encode(SHARES_MISSING_TYPEHASH, jobId, evidenceHash, excluded));
    }

    function acknowledgementHash(bytes32 jobId, bytes32 resultHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACKNOWLEDGEMENT_TYPEHASH, jobId, resultHash));
    }

    function challengeAnswerHash(bytes32 jobId, bytes32 resultHash, bool available) internal pure returns (bytes32) {
        return keccak256(abi.encode(CHALLENGE_ANSWER_TYPEHASH, jobId, resultHash, available));
    }

    /// @notice What the stages of a job add to its commitment: the hash of their words, without a type hash.
    function hashStage(Enclave calldata enclave) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := enclave
        }
        return _hashWords(place, 3);
    }

    function hashStage(SettledResult calldata result) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := result
        }
        return _hashWords(place, 3);
    }

    /// Hash of `words` words of calldata.
    function _hashWords(uint256 place, uint256 words) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := shl(5, words)
            calldatacopy(free, place, size)
            result := keccak256(free, size)
        }
    }

    /// Hash of `words` words of calldata behind their type hash, with `last` in place of the last of them.
    function hashCopied(uint256 place, uint256 words, bytes32 typeHash, bytes32 last)
        internal
        pure
        returns (bytes32 result)
    {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := shl(5, words)
            mstore(free, typeHash)
            calldatacopy(add(free, 0x20), place, size)
            mstore(add(free, size), last)
            result := keccak256(free, add(size, 0x20))
        }
    }

    /// Hash of the hashes of `count` structs of `words` words each, one behind the other in calldata.
    function hashItems(uint256 place, uint256 count, uint256 words, bytes32 typeHash)
        internal
        pure
        returns (bytes32 result)
    {
        assembly ("memory-safe") {
            let hashes := mload(0x40)
            let item := add(hashes, shl(5, count))
            let size := shl(5, words)
            mstore(item, typeHash)
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                calldatacopy(add(item, 0x20), add(place, mul(i, size)), size)
                mstore(add(hashes, shl(5, i)), keccak256(item, add(size, 0x20)))
            }
            result := keccak256(hashes, shl(5, count))
        }
    }

    /// As `hashCopied`, of a struct in memory, where it lies.
    function _hashInPlace(uint256 place, uint256 words, bytes32 typeHash, bytes32 last)
        private
        pure
        returns (bytes32 result)
    {
        assembly ("memory-safe") {
            let front := sub(place, 0x20)
            let end := add(front, shl(5, words))
            let savedFront := mload(front)
            let savedEnd := mload(end)
            mstore(front, typeHash)
            mstore(end, last)
            result := keccak256(front, shl(5, add(words, 1)))
            mstore(front, savedFront)
            mstore(end, savedEnd)
        }
    }
}
