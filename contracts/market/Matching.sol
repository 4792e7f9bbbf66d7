// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {IOrders} from "../interfaces/IOrders.sol";
import {JobSlots} from "../libraries/JobSlots.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {AssetUse, Reservation} from "../types/Assets.sol";
import {Grade, JobSpec, Status, Tee} from "../types/Jobs.sol";
import {Windows} from "../types/Money.sol";
import {AssetLimit, AssetOffer, AssetOrder, ComputeOrder, Match, Request} from "../types/Orders.sol";
import {OrderBook} from "./OrderBook.sol";

/// @title Making a job of signed orders
abstract contract Matching is OrderBook {
    /// A volume that means "as often as the terms allow".
    uint32 internal constant UNCOUNTED = type(uint32).max;
    /// Most assets of one job; it bounds the gas of its end. Python has the same number, `protocol.job.MAX_ASSETS`.
    uint256 internal constant MAX_ASSETS = 16;
    uint32 internal constant MAX_WINDOW = 30 days;

    uint32 private immutable _MIN_QUOTE;
    uint32 private immutable _MIN_DECIDE;
    uint32 private immutable _MIN_SETTLE;
    uint32 private immutable _MIN_CHALLENGE;

    /// The committee epoch that follows from a job's assets.
    struct EpochChoice {
        uint32 highest;
        // Epoch of the assets that do not follow; 0 if all do.
        uint32 pinned;
        bytes32 pinnedBy;
    }

    constructor(Windows memory minimums) {
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
        bytes32 orderHash = _takeComputeOrder(deal, request, compute, spec);
        uint256 owners = _addAssets(request.assets, deal.offers, spec);
        _checkGrade(compute.grade, spec.minGrade);
        uint256 feesHeld = _lock(spec, owners);

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
    /// @return owners Sum of the owners' prices.
    function _addAssets(AssetLimit[] calldata limits, AssetOffer[] calldata offers, JobSpec memory spec)
        private
        returns (uint256 owners)
    {
        uint256 count = limits.length;
        if (count == 0 || count > MAX_ASSETS) revert IJobs.OutOfBounds("assets", count, 1, MAX_ASSETS);
        if (offers.length != count) revert IJobs.Mismatch("offers", offers.length, count);
        spec.assets = new AssetUse[](count);
        EpochChoice memory choice;
        for (uint256 i = 0; i < count; ++i) {
            owners += _addAsset(spec, i, limits[i], offers[i], choice);
        }
        if (choice.pinned != 0 && choice.pinned != choice.highest) {
            revert IJobs.EpochsDiffer(choice.pinnedBy, choice.pinned, choice.highest);
        }
        spec.epoch = choice.highest;
    }

    function _addAsset(
        JobSpec memory spec,
        uint256 i,
        AssetLimit calldata limit,
        AssetOffer calldata offer,
        EpochChoice memory choice
    ) private returns (uint128 price) {
        Reservation memory reserved =
            _registry.reserve(limit, spec.consumer, spec.token, spec.purpose, offer.termsProof);
        AssetUse memory use;
        use.assetId = limit.assetId;
        use.owner = reserved.owner;
        use.version = limit.version;
        use.termsVersion = limit.termsVersion;
        use.sealHash = reserved.sealHash;
        use.epsilon = limit.epsilon;
        spec.assets[i] = use;
        _choose(choice, use.assetId, reserved);
        if (reserved.minGrade > spec.minGrade) spec.minGrade = reserved.minGrade;

        bytes calldata signature = offer.signature;
        price = signature.length == 0 ? reserved.price : _orderPrice(spec, use, offer, signature);
        uint128 most = limit.maxPrice;
        if (price > most) revert IJobs.PriceTooHigh("asset", price, most);
        use.price = price;
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
        _checkSigned(spec.token, use.owner, orderHash, order.salt, order.expiry, signature);
        if (volume == UNCOUNTED) {
            _checkNotCancelled(use.owner, orderHash);
        } else {
            _countOrder(use.owner, orderHash, volume);
            emit IOrders.OrderUsed(use.owner, orderHash);
        }
        return order.price;
    }

    /// Lock the payer's escrow and the provider's stake.
    function _lock(JobSpec memory spec, uint256 owners) private returns (uint256 feesHeld) {
        feesHeld = _openBook(spec.epoch, spec.token).reserve();
        uint256 work = spec.computePrice + uint256(spec.unitPrice) * spec.maxUnits;
        _take(spec.token, spec.payer, owners + work + feesHeld);
        _lockStake(spec.token, spec.provider, owners + spec.penalty);
    }

    function _checkRequest(Match calldata deal, Request calldata request, JobSpec memory spec) private view {
        bytes32 requestHash = spec.requestHash;
        _checkUnused(requestHash);
        _checkWindow("quoteWindow", spec.quoteWindow, _MIN_QUOTE);
        _checkWindow("decideWindow", spec.decideWindow, _MIN_DECIDE);
        _checkWindow("settleWindow", spec.settleWindow, _MIN_SETTLE);
        _checkWindow("challengeWindow", spec.challengeWindow, _MIN_CHALLENGE);
        _checkNumbered("minGrade", spec.minGrade, uint8(type(Grade).max));
        _checkNumbered("tee", spec.tee, uint8(type(Tee).max));
        _checkSigned(spec.token, spec.consumer, requestHash, request.salt, request.expiry, deal.consumerSignature);
        if (spec.payer != spec.consumer) {
            _checkSignature(spec.payer, _digest(requestHash), deal.payerSignature);
        }
    }

    /// Hold the compute order against the request, and count one job under it.
    function _takeComputeOrder(
        Match calldata deal,
        Request calldata request,
        ComputeOrder calldata compute,
        JobSpec memory spec
    ) private returns (bytes32 orderHash) {
        address token = compute.token;
        if (token != spec.token) revert IJobs.Mismatch("token", uint160(token), uint160(spec.token));
        uint8 tee = compute.tee;
        if (tee != spec.tee) revert IJobs.Mismatch("tee", tee, spec.tee);
        uint128 most = request.maxComputePrice;
        if (spec.computePrice > most) revert IJobs.PriceTooHigh("compute", spec.computePrice, most);
        most = request.maxUnitPrice;
        if (spec.unitPrice > most) revert IJobs.PriceTooHigh("unit", spec.unitPrice, most);
        address provider = spec.provider;
        if (request.providers != 0) _checkIncluded(request.providers, provider, deal.providerProof);
        if (compute.consumers != 0) _checkIncluded(compute.consumers, spec.consumer, deal.consumerProof);
        orderHash = TypedData.hash(compute);
        _checkSigned(token, provider, orderHash, compute.salt, compute.expiry, deal.providerSignature);
        _countOrder(provider, orderHash, compute.volume);
    }

    function _specOf(Request calldata request, ComputeOrder calldata compute)
        private
        view
        returns (JobSpec memory spec)
    {
        spec.requestHash = TypedData.hash(request);
        spec.consumer = request.consumer;
        spec.payer = request.payer;
        spec.provider = compute.provider;
        spec.token = request.token;
        spec.workloadDigest = request.workloadDigest;
        spec.parametersDigest = request.parametersDigest;
        spec.resultKeyHash = request.resultKeyHash;
        spec.purpose = request.purpose;
        spec.tee = request.tee;
        spec.minGrade = request.minGrade;
        spec.computePrice = compute.price;
        spec.unitPrice = compute.unitPrice;
        spec.maxUnits = request.maxUnits;
        spec.penalty = compute.penalty;
        spec.matchedAt = uint64(block.timestamp);
        spec.quoteWindow = request.quoteWindow;
        spec.decideWindow = request.decideWindow;
        spec.settleWindow = request.settleWindow;
        spec.challengeWindow = request.challengeWindow;
    }

    function _choose(EpochChoice memory choice, bytes32 assetId, Reservation memory reserved) private pure {
        if (reserved.epoch > choice.highest) choice.highest = reserved.epoch;
        if (reserved.followsCommittees) return;
        if (choice.pinned != 0 && choice.pinned != reserved.epoch) {
            revert IJobs.EpochsDiffer(assetId, reserved.epoch, choice.pinned);
        }
        choice.pinned = reserved.epoch;
        choice.pinnedBy = assetId;
    }

    function _checkWindow(bytes32 field, uint32 got, uint32 least) private pure {
        if (got < least || got > MAX_WINDOW) revert IJobs.OutOfBounds(field, got, least, MAX_WINDOW);
    }

    /// A number that names one of 1 to `highest`.
    function _checkNumbered(bytes32 field, uint8 got, uint8 highest) private pure {
        if (got == 0 || got > highest) revert IJobs.OutOfBounds(field, got, 1, highest);
    }
}
