// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IJobs} from "./interfaces/IJobs.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IOrders} from "./interfaces/IOrders.sol";
import {Fixture} from "./testing/Fixture.sol";
import {vm} from "./testing/Vm.sol";
import {TrickyWallet, Wallet} from "./testing/Wallets.sol";
import {Seal, Terms, VersionState} from "./types/Assets.sol";
import {Bargain, Grade, JobKey, JobSpec, Status, Tee} from "./types/Jobs.sol";
import {ComputeOrder, Match, Request} from "./types/Orders.sol";

/// @title What makes no job, and what makes one
contract MatchingTest is Fixture {
    /// Sign anew after a change, and expect this refusal.
    function _refuseSigned(Match memory deal, bytes4 expected) private {
        _signDeal(deal);
        _refuseMatch(deal, expected);
    }

    function _refuseMatch(Match memory deal, bytes4 expected) private {
        _refuse(abi.encodeCall(IJobs.matchJob, (deal)), expected);
    }

    // ---- signatures ----

    function test_any_forged_signature_is_refused() public {
        Match memory deal = _deal(2);
        bytes memory good = deal.consumerSignature;
        deal.consumerSignature = deal.providerSignature;
        _refuseMatch(deal, IOrders.BadSignature.selector);
        deal.consumerSignature = good;
        deal.providerSignature = good;
        _refuseMatch(deal, IOrders.BadSignature.selector);
        _signDeal(deal);
        deal.offers[1].signature = deal.offers[0].signature;
        _refuseMatch(deal, IOrders.BadSignature.selector);
    }

    function test_a_high_s_signature_is_refused() public {
        Match memory deal = _deal(1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(CONSUMER_KEY, _digest(hashes.ofRequest(deal.request)));
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        deal.consumerSignature = abi.encodePacked(r, order - uint256(s), v == 27 ? uint8(28) : uint8(27));
        _refuseMatch(deal, IOrders.BadSignature.selector);
    }

    function test_a_compact_signature_counts_and_a_cut_one_does_not() public {
        Match memory deal = _deal(1);
        (bytes32 r, bytes32 vs) = _signCompact(CONSUMER_KEY, hashes.ofRequest(deal.request));
        deal.consumerSignature = abi.encodePacked(r, bytes31(vs));
        _refuseMatch(deal, IOrders.BadSignature.selector);
        deal.consumerSignature = abi.encodePacked(r, vs, uint8(0));
        _refuseMatch(deal, IOrders.BadSignature.selector);
        deal.consumerSignature = abi.encodePacked(r, vs);
        market.matchJob(deal);
    }

    function test_the_zero_signer_is_refused() public {
        Match memory deal = _deal(1);
        deal.request.consumer = address(0);
        deal.request.payer = address(0);
        deal.consumerSignature = new bytes(65);
        _refuseMatch(deal, IOrders.BadSignature.selector);
        deal.consumerSignature = "";
        _refuseMatch(deal, IOrders.BadSignature.selector);
    }

    function test_signatures_for_another_chain_or_contract_are_refused() public {
        Match memory deal = _deal(1);
        vm.chainId(1);
        _refuseMatch(deal, IOrders.BadSignature.selector);
        vm.chainId(31337);
        setUp();
        token = address(0);
        Match memory other = _deal(1);
        other.consumerSignature = deal.consumerSignature;
        _refuseMatch(other, IOrders.BadSignature.selector);
    }

    function test_wallets_that_do_not_say_yes_are_refused() public {
        for (uint256 answer = 1; answer < 4; ++answer) {
            Match memory deal = _walletDeal(new Wallet(consumer, Wallet.Answer(answer)));
            _refuseMatch(deal, IOrders.BadSignature.selector);
        }
    }

    function test_a_smart_contract_wallet_may_be_consumer() public {
        Wallet wallet = new Wallet(consumer, Wallet.Answer.Check);
        _fund(address(wallet));
        (JobSpec memory spec,) = _match(_walletDeal(wallet));
        assertEq(spec.consumer, address(wallet), "consumer");
    }

    function _walletDeal(Wallet wallet) private returns (Match memory deal) {
        deal = _deal(1);
        deal.request.consumer = address(wallet);
        deal.request.payer = address(wallet);
        _signDeal(deal);
    }

    /// EIP-7702: an account with a key and, by its delegation, code.
    function test_an_account_that_delegates_its_code_signs_by_its_key_first_and_by_the_delegate_second() public {
        uint256 other = 0x7702;
        address delegate = address(new Wallet(vm.addr(other), Wallet.Answer.Check));
        address[3] memory accounts = [consumer, provider, _owner(0)];
        for (uint256 i = 0; i < 3; ++i) {
            uint256 before = vm.snapshotState();
            vm.etch(accounts[i], abi.encodePacked(hex"ef0100", delegate));
            Match memory deal = _deal(1);
            uint256 matched = vm.snapshotState();
            market.matchJob(deal);
            vm.revertToState(matched);
            _signPart(deal, i, other);
            matched = vm.snapshotState();
            market.matchJob(deal);
            vm.revertToState(matched);
            _signPart(deal, i, 0xbad);
            _refuseMatch(deal, IOrders.BadSignature.selector);
            vm.revertToState(before);
        }
    }

    /// Sign the consumer's, the provider's or the owner's document with another key.
    function _signPart(Match memory deal, uint256 part, uint256 key) private view {
        if (part == 0) deal.consumerSignature = _sign(key, hashes.ofRequest(deal.request));
        else if (part == 1) deal.providerSignature = _sign(key, hashes.ofCompute(deal.compute));
        else deal.offers[0].signature = _sign(key, hashes.ofAsset(deal.offers[0].order));
    }

    // ---- orders ----

    function test_expired_orders_are_refused() public {
        Match memory deal = _deal(1);
        vm.warp(block.timestamp + 1 days + 1);
        _refuseMatch(deal, IOrders.OrderExpired.selector);
    }

    function test_a_request_makes_one_job_only() public {
        Match memory deal = _deal(1);
        _match(deal);
        _refuseMatch(deal, IOrders.RequestUsed.selector);
    }

    function test_a_cancelled_request_makes_none() public {
        Match memory deal = _deal(1);
        _refuse(provider, abi.encodeCall(IOrders.cancelRequest, (deal.request)), IOrders.NotRequestParty.selector);
        vm.prank(consumer);
        market.cancelRequest(deal.request);
        _refuseMatch(deal, IOrders.RequestUsed.selector);
        _refuse(consumer, abi.encodeCall(IOrders.cancelRequest, (deal.request)), IOrders.RequestUsed.selector);
    }

    function test_a_volume_is_not_exceeded() public {
        Match memory deal = _deal(1);
        deal.compute.volume = 2;
        for (uint256 i = 0; i < 2; ++i) {
            deal.request.salt = 1_000 + i;
            _signDeal(deal);
            _match(deal);
        }
        deal.request.salt = 1_002;
        _refuseSigned(deal, IOrders.OrderFilled.selector);
    }

    function test_a_cancelled_order_is_refused_and_nobody_else_can_cancel_it() public {
        Match memory deal = _deal(1);
        bytes32 assetOrder = hashes.ofAsset(deal.offers[0].order);
        vm.prank(provider);
        market.cancelOrder(assetOrder);
        uint256 before = vm.snapshotState();
        market.matchJob(deal);
        vm.revertToState(before);
        vm.prank(_owner(0));
        market.cancelOrder(assetOrder);
        _refuseMatch(deal, IOrders.OrderFilled.selector);
    }

    function test_cancelling_all_voids_what_was_signed_and_nothing_later() public {
        address[3] memory signers = [consumer, provider, _owner(0)];
        Match memory deal = _deal(1);
        for (uint256 i = 0; i < 3; ++i) {
            uint256 before = vm.snapshotState();
            vm.prank(signers[i]);
            market.cancelAllOrders(address(0));
            _refuseMatch(deal, IOrders.WrongGeneration.selector);
            vm.revertToState(before);
        }
        vm.prank(consumer);
        market.cancelAllOrders(address(0));
        deal.request.salt |= 1 << 192;
        _signDeal(deal);
        market.matchJob(deal);
    }

    function test_a_sponsor_that_cancels_all_voids_what_it_signed_for_others() public {
        Match memory deal = _deal(1);
        deal.request.payer = sponsor;
        _signDeal(deal);
        vm.prank(sponsor);
        market.cancelAllOrders(address(0));
        _refuseMatch(deal, IOrders.WrongGeneration.selector);
        deal.request.salt |= 1 << 224;
        _match(_signed(deal));
        Match memory own = _deal(1);
        own.request.salt |= 1 << 224;
        _refuseSigned(own, IOrders.WrongGeneration.selector);
    }

    function test_cancelling_all_in_one_token_leaves_the_others() public {
        vm.prank(consumer);
        market.cancelAllOrders(address(plain));
        assertEq(market.accountOf(address(plain), consumer).generation, 1, "generation in the token");
        assertEq(market.accountOf(address(0), consumer).generation, 0, "generation in coin");
        _match(_deal(1));
        token = address(plain);
        _refuseMatch(_deal(1), IOrders.WrongGeneration.selector);
    }

    function test_a_compute_order_of_the_highest_volume_is_not_counted_and_can_be_cancelled() public {
        Match memory deal = _deal(1);
        deal.compute.volume = type(uint32).max;
        for (uint256 i = 0; i < 2; ++i) {
            deal.request.salt = 1_000 + i;
            _match(_signed(deal));
        }
        bytes32 order = hashes.ofCompute(deal.compute);
        assertEq(market.usedOf(provider, order), 0, "used");
        vm.prank(provider);
        market.cancelOrder(order);
        deal.request.salt = 1_002;
        _refuseSigned(deal, IOrders.OrderFilled.selector);
    }

    function test_an_order_over_other_assets_or_versions_is_refused() public {
        Match memory deal = _deal(2);
        deal.offers[0].order.assetId = deal.offers[1].order.assetId;
        _refuseSigned(deal, IJobs.Mismatch.selector);
        deal = _deal(1);
        deal.offers[0].order.version = 2;
        _refuseSigned(deal, IJobs.Mismatch.selector);
    }

    // ---- what the request allows ----

    function test_prices_above_the_request_are_refused() public {
        Match memory deal = _deal(1);
        deal.compute.price = COMPUTE + 1;
        _refuseSigned(deal, IJobs.PriceTooHigh.selector);
        deal.compute.price = COMPUTE;
        deal.compute.unitPrice = UNIT + 1;
        _refuseSigned(deal, IJobs.PriceTooHigh.selector);
        deal.compute.unitPrice = UNIT;
        deal.offers[0].order.price = PRICE;
        deal.request.assets[0].maxPrice = PRICE - 1;
        _refuseSigned(deal, IJobs.PriceTooHigh.selector);
    }

    function test_fields_that_do_not_fit_are_refused() public {
        Match memory deal = _deal(1);
        deal.compute.tee = uint8(Tee.Snp);
        _refuseSigned(deal, IJobs.Mismatch.selector);
        deal.compute.tee = uint8(Tee.Tdx);
        deal.compute.token = address(plain);
        _refuseSigned(deal, IJobs.Mismatch.selector);
        deal.request.token = address(plain);
        _refuseSigned(deal, IAssetRegistry.AssetTokenMismatch.selector);
        deal.compute.token = address(0xbad);
        deal.request.token = address(0xbad);
        _refuseSigned(deal, IAssetRegistry.AssetTokenMismatch.selector);
    }

    function test_numbers_out_of_bounds_are_refused() public {
        Match memory deal = _deal(1);
        Request memory r = deal.request;
        r.quoteWindow = 59;
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        (r.quoteWindow, r.decideWindow) = (60, 59);
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        (r.decideWindow, r.settleWindow) = (60, 30 days + 1);
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        (r.settleWindow, r.challengeWindow) = (1_800, 59);
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        (r.challengeWindow, r.minGrade) = (60, 0);
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        (r.minGrade, r.tee) = (1, 7);
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        _refuseMatch(_deal(0), IJobs.OutOfBounds.selector);
    }

    function test_the_deployments_shortest_windows_hold_whatever_the_order_allows() public {
        for (uint256 window = 0; window < 4; ++window) {
            Match memory deal = _deal(1);
            (deal.compute.minQuoteWindow, deal.compute.minSettleWindow) = (0, 0);
            if (window == 0) deal.request.quoteWindow = 59;
            if (window == 1) deal.request.decideWindow = 59;
            if (window == 2) deal.request.challengeWindow = 59;
            if (window == 3) {
                (deal.request.runSeconds, deal.request.readSeconds, deal.request.validateSeconds) = (0, 0, 0);
                deal.request.settleWindow = 59;
            }
            _refuseSigned(deal, IJobs.OutOfBounds.selector);
        }
    }

    function test_a_missing_or_extra_offer_is_refused() public {
        Match memory deal = _deal(2);
        Match memory one = _deal(1);
        deal.offers = one.offers;
        _refuseMatch(deal, IJobs.Mismatch.selector);
    }

    function test_grades_below_request_or_terms_are_refused() public {
        Match memory deal = _deal(1);
        deal.request.minGrade = uint8(Grade.Hardware);
        _refuseSigned(deal, IJobs.GradeTooLow.selector);
        Terms memory terms = _terms();
        terms.minGrade = uint8(Grade.Hardware);
        bytes32[] memory assets = new bytes32[](1);
        assets[0] = _publish(0, terms);
        _refuseMatch(_dealOver(assets), IJobs.GradeTooLow.selector);
    }

    // ---- sets ----

    function test_parties_outside_a_set_are_refused_and_inside_accepted() public {
        bytes32 other = _leaf(address(0xa));
        bytes32 providers = _pair(_leaf(provider), other);
        bytes32 consumers = _pair(_leaf(consumer), other);
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = other;
        Match memory deal = _deal(1);
        deal.request.providers = consumers;
        deal.providerProof = proof;
        _refuseSigned(deal, IOrders.NotInSet.selector);
        deal.request.providers = providers;
        deal.compute.consumers = providers;
        deal.consumerProof = proof;
        _refuseSigned(deal, IOrders.NotInSet.selector);
        deal.compute.consumers = consumers;
        deal.offers[0].order.consumers = providers;
        deal.offers[0].consumerProof = proof;
        _refuseSigned(deal, IOrders.NotInSet.selector);
        deal.offers[0].order.consumers = consumers;
        deal.offers[0].order.providers = consumers;
        deal.offers[0].providerProof = proof;
        _refuseSigned(deal, IOrders.NotInSet.selector);
        deal.offers[0].order.providers = providers;
        _signDeal(deal);
        market.matchJob(deal);
    }

    function test_the_terms_own_set_of_consumers_holds_beside_the_orders() public {
        Terms memory terms = _terms();
        terms.consumerRoot = _leaf(address(0xa));
        bytes32[] memory assets = new bytes32[](1);
        assets[0] = _publish(0, terms);
        Match memory deal = _dealOver(assets);
        _refuseMatch(deal, IAssetRegistry.ConsumerNotAllowed.selector);
        terms.consumerRoot = _leaf(consumer);
        assets[0] = _publish(0, terms);
        deal = _dealOver(assets);
        deal.offers[0].signature = "";
        market.matchJob(deal);
    }

    function _leaf(address party) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(party))));
    }

    function _pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encodePacked(a, b)) : keccak256(abi.encodePacked(b, a));
    }

    // ---- terms ----

    function test_terms_that_do_not_stand_are_refused() public {
        Match memory deal = _deal(1);
        bytes32 asset = deal.request.assets[0].assetId;
        deal.request.assets[0].termsVersion = 2;
        _refuseSigned(deal, IAssetRegistry.TermsVersionChanged.selector);
        deal.request.assets[0].termsVersion = 1;
        deal.request.assets[0].version = 2;
        _refuseSigned(deal, IAssetRegistry.UnknownVersion.selector);
        deal.request.assets[0].version = 1;
        deal.request.purpose = 4;
        _refuseSigned(deal, IAssetRegistry.PurposeNotAllowed.selector);
        deal.request.purpose = 0;
        _refuseSigned(deal, IAssetRegistry.PurposeNotAllowed.selector);
        deal.request.purpose = 3;
        deal.request.assets[0].epsilon = 500_001;
        _refuseSigned(deal, IAssetRegistry.JobBudgetTooHigh.selector);
        deal.request.assets[0].epsilon = 1;
        vm.prank(_owner(0));
        registry.revoke(asset, 1);
        _refuseSigned(deal, IAssetRegistry.Revoked.selector);
        deal = _deal(1);
        deal.request.expiry = type(uint64).max;
        deal.compute.expiry = type(uint64).max;
        vm.warp(block.timestamp + 365 days + 1);
        _refuseSigned(deal, IAssetRegistry.TermsExpired.selector);
    }

    function test_neither_uses_nor_budget_can_be_oversubscribed() public {
        Terms memory terms = _terms();
        (terms.maxUses, terms.budget) = (2, 600_000);
        bytes32[] memory assets = new bytes32[](1);
        assets[0] = _publish(0, terms);
        Match memory deal = _dealOver(assets);
        deal.request.assets[0].epsilon = 400_000;
        _signDeal(deal);
        _match(deal);
        deal.request.salt = 2_001;
        _refuseSigned(deal, IAssetRegistry.BudgetExhausted.selector);
        deal.request.assets[0].epsilon = 200_000;
        _signDeal(deal);
        _match(deal);
        deal.request.assets[0].epsilon = 0;
        deal.request.salt = 2_002;
        _refuseSigned(deal, IAssetRegistry.UsesExhausted.selector);
    }

    function test_shares_of_different_committees_do_not_mix() public {
        committee.announce(_signers(4), _hpkeKeyHashes(4), 3);
        Seal memory later = _seal();
        later.epoch = 2;
        bytes32[] memory assets = new bytes32[](2);
        assets[0] = _publish(0, _terms());
        assets[1] = _publish(1, later, _terms());
        _refuseMatch(_dealOver(assets), IJobs.EpochsDiffer.selector);
        assets[0] = _publish(0, later, _terms());
        Match memory deal = _dealOver(assets);
        _refuseMatch(deal, IJobs.EpochNotActive.selector);
        vm.warp(block.timestamp + 1 days);
        (JobSpec memory spec,) = _match(deal);
        assertEq(spec.epoch, 2, "epoch");
    }

    function test_an_asset_stands_once_in_a_job() public {
        bytes32[] memory assets = new bytes32[](3);
        (assets[0], assets[1]) = (_publish(0, _terms()), _publish(1, _terms()));
        assets[2] = assets[0];
        _refuseMatch(_dealOver(assets), IJobs.AssetTwice.selector);
    }

    // ---- what the order allows ----

    function test_a_match_beyond_any_limit_of_the_provider_is_refused() public {
        bytes4 refused = IJobs.OutOfBounds.selector;
        for (uint256 limit = 0; limit < 8; ++limit) {
            Match memory deal = _deal(1);
            Request memory r = deal.request;
            ComputeOrder memory c = deal.compute;
            if (limit == 0) c.maxStake = PRICE + PENALTY - 1;
            if (limit == 1) c.minQuoteWindow = r.quoteWindow + 1;
            if (limit == 2) c.minSettleWindow = r.settleWindow + 1;
            if (limit == 3) c.maxHold = 600 + 3 * 700 + 2 * 1_800 + 900 - 1;
            if (limit == 4) c.maxRunSeconds = r.runSeconds - 1;
            if (limit == 5) c.maxReadSeconds = r.readSeconds - 1;
            if (limit == 6) c.maxValidateSeconds = r.validateSeconds - 1;
            if (limit == 7) c.maxDecodedBytes = r.decodedBytes - 1;
            _refuseSigned(deal, refused);
            if (limit == 0) c.maxStake += 1;
            if (limit == 1) c.minQuoteWindow -= 1;
            if (limit == 2) c.minSettleWindow -= 1;
            if (limit == 3) c.maxHold += 1;
            if (limit == 4) c.maxRunSeconds += 1;
            if (limit == 5) c.maxReadSeconds += 1;
            if (limit == 6) c.maxValidateSeconds += 1;
            if (limit == 7) c.maxDecodedBytes += 1;
            _signDeal(deal);
            _match(deal);
        }
    }

    function test_a_penalty_below_the_requests_or_the_oracles_least_is_refused() public {
        Match memory deal = _deal(1);
        deal.request.minPenalty = PENALTY + 1;
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        deal.request.minPenalty = 0;
        // Two refusing quorums and a posted release of each of three members.
        deal.compute.penalty = 7 * FEE - 1;
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        deal.compute.penalty = 7 * FEE;
        _signDeal(deal);
        _match(deal);
    }

    function test_a_settle_window_holds_every_stage_the_transfer_and_four_finalities() public {
        Match memory deal = _deal(1);
        deal.compute.minSettleWindow = 0;
        deal.request.settleWindow = 300 + 100 + 100 + TRANSFER + 4 * FINALITY - 1;
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        deal.request.settleWindow += 1;
        _signDeal(deal);
        _match(deal);
    }

    function test_a_timeout_limit_below_what_provider_and_owners_demand_is_refused() public {
        Terms memory terms = _terms();
        terms.timeoutShare = 75;
        bytes32[] memory assets = new bytes32[](2);
        (assets[0], assets[1]) = (_publish(0, _terms()), _publish(1, terms));
        Match memory deal = _dealOver(assets);
        // The highest share counts for all, since the owners share in proportion to their prices.
        deal.request.timeoutLimit = TIMEOUT_FEE + 2 * PRICE * 75 / 100 - 1;
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        deal.request.timeoutLimit += 1;
        deal.compute.timeoutFee += 1;
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        deal.compute.timeoutFee -= 1;
        _match(_signed(deal));
    }

    function test_a_capability_that_the_request_does_not_accept_is_refused() public {
        Match memory deal = _deal(1);
        bytes32 mine = keccak256(bytes.concat(keccak256(abi.encode(deal.compute.capabilityHash))));
        bytes32 other = _leaf(address(0xa));
        deal.request.capabilities = other;
        _refuseSigned(deal, IJobs.CapabilityNotAccepted.selector);
        deal.request.capabilities = _pair(mine, other);
        _refuseSigned(deal, IJobs.CapabilityNotAccepted.selector);
        deal.capabilityProof = new bytes32[](1);
        deal.capabilityProof[0] = other;
        (JobSpec memory spec,) = _match(_signed(deal));
        assertEq(spec.capabilityHash, deal.compute.capabilityHash, "the job binds what was promised");
    }

    function test_request_and_order_of_different_kinds_make_no_job_and_a_new_kind_needs_no_new_types() public {
        Match memory deal = _deal(1);
        deal.request.kind = 0;
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        deal.request.kind = 9;
        _refuseSigned(deal, IJobs.Mismatch.selector);
        (deal.compute.kind, deal.request.extensionHash) = (9, keccak256("what kind 9 adds"));
        (JobSpec memory spec,) = _match(_signed(deal));
        assertEq(spec.kind, 9, "kind");
        assertEq(spec.extensionHash, deal.request.extensionHash, "extension");
    }

    function test_a_job_that_would_hold_a_use_longer_than_its_terms_allow_is_refused() public {
        Terms memory terms = _terms();
        terms.maxHold = 600 + 2 * 700 + 2 * 1_800 - 1;
        bytes32[] memory assets = new bytes32[](1);
        assets[0] = _publish(0, terms);
        _refuseMatch(_dealOver(assets), IJobs.OutOfBounds.selector);
        terms.maxHold += 1;
        assets[0] = _publish(0, terms);
        _match(_dealOver(assets));
    }

    function test_an_owner_does_not_take_more_than_its_own_standing_price() public {
        Match memory deal = _deal(1);
        deal.request.assets[0].maxPrice = 10 * PRICE;
        deal.offers[0].order.price = PRICE + 1;
        _refuseSigned(deal, IJobs.PriceTooHigh.selector);
    }

    function test_using_up_orders_by_matching_and_withdrawing_costs_the_hold_fee_each_time() public {
        Match memory deal = _deal(1);
        uint256 burned = 0;
        for (uint256 i = 0; i < 5; ++i) {
            deal.request.salt = 10_000 + i;
            (JobSpec memory spec,) = _match(_signed(deal));
            burned += spec.holdFee;
            JobKey memory key = _key(spec);
            Bargain memory bargain = _bargain(spec);
            vm.prank(consumer);
            market.cancel(key, bargain);
        }
        assertTrue(burned >= 5 * uint256(REQUEST_FEE_FACTOR) * FEE, "at least the fixed part");
        assertEq(FUNDS - _free(consumer), burned, "burned");
    }

    function _signed(Match memory deal) private view returns (Match memory) {
        _signDeal(deal);
        return deal;
    }

    // ---- money ----

    function test_nobody_without_money_or_stake_gets_a_job() public {
        Match memory deal = _deal(1);
        uint256 all = _free(consumer);
        vm.prank(consumer);
        market.withdraw(address(0), all, consumer);
        _refuseMatch(deal, ILedger.InsufficientBalance.selector);
        _fund(consumer);
        all = _staked(provider);
        vm.prank(provider);
        market.unstake(address(0), all);
        _refuseMatch(deal, ILedger.InsufficientStake.selector);
    }

    function test_prices_that_overflow_an_account_are_refused() public {
        Match memory deal = _deal(1);
        deal.request.maxComputePrice = type(uint128).max;
        deal.compute.price = type(uint128).max;
        _refuseSigned(deal, ILedger.InsufficientBalance.selector);
        deal.request.maxUnitPrice = type(uint128).max;
        deal.compute.unitPrice = type(uint128).max;
        deal.request.maxUnits = type(uint32).max;
        _refuseSigned(deal, ILedger.InsufficientBalance.selector);
        deal.compute.price = 0;
        deal.compute.unitPrice = 0;
        deal.compute.penalty = type(uint128).max;
        _refuseSigned(deal, IJobs.OutOfBounds.selector);
        deal.compute.penalty = type(uint88).max;
        deal.compute.maxStake = type(uint128).max;
        _refuseSigned(deal, ILedger.InsufficientStake.selector);
        deal.request.minPenalty = type(uint88).max;
        _refuseSigned(deal, ILedger.InsufficientBalance.selector);
    }

    function test_a_sponsor_pays_only_what_it_signed_and_gets_back_the_rest() public {
        Match memory deal = _deal(1);
        deal.request.payer = sponsor;
        bytes32 requestHash = hashes.ofRequest(deal.request);
        deal.consumerSignature = _sign(CONSUMER_KEY, requestHash);
        _refuseMatch(deal, IOrders.BadSignature.selector);
        deal.payerSignature = deal.consumerSignature;
        _refuseMatch(deal, IOrders.BadSignature.selector);
        deal.payerSignature = _sign(SPONSOR_KEY, requestHash);
        (JobSpec memory spec,) = _match(deal);
        assertEq(_free(consumer), FUNDS, "the consumer pays nothing");
        vm.warp(block.timestamp + 601);
        market.close(_key(spec), _bargain(spec), _noEnclave());
        assertEq(_free(sponsor), FUNDS, "the sponsor gets all back");
        assertEq(_free(consumer), FUNDS, "the consumer gets nothing");
    }

    function test_standing_terms_need_no_signature_of_the_owner() public {
        Match memory deal = _deal(1);
        deal.offers[0].signature = "";
        deal.offers[0].order.price = 1;
        (JobSpec memory spec,) = _match(deal);
        assertEq(spec.assets[0].price, PRICE, "the terms' price, not the unsigned order's");
    }

    function test_a_job_executes_at_the_offers_prices_and_leaves_the_surplus() public {
        Match memory deal = _deal(1);
        deal.request.maxComputePrice = COMPUTE * 10;
        deal.request.assets[0].maxPrice = PRICE * 10;
        deal.offers[0].order.price = PRICE / 2;
        (JobSpec memory spec,) = _match(_signed(deal));
        assertEq(
            FUNDS - _free(consumer), PRICE / 2 + COMPUTE + UNIT * UNITS + 2 * FEE + spec.holdFee, "escrow"
        );
    }

    function test_the_guardian_stops_new_matches_and_nothing_else() public {
        JobSpec memory running = _quoted(1);
        Match memory deal = _deal(1);
        _refuse(consumer, abi.encodeCall(market.setPaused, (true)), IJobs.OnlyGuardian.selector);
        vm.prank(guardian);
        market.setPaused(true);
        _refuseMatch(deal, IJobs.MatchingIsPaused.selector);
        vm.warp(block.timestamp + 701);
        market.close(_key(running), _bargain(running), _evidenceOnly());
        _assertStatus(running, Status.Expired);
        vm.prank(consumer);
        market.withdraw(address(0), 1, consumer);
        vm.prank(guardian);
        market.setPaused(false);
        market.matchJob(deal);
    }

    function test_one_bad_entry_does_not_spoil_a_batch() public {
        bytes[] memory calls = new bytes[](3);
        Match memory bad = _deal(1);
        bad.consumerSignature = bad.providerSignature;
        calls[0] = abi.encodeCall(IJobs.matchJob, (_deal(1)));
        calls[1] = abi.encodeCall(IJobs.matchJob, (bad));
        calls[2] = abi.encodeCall(IJobs.matchJob, (_deal(1)));
        bool[] memory succeeded = market.batch(calls, 500_000);
        assertTrue(succeeded[0] && !succeeded[1] && succeeded[2], "only the bad one fails");
        VersionState memory state = registry.versionOf(bad.request.assets[0].assetId, 1);
        assertEq(state.usesTaken, 0, "nothing stays taken");
    }

    function test_a_costly_or_talkative_entry_takes_no_other_with_it() public {
        TrickyWallet wallet = new TrickyWallet();
        _fund(address(wallet));
        for (uint256 way = 0; way < 3; ++way) {
            bytes[] memory calls = new bytes[](5);
            for (uint256 i = 0; i < 5; ++i) {
                Match memory deal = _deal(1);
                if (i == 1) (deal.request.consumer, deal.request.payer) = (address(wallet), address(wallet));
                calls[i] = abi.encodeCall(IJobs.matchJob, (_signed(deal)));
            }
            // The keeper's estimate was made with an honest wallet.
            wallet.become(TrickyWallet.Way(way));
            bool[] memory succeeded = market.batch{gas: 5 * 600_000}(calls, 500_000);
            assertTrue(succeeded[0] && succeeded[2] && succeeded[3] && succeeded[4], "the others go through");
            if (way != 1) assertTrue(succeeded[1] == (way == 0), "only the honest wallet's own");
        }
    }

    function test_entries_for_which_no_gas_is_left_are_reported() public {
        bytes[] memory calls = new bytes[](3);
        for (uint256 i = 0; i < 3; ++i) {
            calls[i] = abi.encodeCall(IJobs.matchJob, (_deal(1)));
        }
        bool[] memory succeeded = market.batch{gas: 650_000}(calls, 500_000);
        assertTrue(succeeded[0] && !succeeded[1] && !succeeded[2], "the first only");
    }

    function test_a_batch_moves_no_coin_that_was_not_sent() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(ILedger.deposit, (address(0), 5));
        bool[] memory succeeded = market.batch(calls, 500_000);
        assertTrue(!succeeded[0], "a deposit without coin fails");
    }
}
