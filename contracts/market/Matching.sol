// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {IOrders} from "../interfaces/IOrders.sol";
import {JobSlots} from "../libraries/JobSlots.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {AssetClaim, AssetUse, Reservation} from "../types/Assets.sol";
import {Bargain, Grade, JobSpec, Status, Tee} from "../types/Jobs.sol";
import {Windows} from "../types/Money.sol";
import {AssetLimit, AssetOffer, AssetOrder, ComputeOrder, Match, Request} from "../types/Orders.sol";
import {OrderBook} from "./OrderBook.sol";

/// @title From signed orders to a job
abstract contract Matching is OrderBook {
    /// A volume that stands for "as often as the terms allow".
    uint32 internal constant UNCOUNTED = type(uint32).max;
    /// Most assets of one job: bounds what its end has to pay out.
    uint256 internal constant MAX_ASSETS = 16;
    uint32 internal constant MAX_WINDOW = 30 days;

    uint32 private immutable _MIN_QUOTE;
    uint32 private immutable _MIN_DECIDE;
    uint32 private immutable _MIN_SETTLE;
    uint32 private immutable _MIN_CHALLENGE;

    /// Which committee a job's assets lead to.
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
        require(!_paused, IJobs.MatchingIsPaused());
        Request calldata request = deal.request;
        ComputeOrder calldata compute = deal.compute;
        bytes32 requestHash = TypedData.hash(request);
        _checkRequest(deal, request, requestHash);
        bytes32 orderHash = _takeComputeOrder(deal, request, compute);

        JobSpec memory spec = _specOf(requestHash, request, compute);
        uint256 owners = _addAssets(request.assets, deal.offers, spec);
        require(compute.grade >= spec.minGrade, IJobs.GradeTooLow(compute.grade, spec.minGrade));
        uint256 feesHeld = _lock(spec, owners);
        jobId = _digest(TypedData.hashNew(spec));
        uint208 commitment =
            _commit(jobId, spec.provider, spec.decideWindow, TypedData.hashNew(_bargainOf(spec)), 0);
        uint40 deadline = uint40(block.timestamp) + spec.quoteWindow;
        _slots[requestHash] = JobSlots.make(Status.Matched, deadline, commitment);

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
        require(
            count != 0 && count <= MAX_ASSETS, IJobs.OutOfBounds("assets", count, 1, MAX_ASSETS)
        );
        require(offers.length == count, IJobs.Mismatch("offers", offers.length, count));
        spec.assets = new AssetUse[](count);
        EpochChoice memory choice;
        for (uint256 i = 0; i < count; ++i) {
            owners += _addAsset(spec, i, limits[i], offers[i], choice);
        }
        require(
            choice.pinned == 0 || choice.pinned == choice.highest,
            IJobs.EpochsDiffer(choice.pinnedBy, choice.pinned, choice.highest)
        );
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
        price = offer.signature.length == 0 ? reserved.price : _orderPrice(spec, reserved.owner, limit, offer);
        require(price <= limit.maxPrice, IJobs.PriceTooHigh("asset", price, limit.maxPrice));
        _choose(choice, limit.assetId, reserved);
        if (reserved.minGrade > spec.minGrade) spec.minGrade = reserved.minGrade;
        spec.assets[i] = AssetUse({
            assetId: limit.assetId,
            owner: reserved.owner,
            version: limit.version,
            termsVersion: limit.termsVersion,
            sealHash: reserved.sealHash,
            price: price,
            epsilon: limit.epsilon
        });
    }

    /// Check the owner's order and count one job under it.
    function _orderPrice(JobSpec memory spec, address owner, AssetLimit calldata limit, AssetOffer calldata offer)
        private
        returns (uint128)
    {
        AssetOrder calldata order = offer.order;
        require(
            order.assetId == limit.assetId,
            IJobs.Mismatch("assetId", uint256(order.assetId), uint256(limit.assetId))
        );
        require(order.version == limit.version, IJobs.Mismatch("version", order.version, limit.version));
        if (order.consumers != 0) _checkIncluded(order.consumers, spec.consumer, offer.consumerProof);
        if (order.providers != 0) _checkIncluded(order.providers, spec.provider, offer.providerProof);
        bytes32 orderHash = TypedData.hash(order);
        _checkSigned(spec.token, owner, orderHash, order.salt, order.expiry, offer.signature);
        if (order.volume == UNCOUNTED) {
            _checkNotCancelled(owner, orderHash);
        } else {
            _countOrder(owner, orderHash, order.volume);
            emit IOrders.OrderUsed(owner, orderHash);
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

    function _checkRequest(Match calldata deal, Request calldata request, bytes32 requestHash) private view {
        _checkUnused(requestHash);
        _checkWindow("quoteWindow", request.quoteWindow, _MIN_QUOTE);
        _checkWindow("decideWindow", request.decideWindow, _MIN_DECIDE);
        _checkWindow("settleWindow", request.settleWindow, _MIN_SETTLE);
        _checkWindow("challengeWindow", request.challengeWindow, _MIN_CHALLENGE);
        uint8 grade = request.minGrade;
        require(
            grade != 0 && grade <= uint8(type(Grade).max),
            IJobs.OutOfBounds("minGrade", grade, 1, uint8(type(Grade).max))
        );
        uint8 tee = request.tee;
        require(tee != 0 && tee <= uint8(type(Tee).max), IJobs.OutOfBounds("tee", tee, 1, uint8(type(Tee).max)));
        _checkSigned(request.token, request.consumer, requestHash, request.salt, request.expiry, deal.consumerSignature);
        if (request.payer != request.consumer) {
            _checkSignature(request.payer, _digest(requestHash), deal.payerSignature);
        }
    }

    /// Hold the compute order against the request, and count one job under it.
    function _takeComputeOrder(Match calldata deal, Request calldata request, ComputeOrder calldata compute)
        private
        returns (bytes32 orderHash)
    {
        (address provider, address token) = (compute.provider, compute.token);
        require(token == request.token, IJobs.Mismatch("token", uint160(token), uint160(request.token)));
        require(compute.tee == request.tee, IJobs.Mismatch("tee", compute.tee, request.tee));
        require(
            compute.price <= request.maxComputePrice,
            IJobs.PriceTooHigh("compute", compute.price, request.maxComputePrice)
        );
        require(
            compute.unitPrice <= request.maxUnitPrice,
            IJobs.PriceTooHigh("unit", compute.unitPrice, request.maxUnitPrice)
        );
        if (request.providers != 0) _checkIncluded(request.providers, provider, deal.providerProof);
        if (compute.consumers != 0) _checkIncluded(compute.consumers, request.consumer, deal.consumerProof);
        orderHash = TypedData.hash(compute);
        _checkSigned(token, provider, orderHash, compute.salt, compute.expiry, deal.providerSignature);
        _countOrder(provider, orderHash, compute.volume);
    }

    function _specOf(bytes32 requestHash, Request calldata request, ComputeOrder calldata compute)
        private
        view
        returns (JobSpec memory spec)
    {
        spec.requestHash = requestHash;
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

    /// What the steps after the quote will need of the spec.
    function _bargainOf(JobSpec memory spec) private pure returns (Bargain memory bargain) {
        bargain.consumer = spec.consumer;
        bargain.payer = spec.payer;
        bargain.token = spec.token;
        bargain.epoch = spec.epoch;
        bargain.minGrade = spec.minGrade;
        bargain.computePrice = spec.computePrice;
        bargain.unitPrice = spec.unitPrice;
        bargain.maxUnits = spec.maxUnits;
        bargain.penalty = spec.penalty;
        bargain.settleWindow = spec.settleWindow;
        bargain.challengeWindow = spec.challengeWindow;
        bargain.claims = new AssetClaim[](spec.assets.length);
        for (uint256 i = 0; i < spec.assets.length; ++i) {
            AssetUse memory use = spec.assets[i];
            bargain.claims[i] = AssetClaim({
                assetId: use.assetId,
                owner: use.owner,
                version: use.version,
                termsVersion: use.termsVersion,
                price: use.price,
                epsilon: use.epsilon
            });
        }
    }

    function _choose(EpochChoice memory choice, bytes32 assetId, Reservation memory reserved) private pure {
        if (reserved.epoch > choice.highest) choice.highest = reserved.epoch;
        if (reserved.followsCommittees) return;
        require(
            choice.pinned == 0 || choice.pinned == reserved.epoch,
            IJobs.EpochsDiffer(assetId, reserved.epoch, choice.pinned)
        );
        choice.pinned = reserved.epoch;
        choice.pinnedBy = assetId;
    }

    function _checkWindow(bytes32 field, uint32 got, uint32 least) private pure {
        require(got >= least && got <= MAX_WINDOW, IJobs.OutOfBounds(field, got, least, MAX_WINDOW));
    }
}
