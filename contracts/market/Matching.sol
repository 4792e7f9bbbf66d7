// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {Counterparts} from "../libraries/Counterparts.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {JobSlots} from "../libraries/JobSlots.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {AssetUse, Reservation} from "../types/Assets.sol";
import {Grade, JobSpec, Status, Tee} from "../types/Jobs.sol";
import {Windows} from "../types/Money.sol";
import {AssetLimit, AssetOffer, AssetOrder, ComputeOrder, Match, Request} from "../types/Orders.sol";
import {OrderBook} from "./OrderBook.sol";

/// @title Making a job of signed orders, within the limits that each of them states
abstract contract Matching is OrderBook {
    /// Most assets of one job; it bounds the gas of its end. Python has the same number, `protocol.job.MAX_ASSETS`.
    uint256 internal constant MAX_ASSETS = 16;
    uint32 internal constant MAX_WINDOW = 30 days;

    uint32 private immutable _MIN_QUOTE;
    uint32 private immutable _MIN_DECIDE;
    uint32 private immutable _MIN_SETTLE;
    uint32 private immutable _MIN_CHALLENGE;

    /// What follows from all assets of a job.
    struct Demand {
        // Sum of the owners' prices.
        uint256 owners;
        // The highest part of a price that an owner demands for a time-out, in percent.
        uint256 timeoutShare;
    }

    /// Each step of a job waits until the one before it is final, and its own has to become final.
    constructor(Windows memory minimums) {
        uint256 shortest = 2 * uint256(_finality);
        _checkBounds("quote", minimums.quote, shortest, MAX_WINDOW);
        _checkBounds("decide", minimums.decide, shortest, MAX_WINDOW);
        _checkBounds("settle", minimums.settle, _settleOverhead(), MAX_WINDOW);
        _checkBounds("challenge", minimums.challenge, shortest, MAX_WINDOW);
        _MIN_QUOTE = minimums.quote;
        _MIN_DECIDE = minimums.decide;
        _MIN_SETTLE = minimums.settle;
        _MIN_CHALLENGE = minimums.challenge;
    }

    /// See {IJobs-matchJob}.
    function matchJob(Match calldata deal) external returns (bytes32 jobId) {
        if (_paused) revert IJobs.MatchingIsPaused();
        Request calldata request = deal.request;
        ComputeOrder calldata compute = deal.compute;
        JobSpec memory spec = _specOf(request, compute);
        _checkRequest(deal, request, spec);
        _checkOffer(request, compute, spec);
        bytes32 orderHash = _takeComputeOrder(deal, request, compute, spec);
        Demand memory demand = _addAssets(request.assets, deal.offers, spec);
        _checkGrade(compute.grade, spec.minGrade);
        _checkEnd(spec);
        uint256 feesHeld = _lock(request, compute, spec, demand);

        jobId = _digest(TypedData.hashNew(spec));
        bytes32 bargainHash = TypedData.hashBargain(spec);
        uint40 deadline = uint40(block.timestamp) + spec.quoteWindow;
        _slots[spec.requestHash] = JobSlots.make(
            Status.Matched, deadline, _commit(jobId, spec.provider, spec.decideWindow, bargainHash, 0)
        );

        emit IJobs.JobMatched(jobId, spec.consumer, spec.provider, spec, feesHeld, orderHash);
    }

    /// See {IJobs-minimumWindows}.
    function minimumWindows() external view returns (Windows memory) {
        return Windows({quote: _MIN_QUOTE, decide: _MIN_DECIDE, settle: _MIN_SETTLE, challenge: _MIN_CHALLENGE});
    }

    /// Reserve each asset and write it into the spec, with the committee and grade that follow from all of them.
    function _addAssets(AssetLimit[] calldata limits, AssetOffer[] calldata offers, JobSpec memory spec)
        private
        returns (Demand memory demand)
    {
        uint256 count = limits.length;
        _checkBounds("assets", count, 1, MAX_ASSETS);
        if (offers.length != count) revert IJobs.Mismatch("offers", offers.length, count);
        spec.assets = new AssetUse[](count);
        for (uint256 i = 0; i < count; ++i) {
            _addAsset(spec, i, limits[i], offers[i], demand);
        }
    }

    function _addAsset(
        JobSpec memory spec,
        uint256 i,
        AssetLimit calldata limit,
        AssetOffer calldata offer,
        Demand memory demand
    ) private {
        Reservation memory reserved =
            _registry.reserve(limit, spec.consumer, spec.token, spec.purpose, offer.termsProof);
        AssetUse memory use;
        use.assetId = limit.assetId;
        use.owner = reserved.owner;
        use.version = limit.version;
        use.termsVersion = limit.termsVersion;
        use.sealHash = reserved.sealHash;
        use.epsilon = limit.epsilon;
        _checkBeside(spec, i, use.assetId, reserved);
        spec.assets[i] = use;
        if (reserved.minGrade > spec.minGrade) spec.minGrade = reserved.minGrade;

        bytes calldata signature = offer.signature;
        uint128 price = signature.length == 0 ? reserved.price : _orderPrice(spec, use, offer, signature);
        if (price > reserved.price) revert IJobs.PriceTooHigh("standing", price, reserved.price);
        uint128 most = limit.maxPrice;
        if (price > most) revert IJobs.PriceTooHigh("asset", price, most);
        use.price = price;
        demand.owners += price;
        if (reserved.timeoutShare > demand.timeoutShare) demand.timeoutShare = reserved.timeoutShare;
    }

    /// Check the asset at position `i` against the job and those before it: another asset, of the same epoch, that may
    /// be held so long.
    function _checkBeside(JobSpec memory spec, uint256 i, bytes32 assetId, Reservation memory reserved) private pure {
        if (i == 0) spec.epoch = reserved.epoch;
        if (reserved.epoch != spec.epoch) revert IJobs.EpochsDiffer(assetId, reserved.epoch, spec.epoch);
        for (uint256 j = 0; j < i; ++j) {
            if (spec.assets[j].assetId == assetId) revert IJobs.AssetTwice(assetId, j, i);
        }
        _checkBounds("maxHold of terms", _longestUse(spec), 0, reserved.maxHold);
    }

    /// Check that the job is over when its epoch ends, however slowly it goes: its committee need not stay for it.
    function _checkEnd(JobSpec memory spec) private view {
        uint32 epoch = spec.epoch;
        if (epoch > _lastEnding) return;
        uint40 endsAt = _ends[epoch];
        uint256 until = block.timestamp + _longestJob(spec);
        if (endsAt != 0 && until > endsAt) revert IJobs.EpochEnds(epoch, until, endsAt);
    }

    /// Check the owner's order and count one job under it.
    function _orderPrice(
        JobSpec memory spec,
        AssetUse memory use,
        AssetOffer calldata offer,
        bytes calldata signature
    ) private returns (uint128) {
        AssetOrder calldata order = offer.order;
        (bytes32 assetId, uint32 version, uint32 volume) = (order.assetId, order.version, order.volume);
        if (assetId != use.assetId) revert IJobs.Mismatch("assetId", uint256(assetId), uint256(use.assetId));
        if (version != use.version) revert IJobs.Mismatch("version", version, use.version);
        if (order.consumers != 0) _checkIncluded(order.consumers, spec.consumer, offer.consumerProof);
        if (order.providers != 0) _checkIncluded(order.providers, spec.provider, offer.providerProof);
        bytes32 orderHash = TypedData.hash(order);
        _checkSigned(spec.token, use.owner, orderHash, uint64(order.salt >> 192), order.expiry, signature);
        _useOrder(use.owner, orderHash, volume);
        return order.price;
    }

    /// Lock the payer's escrow and the provider's stake.
    function _lock(
        Request calldata request,
        ComputeOrder calldata compute,
        JobSpec memory spec,
        Demand memory demand
    ) private returns (uint256 feesHeld) {
        uint256 owners = demand.owners;
        uint256 atTimeout = spec.timeoutFee + (owners * demand.timeoutShare + 99) / 100;
        _checkBounds("timeoutLimit", spec.timeoutLimit, atTimeout, type(uint128).max);
        FeeBook book = _openBook(spec.epoch, spec.token);
        (uint256 penalty, uint256 fee) = (spec.penalty, book.fee());
        feesHeld = book.reserve();
        _checkBounds("penalty", penalty, request.minPenalty, type(uint128).max);
        // A fault of the platform pays from the penalty: the decision, the answer to a challenge, posted releases.
        _checkBounds("penalty for fees", penalty, 2 * feesHeld + book.members() * fee, type(uint128).max);
        _checkBounds("maxStake", owners + penalty, 0, compute.maxStake);
        // By the penalty that the request asks for: a provider that offers more does not raise what the payer can lose.
        uint256 hold = _holdFee(owners, request.minPenalty, uint256(spec.quoteWindow) + spec.decideWindow, fee);
        uint256 work = spec.computePrice + uint256(spec.unitPrice) * spec.maxUnits;
        _take(spec.token, spec.payer, owners + work + feesHeld + hold);
        _lockStake(spec.token, spec.provider, owners + penalty);
        // No truncation: the payer's balance covered it.
        spec.holdFee = uint128(hold);
    }

    function _checkRequest(Match calldata deal, Request calldata request, JobSpec memory spec) private view {
        bytes32 requestHash = spec.requestHash;
        _checkUnused(requestHash);
        _checkBounds("quoteWindow", spec.quoteWindow, _MIN_QUOTE, MAX_WINDOW);
        _checkBounds("decideWindow", spec.decideWindow, _MIN_DECIDE, MAX_WINDOW);
        uint256 least = uint256(spec.runSeconds) + spec.readSeconds + spec.validateSeconds + _settleOverhead();
        _checkBounds("settleWindow", spec.settleWindow, least > _MIN_SETTLE ? least : _MIN_SETTLE, MAX_WINDOW);
        _checkBounds("challengeWindow", spec.challengeWindow, _MIN_CHALLENGE, MAX_WINDOW);
        _checkBounds("minGrade", spec.minGrade, 1, uint8(type(Grade).max));
        _checkBounds("tee", spec.tee, 1, uint8(type(Tee).max));
        _checkBounds("kind", spec.kind, 1, type(uint8).max);
        (address token, uint256 salt) = (spec.token, request.salt);
        bool sponsored = spec.payer != spec.consumer;
        uint64 generation = sponsored ? uint32(salt >> 192) : uint64(salt >> 192);
        _checkSigned(token, spec.consumer, requestHash, generation, request.expiry, deal.consumerSignature);
        if (!sponsored) return;
        _checkGeneration(token, spec.payer, uint64(salt >> 224));
        _checkSignature(spec.payer, _digest(requestHash), deal.payerSignature);
    }

    /// Hold the request against what the provider's order allows, and the order's prices against the request.
    function _checkOffer(Request calldata request, ComputeOrder calldata compute, JobSpec memory spec) private pure {
        if (compute.kind != spec.kind) revert IJobs.Mismatch("kind", compute.kind, spec.kind);
        address token = compute.token;
        if (token != spec.token) revert IJobs.Mismatch("token", uint160(token), uint160(spec.token));
        uint8 tee = compute.tee;
        if (tee != spec.tee) revert IJobs.Mismatch("tee", tee, spec.tee);
        uint128 most = request.maxComputePrice;
        if (spec.computePrice > most) revert IJobs.PriceTooHigh("compute", spec.computePrice, most);
        most = request.maxUnitPrice;
        if (spec.unitPrice > most) revert IJobs.PriceTooHigh("unit", spec.unitPrice, most);
        _checkBounds("minQuoteWindow", spec.quoteWindow, compute.minQuoteWindow, MAX_WINDOW);
        _checkBounds("minSettleWindow", spec.settleWindow, compute.minSettleWindow, MAX_WINDOW);
        _checkBounds("maxHold", _longestJob(spec), 0, compute.maxHold);
        _checkBounds("maxRunSeconds", spec.runSeconds, 0, compute.maxRunSeconds);
        _checkBounds("maxReadSeconds", spec.readSeconds, 0, compute.maxReadSeconds);
        _checkBounds("maxValidateSeconds", spec.validateSeconds, 0, compute.maxValidateSeconds);
        _checkBounds("maxDecodedBytes", spec.decodedBytes, 0, compute.maxDecodedBytes);
    }

    /// Check the compute order's parties and signature, and count one job under it.
    function _takeComputeOrder(
        Match calldata deal,
        Request calldata request,
        ComputeOrder calldata compute,
        JobSpec memory spec
    ) private returns (bytes32 orderHash) {
        address provider = spec.provider;
        if (request.providers != 0) _checkIncluded(request.providers, provider, deal.providerProof);
        if (compute.consumers != 0) _checkIncluded(compute.consumers, spec.consumer, deal.consumerProof);
        if (!Counterparts.includes(request.capabilities, spec.capabilityHash, deal.capabilityProof)) {
            revert IJobs.CapabilityNotAccepted(spec.capabilityHash, request.capabilities);
        }
        orderHash = TypedData.hash(compute);
        uint64 generation = uint64(compute.salt >> 192);
        _checkSigned(spec.token, provider, orderHash, generation, compute.expiry, deal.providerSignature);
        _useOrder(provider, orderHash, compute.volume);
    }

    function _specOf(Request calldata request, ComputeOrder calldata compute)
        private
        view
        returns (JobSpec memory spec)
    {
        spec.requestHash = TypedData.hash(request);
        spec.kind = request.kind;
        spec.extensionHash = request.extensionHash;
        spec.consumer = request.consumer;
        spec.payer = request.payer;
        spec.provider = compute.provider;
        spec.token = request.token;
        spec.workloadDigest = request.workloadDigest;
        spec.parametersDigest = request.parametersDigest;
        spec.resultKeysHash = request.resultKeysHash;
        spec.capabilityHash = compute.capabilityHash;
        spec.purpose = request.purpose;
        spec.tee = request.tee;
        spec.minGrade = request.minGrade;
        spec.computePrice = compute.price;
        spec.unitPrice = compute.unitPrice;
        spec.maxUnits = request.maxUnits;
        spec.penalty = compute.penalty;
        spec.timeoutFee = compute.timeoutFee;
        spec.timeoutLimit = request.timeoutLimit;
        spec.runSeconds = request.runSeconds;
        spec.readSeconds = request.readSeconds;
        spec.validateSeconds = request.validateSeconds;
        spec.decodedBytes = request.decodedBytes;
        spec.matchedAt = uint64(block.timestamp);
        spec.quoteWindow = request.quoteWindow;
        spec.decideWindow = request.decideWindow;
        spec.settleWindow = request.settleWindow;
        spec.challengeWindow = request.challengeWindow;
    }

    /// Seconds of a settle window that no stage of the enclave may use: the acceptance and the release become final,
    /// bytes move, the settlement is sent and becomes final.
    function _settleOverhead() private view returns (uint256) {
        return uint256(_transferAllowance) + 4 * uint256(_finality);
    }

    /// The longest that a job can hold the uses that it took: until it is accepted and, at the latest after a report
    /// of missing shares, settled.
    function _longestUse(JobSpec memory spec) private pure returns (uint256) {
        return uint256(spec.quoteWindow) + 2 * uint256(spec.decideWindow) + 2 * uint256(spec.settleWindow);
    }

    /// The longest that a job can last, and hold stake: until an answer to a challenge in the last second for one.
    function _longestJob(JobSpec memory spec) private pure returns (uint256) {
        return _longestUse(spec) + spec.decideWindow + spec.challengeWindow;
    }
}
