// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IJobs} from "./interfaces/IJobs.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IOrders} from "./interfaces/IOrders.sol";
import {Releases} from "./libraries/Releases.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Fixture} from "./testing/Fixture.sol";
import {vm} from "./testing/Vm.sol";
import {AssetClaim, Terms, VersionState} from "./types/Assets.sol";
import {NodeSignature} from "./types/Committees.sol";
import {
    Bargain,
    DecisionCore,
    Enclave,
    FailureReport,
    Grade,
    JobKey,
    JobSpec,
    Outcome,
    SettledResult,
    Status
} from "./types/Jobs.sol";
import {Match} from "./types/Orders.sol";

/// @title Every row of the fault table, its money, and who may not bring it about
contract FaultsTest is Fixture {
    uint256 private constant ESCROW = 2 * PRICE + COMPUTE + UNIT * UNITS;
    /// Three fees, and a millionth a second of 2 * 2 * PRICE over 1,300 seconds, rounded up.
    uint256 private constant HOLD = 3 * FEE + 6;

    /// Where every party's money is after a job of two assets, whose signers took `fees`.
    function _assertMoney(uint256 consumerLoses, int256 providerGains, uint256 stakeLoses, uint256 ownersGet)
        private
        view
    {
        assertEq(FUNDS - _free(consumer), consumerLoses, "consumer");
        assertEq(_free(provider), uint256(int256(FUNDS / 2) + providerGains), "provider");
        assertEq(FUNDS / 2 - _staked(provider), stakeLoses, "stake");
        assertEq(_free(_owner(0)) + _free(_owner(1)), ownersGet, "owners");
    }

    function _assertUses(JobSpec memory spec, uint256 taken) private view {
        for (uint256 i = 0; i < spec.assets.length; ++i) {
            VersionState memory state = registry.versionOf(spec.assets[i].assetId, 1);
            assertEq(state.usesTaken, taken, "uses taken");
            assertEq(state.budgetTaken, taken * EPSILON, "budget taken");
        }
    }

    // ---- before acceptance ----

    function test_no_quote_in_time_refunds_and_burns_the_penalty() public {
        JobSpec memory spec = _matched(2);
        _assertUses(spec, 1);
        _refuse(abi.encodeCall(IJobs.close, (_key(spec), _bargain(spec), _noEnclave())), IJobs.TooEarly.selector);
        vm.warp(block.timestamp + 601);
        _refuse(
            provider,
            abi.encodeCall(IJobs.quote, (_key(spec), TypedData.hashBargain(spec), EVIDENCE, "")),
            IJobs.TooLate.selector
        );
        market.close(_key(spec), _bargain(spec), _noEnclave());
        _assertStatus(spec, Status.Expired);
        _assertMoney(0, 0, PENALTY, 0);
        assertEq(_burned(), PENALTY, "burned");
        assertEq(market.accountOf(address(0), provider).expired, 1, "counter");
        _assertUses(spec, 0);
    }

    function test_a_silent_committee_harms_nobody() public {
        JobSpec memory spec = _quoted(2);
        vm.warp(block.timestamp + 700);
        _refuse(abi.encodeCall(IJobs.close, (_key(spec), _bargain(spec), _evidenceOnly())), IJobs.TooEarly.selector);
        vm.warp(block.timestamp + 1);
        market.close(_key(spec), _bargain(spec), _evidenceOnly());
        _assertStatus(spec, Status.Expired);
        _assertMoney(0, 0, 0, 0);
        _assertUses(spec, 0);
    }

    function test_withdrawing_before_a_quote_burns_the_hold_fee() public {
        JobSpec memory spec = _matched(2);
        _refuse(provider, abi.encodeCall(IJobs.cancel, (_key(spec), _bargain(spec))), IOrders.NotRequestParty.selector);
        vm.prank(consumer);
        market.cancel(_key(spec), _bargain(spec));
        _assertStatus(spec, Status.Cancelled);
        assertEq(spec.holdFee, HOLD, "hold fee");
        _assertMoney(HOLD, 0, 0, 0);
        assertEq(_burned(), HOLD, "burned");
        _assertUses(spec, 0);
    }

    function test_nobody_withdraws_after_a_quote() public {
        JobSpec memory spec = _quoted(1);
        _refuse(consumer, abi.encodeCall(IJobs.cancel, (_key(spec), _bargain(spec))), IJobs.UnexpectedStatus.selector);
    }

    function test_refusals_move_the_money_of_their_row() public {
        _checkRefusal(Outcome.PlatformRefused, 0, PENALTY, PENALTY - 2 * FEE);
        _checkRefusal(Outcome.EvidenceWithheld, 0, PENALTY, PENALTY - 2 * FEE);
        _checkRefusal(Outcome.RequestRefused, 2 * FEE + HOLD, 0, HOLD);
        _checkRefusal(Outcome.TermsRefused, 2 * FEE, 0, 0);
        _checkRefusal(Outcome.InputRefused, 2 * FEE, 0, 0);
    }

    function _checkRefusal(Outcome outcome, uint256 consumerLoses, uint256 stakeLoses, uint256 burned) private {
        uint256 before = vm.snapshotState();
        JobSpec memory spec = _quoted(2);
        _decide(spec, outcome);
        _assertStatus(spec, Status.Refused);
        _assertMoney(consumerLoses, 0, stakeLoses, 0);
        assertEq(_burned(), burned, "burned");
        assertEq(market.accountOf(address(0), provider).refused, stakeLoses == 0 ? 0 : 1, "counter");
        _assertUses(spec, 0);
        vm.revertToState(before);
    }

    // ---- terms that changed under way ----

    function test_an_acceptance_that_tightened_terms_exclude_is_carried_out_as_a_refusal() public {
        for (uint256 way = 0; way < 4; ++way) {
            uint256 before = vm.snapshotState();
            JobSpec memory spec = _quoted(2);
            Terms memory terms = _terms();
            if (way == 0) terms.purposes = 1;
            if (way == 1) terms.consumerRoot = keccak256("consumers");
            if (way == 2) terms.minGrade = uint8(Grade.Hardware);
            if (way == 3) terms.allowRoot = keccak256("subset");
            vm.prank(_owner(1));
            registry.tighten(spec.assets[1].assetId, 1, terms);
            _decide(spec, Outcome.Accepted);
            _assertStatus(spec, Status.Refused);
            _assertMoney(2 * FEE, 0, 0, 0);
            _assertUses(spec, 0);
            vm.revertToState(before);
        }
    }

    function test_a_new_price_fewer_uses_or_a_smaller_budget_stop_no_running_job() public {
        JobSpec memory spec = _quoted(2);
        Terms memory terms = _terms();
        (terms.price, terms.maxUses, terms.maxHold) = (uint88(2 * PRICE), 1, 9_000);
        (terms.budget, terms.perJobCap) = (uint40(EPSILON), 1);
        vm.prank(_owner(1));
        registry.tighten(spec.assets[1].assetId, 1, terms);
        _decide(spec, Outcome.Accepted);
        _assertStatus(spec, Status.Accepted);
    }

    function test_an_acceptance_after_a_new_allow_list_revocation_or_expiry_is_a_refusal() public {
        for (uint256 way = 0; way < 3; ++way) {
            JobSpec memory spec = _quoted(1);
            bytes32 asset = spec.assets[0].assetId;
            if (way == 0) {
                vm.prank(_owner(0));
                registry.replaceAllowList(asset, 1, keccak256("superset"));
            } else if (way == 1) {
                vm.prank(_owner(0));
                registry.revoke(asset, 1);
            } else {
                Terms memory terms = _terms();
                terms.expiry = uint40(block.timestamp + 10);
                bytes32[] memory assets = new bytes32[](1);
                assets[0] = _publish(0, terms);
                (spec,) = _match(_dealOver(assets));
                _quote(spec);
                vm.warp(block.timestamp + 11);
            }
            _decide(spec, Outcome.Accepted);
            _assertStatus(spec, Status.Refused);
        }
    }

    // ---- after acceptance ----

    function _stop(JobSpec memory spec) private {
        NodeSignature[] memory signatures =
            _nodeSignatures(TypedData.stopHash(_jobId(spec), EVIDENCE, 1, 9), 2);
        market.stop(_key(spec), _bargain(spec), _enclave(), 9, _members(), signatures);
    }

    function test_a_job_stopped_before_release_refunds_and_returns_the_uses() public {
        JobSpec memory spec = _accepted(2);
        bytes32 jobId = _jobId(spec);
        NodeSignature[] memory signatures =
            _nodeSignatures(TypedData.stopHash(jobId, EVIDENCE, 1, 9), 2);
        _refuse(
            abi.encodeCall(IJobs.stop, (_key(spec), _bargain(spec), _enclave(), 8, _members(), signatures)),
            IJobs.WrongNode.selector
        );
        _stop(spec);
        bytes memory again =
            abi.encodeCall(IJobs.stop, (_key(spec), _bargain(spec), _enclave(), 9, _members(), signatures));
        _refuse(again, IJobs.AlreadyStopped.selector);
        bytes memory end = abi.encodeCall(IJobs.endInterrupted, (_key(spec), _bargain(spec), _enclave()));
        _refuse(consumer, end, IJobs.TooEarly.selector);
        _assertUses(spec, 1);
        vm.prank(provider);
        market.endInterrupted(_key(spec), _bargain(spec), _enclave());
        _assertStatus(spec, Status.Stopped);
        _assertMoney(2 * FEE, 0, 0, 0);
        _assertUses(spec, 0);
    }

    function test_anyone_closes_a_stopped_job_after_its_deadline() public {
        JobSpec memory spec = _accepted(2);
        _stop(spec);
        vm.warp(block.timestamp + 1_801);
        market.close(_key(spec), _bargain(spec), _enclave());
        _assertStatus(spec, Status.Stopped);
        _assertMoney(2 * FEE, 0, 0, 0);
    }

    function test_a_result_that_exists_counts_after_a_stop() public {
        JobSpec memory spec = _accepted(2);
        _stop(spec);
        _settle(spec, 1, true);
        _assertStatus(spec, Status.Matured);
        _assertMoney(2 * PRICE + COMPUTE + UNIT + 2 * FEE, int256(uint256(COMPUTE + UNIT)), 0, 2 * PRICE);
    }

    // ---- shares that do not come ----

    function _report(JobSpec memory spec, uint16 excluded) private view returns (bytes memory) {
        bytes memory signature =
            _sign(ENCLAVE_KEY, TypedData.sharesMissingHash(_jobId(spec), EVIDENCE, excluded));
        return abi.encodeCall(
            IJobs.reportMissing, (_key(spec), _bargain(spec), _enclave(), excluded, signature)
        );
    }

    function _post(JobSpec memory spec, uint8 index) private {
        // solhint-disable-next-line avoid-low-level-calls
        (bool done,) = address(market).call(_posting(spec, index));
        assertTrue(done, "posted");
    }

    function _reported(uint16 excluded) private returns (JobSpec memory spec) {
        spec = _accepted(2);
        bytes memory call = _report(spec, excluded);
        vm.prank(provider);
        // solhint-disable-next-line avoid-low-level-calls
        (bool done,) = address(market).call(call);
        assertTrue(done, "reported");
    }

    function test_only_the_provider_reports_and_only_what_its_enclave_signed() public {
        JobSpec memory spec = _accepted(2);
        _refuse(consumer, _report(spec, 0), IJobs.OnlyProvider.selector);
        bytes memory forged = _sign(PROVIDER_KEY, TypedData.sharesMissingHash(_jobId(spec), EVIDENCE, 0));
        bytes memory call =
            abi.encodeCall(IJobs.reportMissing, (_key(spec), _bargain(spec), _enclave(), 0, forged));
        _refuse(provider, call, IJobs.WrongEnclave.selector);
        vm.warp(block.timestamp + 1_801);
        _refuse(provider, _report(spec, 0), IJobs.TooLate.selector);
    }

    function test_a_silent_committee_after_acceptance_costs_the_provider_nothing() public {
        JobSpec memory spec = _reported(0);
        assertEq(_free(provider), FUNDS / 2 - 3 * FEE, "set aside");
        bytes memory end = abi.encodeCall(IJobs.endInterrupted, (_key(spec), _bargain(spec), _enclave()));
        _refuse(end, IJobs.NotInterrupted.selector);
        _refuse(abi.encodeCall(IJobs.returnUnspent, (spec.requestHash)), IJobs.TooEarly.selector);
        vm.warp(block.timestamp + 701);
        market.endInterrupted(_key(spec), _bargain(spec), _enclave());
        market.returnUnspent(spec.requestHash);
        _refuse(abi.encodeCall(IJobs.returnUnspent, (spec.requestHash)), ILedger.ZeroAmount.selector);
        _assertStatus(spec, Status.Expired);
        _assertMoney(2 * FEE, 0, 0, 0);
        _assertUses(spec, 0);
        assertEq(market.accountOf(address(0), provider).expired, 0, "counter");
    }

    function test_what_a_report_sets_aside_comes_from_the_free_balance_and_then_from_free_stake() public {
        JobSpec memory spec = _accepted(2);
        bytes memory call = _report(spec, 0);
        uint256 staked = market.accountOf(address(0), provider).staked;
        uint256 free = _free(provider);
        vm.prank(provider);
        market.withdraw(address(0), free - 1, provider);
        vm.prank(provider);
        market.unstake(address(0), staked - 3 * FEE + 2);
        _refuse(provider, call, ILedger.InsufficientStake.selector);
        vm.prank(provider);
        market.deposit{value: 1}(address(0), 1);
        vm.prank(provider);
        // solhint-disable-next-line avoid-low-level-calls
        (bool done,) = address(market).call(call);
        assertTrue(done, "reported");
        assertEq(_free(provider), 0, "free");
        assertEq(market.accountOf(address(0), provider).staked, 0, "staked");
        vm.warp(block.timestamp + 701);
        market.endInterrupted(_key(spec), _bargain(spec), _enclave());
        market.returnUnspent(spec.requestHash);
        assertEq(_free(provider), 3 * FEE, "returned");
    }

    function test_closing_late_ends_a_job_without_shares_by_the_same_row() public {
        JobSpec memory spec = _reported(0);
        _post(spec, 2);
        vm.warp(block.timestamp + 700 + 1_801);
        market.close(_key(spec), _bargain(spec), _enclave());
        market.returnUnspent(spec.requestHash);
        _assertMoney(2 * FEE, -int256(uint256(FEE)), 0, 0);
        _assertUses(spec, 0);
    }

    function test_a_provider_that_hides_posted_shares_is_slashed() public {
        JobSpec memory spec = _reported(0);
        _post(spec, 0);
        _post(spec, 1);
        vm.warp(block.timestamp + 701);
        bytes memory end = abi.encodeCall(IJobs.endInterrupted, (_key(spec), _bargain(spec), _enclave()));
        _refuse(end, IJobs.NotInterrupted.selector);
        vm.warp(block.timestamp + 1_800);
        market.close(_key(spec), _bargain(spec), _enclave());
        _assertMoney(0, -int256(uint256(3 * FEE)), 2 * PRICE + PENALTY, 2 * PRICE);
        assertEq(_burned(), PENALTY - 2 * FEE, "burned");
    }

    function test_a_job_goes_on_with_posted_shares_and_settles() public {
        JobSpec memory spec = _reported(0);
        _post(spec, 0);
        _post(spec, 2);
        vm.warp(block.timestamp + 700 + 1_700);
        _settle(spec, 5, true);
        market.returnUnspent(spec.requestHash);
        uint256 earned = COMPUTE + 5 * UNIT;
        _assertMoney(2 * PRICE + earned + 2 * FEE, int256(earned) - int256(uint256(2 * FEE)), 0, 2 * PRICE);
        market.claimFees(1, address(0), _members(), 2);
        assertEq(_free(_signers(3)[2]), FEE, "the node that posted");
    }

    function test_units_count_from_the_report_where_shares_were_posted() public {
        JobSpec memory spec = _reported(0);
        _post(spec, 0);
        _post(spec, 2);
        SettledResult memory result = _result(3);
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(_jobId(spec), result));
        vm.warp(block.timestamp + 119);
        _refuseSettle(spec, _enclave(), result, signature, IJobs.TooManyUnits.selector);
        vm.warp(block.timestamp + 1);
        market.settle(_key(spec), _bargain(spec), _enclave(), result, signature, "");
        _assertStatus(spec, Status.Settled);
    }

    function test_false_shares_do_not_count_and_complaints_are_not_taken_back() public {
        JobSpec memory spec = _reported(2);
        _post(spec, 0);
        _post(spec, 1);
        _refuse(provider, _report(spec, 1), IJobs.Mismatch.selector);
        vm.warp(block.timestamp + 701);
        market.endInterrupted(_key(spec), _bargain(spec), _enclave());
        _assertMoney(2 * FEE, -int256(uint256(3 * FEE)), 0, 0);
    }

    function test_a_later_complaint_leaves_out_one_more_node_and_moves_no_deadline() public {
        JobSpec memory spec = _reported(0);
        _post(spec, 0);
        _post(spec, 1);
        (, uint40 deadline,) = market.jobOf(spec.requestHash);
        vm.warp(block.timestamp + 900);
        bytes memory call = _report(spec, 2);
        vm.prank(provider);
        // solhint-disable-next-line avoid-low-level-calls
        (bool done,) = address(market).call(call);
        assertTrue(done, "complained");
        (, uint40 later,) = market.jobOf(spec.requestHash);
        assertEq(later, deadline, "deadline");
        market.endInterrupted(_key(spec), _bargain(spec), _enclave());
        _assertStatus(spec, Status.Expired);
        _assertMoney(2 * FEE, -int256(uint256(3 * FEE)), 0, 0);
    }

    function test_releases_that_do_not_count_are_refused() public {
        JobSpec memory unreported = _accepted(2);
        _refuse(_posting(unreported, 0), IJobs.TooLate.selector);
        JobSpec memory spec = _reported(0);
        _post(spec, 0);
        _refuse(_posting(spec, 0), IJobs.BadSignerIndex.selector);
        _refuse(_posting(spec, 3), IJobs.BadSignerIndex.selector);
        bytes[] memory sealed_ = new bytes[](1);
        _refusePosting(spec, sealed_, IJobs.Mismatch.selector);
        sealed_ = new bytes[](2);
        _refusePosting(spec, sealed_, IJobs.OutOfBounds.selector);
        (sealed_[0], sealed_[1]) = (new bytes(2_049), new bytes(1));
        _refusePosting(spec, sealed_, IJobs.OutOfBounds.selector);
        sealed_[0] = new bytes(2_048);
        _refusePosting(spec, sealed_, IJobs.WrongNode.selector);
        vm.warp(block.timestamp + 701);
        _refuse(_posting(spec, 1), IJobs.TooLate.selector);
    }

    function _refusePosting(JobSpec memory spec, bytes[] memory sealed_, bytes4 expected) private {
        _refuse(
            abi.encodeCall(
                IJobs.postRelease, (_key(spec), _bargain(spec), _enclave(), _members(), 1, sealed_, 0, 0)
            ),
            expected
        );
    }

    function test_a_node_posts_no_release_for_another() public {
        JobSpec memory spec = _reported(0);
        bytes[] memory sealed_ = new bytes[](2);
        (sealed_[0], sealed_[1]) = (bytes("one"), bytes("two"));
        bytes32 sent = keccak256(
            abi.encodePacked(
                spec.assets[0].assetId, keccak256("one"), spec.assets[1].assetId, keccak256("two")
            )
        );
        bytes32 digest = Releases.digest(_jobId(spec), EVIDENCE, 1, sent);
        (uint8 v, bytes32 r, bytes32 vs) = vm.sign(NODE_KEYS, digest);
        if (v == 28) vs |= bytes32(uint256(1) << 255);
        bytes memory call = abi.encodeCall(
            IJobs.postRelease, (_key(spec), _bargain(spec), _enclave(), _members(), 1, sealed_, r, vs)
        );
        _refuse(call, IJobs.WrongNode.selector);
    }

    function test_a_provider_silent_after_acceptance_pays_the_owners_from_its_stake() public {
        JobSpec memory spec = _accepted(2);
        _refuse(abi.encodeCall(IJobs.close, (_key(spec), _bargain(spec), _enclave())), IJobs.TooEarly.selector);
        vm.warp(block.timestamp + 1_801);
        market.close(_key(spec), _bargain(spec), _enclave());
        _assertStatus(spec, Status.Expired);
        _assertMoney(0, 0, 2 * PRICE + PENALTY, 2 * PRICE);
        assertEq(_burned(), PENALTY - 2 * FEE, "burned, less what the acceptance cost");
        _assertUses(spec, 1);
    }

    function test_consumer_and_provider_together_get_no_free_use() public {
        JobSpec memory spec = _accepted(2);
        _refuse(consumer, abi.encodeCall(IJobs.cancel, (_key(spec), _bargain(spec))), IJobs.UnexpectedStatus.selector);
        vm.warp(block.timestamp + 1_801);
        market.close(_key(spec), _bargain(spec), _enclave());
        assertEq(_free(_owner(0)) + _free(_owner(1)), 2 * PRICE, "the owners are paid whatever the two agree");
    }

    function test_a_failed_input_pays_no_owner_returns_everything_and_suspends_the_version() public {
        JobSpec memory spec = _accepted(2);
        _fail(spec, FailureReport(1, 1, 0, keccak256("receipt")));
        _assertStatus(spec, Status.Failed);
        _assertMoney(2 * FEE, 0, 0, 0);
        _assertUses(spec, 0);
        assertEq(market.accountOf(address(0), provider).failed, 0, "counter");
        assertTrue(registry.versionOf(spec.assets[1].assetId, 1).suspended, "suspended");
        assertTrue(!registry.versionOf(spec.assets[0].assetId, 1).suspended, "the other is not");
    }

    function test_a_suspended_version_makes_no_job_until_its_owner_pays_and_runs_those_it_has() public {
        Match memory deal = _deal(1);
        (JobSpec memory running,) = _match(deal);
        deal.request.salt = 5_000;
        _signDeal(deal);
        (JobSpec memory spec,) = _match(deal);
        _quote(spec);
        _decide(spec, Outcome.Accepted);
        _fail(spec, FailureReport(1, 0, 0, 0));
        bytes32 asset = spec.assets[0].assetId;
        deal.request.salt = 5_001;
        _signDeal(deal);
        _refuse(abi.encodeCall(IJobs.matchJob, (deal)), IAssetRegistry.Suspended.selector);
        _quote(running);
        _decide(running, Outcome.Accepted);
        _assertStatus(running, Status.Accepted);
        bytes memory lift = abi.encodeCall(IJobs.liftSuspension, (asset, 1));
        _refuse(consumer, lift, IAssetRegistry.NotOwner.selector);
        _refuse(_owner(0), lift, ILedger.InsufficientBalance.selector);
        _fund(_owner(0));
        vm.prank(_owner(0));
        market.liftSuspension(asset, 1);
        assertEq(_free(_owner(0)), FUNDS - 2 * FEE, "the oracle fees of a job");
        _refuse(_owner(0), lift, IAssetRegistry.NotSuspended.selector);
        _match(deal);
    }

    function test_nobody_but_the_market_suspends_or_lifts() public {
        bytes32 asset = _publish(0, _terms());
        bytes memory suspend = abi.encodeCall(registry.suspend, (asset, 1, bytes32(0)));
        _refuse(_owner(0), address(registry), suspend, IAssetRegistry.OnlyMarket.selector);
        bytes memory lift = abi.encodeCall(registry.lift, (asset, 1, _owner(0)));
        _refuse(_owner(0), address(registry), lift, IAssetRegistry.OnlyMarket.selector);
    }

    function test_a_workload_out_of_time_pays_the_provider_and_the_owners_within_the_limit() public {
        JobSpec memory spec = _accepted(2);
        _fail(spec, FailureReport(3, 0, 7, keccak256("receipt")));
        _assertStatus(spec, Status.Failed);
        _assertMoney(TIMEOUT_LIMIT + 2 * FEE, int256(uint256(TIMEOUT_FEE)), 0, TIMEOUT_LIMIT - TIMEOUT_FEE);
        assertEq(_free(_owner(0)), (TIMEOUT_LIMIT - TIMEOUT_FEE) / 2, "in proportion");
        _assertUses(spec, 1);
    }

    function test_a_validator_that_does_not_finish_pays_every_owner_as_a_workload_out_of_time_does() public {
        JobSpec memory spec = _accepted(2);
        _fail(spec, FailureReport(4, 1, 7, keccak256("receipt")));
        _assertStatus(spec, Status.Failed);
        _assertMoney(TIMEOUT_LIMIT + 2 * FEE, int256(uint256(TIMEOUT_FEE)), 0, TIMEOUT_LIMIT - TIMEOUT_FEE);
        assertEq(_free(_owner(1)), (TIMEOUT_LIMIT - TIMEOUT_FEE) / 2, "the owner of the validator, in proportion");
        _assertUses(spec, 1);
    }

    function test_a_reader_that_does_not_finish_pays_nobody_returns_everything_and_marks_nothing() public {
        JobSpec memory spec = _accepted(2);
        _fail(spec, FailureReport(5, 1, 0, keccak256("receipt")));
        _assertStatus(spec, Status.Failed);
        _assertMoney(2 * FEE, 0, 0, 0);
        _assertUses(spec, 0);
        assertEq(market.accountOf(address(0), provider).failed, 0, "counter");
        assertTrue(!registry.versionOf(spec.assets[1].assetId, 1).suspended, "the version is sold on");
    }

    /// A provider and a consumer who work together pause the machine in turn while an owner's step runs.
    function test_a_paused_machine_uses_up_no_use_that_is_not_paid_for() public {
        Match memory deal = _deal(2);
        uint256 share = (TIMEOUT_LIMIT - TIMEOUT_FEE) / 2;
        uint256 taken = 0;
        for (uint256 i = 0; i < 4; ++i) {
            deal.request.salt = 7_000 + i;
            _signDeal(deal);
            (JobSpec memory spec,) = _match(deal);
            _quote(spec);
            _decide(spec, Outcome.Accepted);
            bool validating = i % 2 == 1;
            _fail(spec, FailureReport(validating ? 4 : 5, uint8(i / 2), 0, keccak256("receipt")));
            if (validating) ++taken;
            _assertUses(spec, taken);
            assertEq(_free(_owner(0)), taken * share, "the owner of the first asset");
            assertEq(_free(_owner(1)), taken * share, "the owner of the second asset");
        }
    }

    function testFuzz_owners_share_a_timeout_to_the_last_unit(uint64[3] memory prices, uint96 limit) public {
        bytes32[] memory assets = new bytes32[](3);
        for (uint256 i = 0; i < 3; ++i) {
            Terms memory terms = _terms();
            (terms.price, terms.timeoutShare) = (uint88(bound(prices[i], 0, FUNDS / 10)), 0);
            assets[i] = _publish(i, terms);
        }
        Match memory deal = _dealOver(assets);
        deal.request.timeoutLimit = uint128(bound(limit, TIMEOUT_FEE, FUNDS));
        uint256 owed = 0;
        for (uint256 i = 0; i < 3; ++i) {
            uint88 price = registry.versionOf(assets[i], 1).terms.price;
            (deal.offers[i].order.price, deal.request.assets[i].maxPrice) = (price, price);
            owed += price;
        }
        _signDeal(deal);
        (JobSpec memory spec,) = _match(deal);
        _quote(spec);
        _decide(spec, Outcome.Accepted);
        _fail(spec, FailureReport(3, 0, 1, 0));
        uint256 due = deal.request.timeoutLimit - TIMEOUT_FEE;
        if (owed < due) due = owed;
        uint256 paid = _free(_owner(0)) + _free(_owner(1)) + _free(_owner(2));
        assertEq(paid, due, "owners");
        assertEq(FUNDS - _free(consumer), due + TIMEOUT_FEE + 2 * FEE, "payer");
        for (uint256 i = 0; i < 3; ++i) {
            assertTrue(_free(_owner(i)) <= deal.offers[i].order.price, "no owner gets more than its price");
        }
    }

    function test_a_failed_workload_is_paid_for_as_metered() public {
        JobSpec memory spec = _accepted(2);
        _fail(spec, FailureReport(2, 0, 7, keccak256("receipt")));
        _assertStatus(spec, Status.Failed);
        uint256 earned = COMPUTE + 7 * UNIT;
        _assertMoney(2 * PRICE + earned + 2 * FEE, int256(earned), 0, 2 * PRICE);
    }

    function test_failures_that_make_no_sense_are_refused() public {
        JobSpec memory spec = _accepted(2);
        bytes32 jobId = _jobId(spec);
        FailureReport[6] memory reports = [
            FailureReport(0, 0, 0, 0),
            FailureReport(6, 0, 0, 0),
            FailureReport(1, 2, 0, 0),
            FailureReport(4, 2, 0, 0),
            FailureReport(5, 2, 0, 0),
            FailureReport(2, 0, 2, 0)
        ];
        bytes4[6] memory errors = [
            IJobs.UnknownCause.selector,
            IJobs.UnknownCause.selector,
            IJobs.NoSuchAsset.selector,
            IJobs.NoSuchAsset.selector,
            IJobs.NoSuchAsset.selector,
            IJobs.TooManyUnits.selector
        ];
        for (uint256 i = 0; i < reports.length; ++i) {
            bytes memory signature = _sign(ENCLAVE_KEY, TypedData.failureHash(jobId, reports[i]));
            _refuse(
                abi.encodeCall(IJobs.fail, (_key(spec), _bargain(spec), _enclave(), reports[i], signature)), errors[i]
            );
        }
        bytes memory forged = _sign(PROVIDER_KEY, TypedData.failureHash(jobId, reports[0]));
        _refuse(
            abi.encodeCall(IJobs.fail, (_key(spec), _bargain(spec), _enclave(), reports[0], forged)),
            IJobs.WrongEnclave.selector
        );
    }

    // ---- settling ----

    function test_only_the_accepted_enclave_settles_within_units_and_window() public {
        JobSpec memory spec = _accepted(1);
        _work(spec, UNITS);
        bytes32 jobId = _jobId(spec);
        SettledResult memory result = _result(UNITS);
        bytes memory forged = _sign(PROVIDER_KEY, TypedData.settlementHash(jobId, result));
        _refuseSettle(spec, _enclave(), result, forged, IJobs.WrongEnclave.selector);
        Enclave memory own = Enclave(EVIDENCE, provider, KEYS);
        _refuseSettle(spec, own, result, forged, IJobs.WrongCommitment.selector);
        result.units = UNITS + 1;
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(jobId, result));
        _refuseSettle(spec, _enclave(), result, signature, IJobs.TooManyUnits.selector);
        result.units = 1;
        _refuseSettle(spec, _enclave(), result, signature, IJobs.WrongEnclave.selector);
        signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(jobId, result));
        vm.warp(block.timestamp + 1_801);
        _refuseSettle(spec, _enclave(), result, signature, IJobs.TooLate.selector);
    }

    function _refuseSettle(
        JobSpec memory spec,
        Enclave memory enclave,
        SettledResult memory result,
        bytes memory signature,
        bytes4 expected
    ) private {
        _refuse(abi.encodeCall(IJobs.settle, (_key(spec), _bargain(spec), enclave, result, signature, "")), expected);
    }

    function test_no_more_units_count_than_the_time_since_acceptance_allows() public {
        JobSpec memory spec = _accepted(1);
        SettledResult memory result = _result(2);
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(_jobId(spec), result));
        vm.warp(block.timestamp + 59);
        _refuseSettle(spec, _enclave(), result, signature, IJobs.TooManyUnits.selector);
        vm.warp(block.timestamp + 1);
        _settle(spec, 2, false);
    }

    function test_an_acknowledged_settlement_counts_although_somebody_settled_first() public {
        JobSpec memory spec = _accepted(1);
        _settle(spec, 5, false);
        bytes32 jobId = _jobId(spec);
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(jobId, _result(5)));
        bytes memory other = abi.encodeCall(
            IJobs.settle,
            (_key(spec), _bargain(spec), _enclave(), _result(4), signature, _acknowledgement(jobId))
        );
        _refuse(other, IJobs.WrongCommitment.selector);
        market.settle(_key(spec), _bargain(spec), _enclave(), _result(5), signature, _acknowledgement(jobId));
        _assertStatus(spec, Status.Matured);
    }

    function test_a_job_settles_once() public {
        JobSpec memory spec = _settled(1, 5);
        bytes32 jobId = _jobId(spec);
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(jobId, _result(5)));
        _refuseSettle(spec, _enclave(), _result(5), signature, IJobs.UnexpectedStatus.selector);
        market.acknowledge(_key(spec), _bargain(spec), _result(5), _acknowledgement(jobId));
        _refuseSettle(spec, _enclave(), _result(5), signature, IJobs.UnexpectedStatus.selector);
        vm.warp(block.timestamp + 901);
        _refuse(
            abi.encodeCall(IJobs.mature, (_key(spec), _bargain(spec), _result(5))), IJobs.UnexpectedStatus.selector
        );
    }

    function test_an_altered_key_or_bargain_opens_no_job() public {
        JobSpec memory spec = _accepted(1);
        JobKey memory key = _key(spec);
        Bargain memory bargain = _bargain(spec);
        key.provider = consumer;
        _refuseOpening(key, bargain, IJobs.WrongCommitment.selector);
        (key.provider, key.decideWindow) = (provider, key.decideWindow + 1);
        _refuseOpening(key, bargain, IJobs.WrongCommitment.selector);
        (key.decideWindow, key.jobId) = (key.decideWindow - 1, keccak256("another job"));
        _refuseOpening(key, bargain, IJobs.WrongCommitment.selector);
        key.jobId = _jobId(spec);
        bargain.payer = sponsor;
        _refuseOpening(key, bargain, IJobs.WrongCommitment.selector);
        (bargain.payer, bargain.penalty) = (consumer, 0);
        _refuseOpening(key, bargain, IJobs.WrongCommitment.selector);
        (bargain.penalty, bargain.claims[0].owner) = (PENALTY, consumer);
        _refuseOpening(key, bargain, IJobs.WrongCommitment.selector);
        bargain.claims = new AssetClaim[](0);
        _refuseOpening(key, bargain, IJobs.WrongCommitment.selector);
        key.requestHash = 0;
        _refuseOpening(key, bargain, IJobs.UnexpectedStatus.selector);
    }

    function _refuseOpening(JobKey memory key, Bargain memory bargain, bytes4 expected) private {
        _refuse(abi.encodeCall(IJobs.settle, (key, bargain, _enclave(), _result(0), "", "")), expected);
    }

    function test_a_quote_for_another_provider_window_or_bargain_is_refused() public {
        JobSpec memory spec = _matched(1);
        JobKey memory key = _key(spec);
        bytes32 bargain = TypedData.hashBargain(spec);
        bytes4 wrong = IJobs.WrongCommitment.selector;
        _refuse(provider, abi.encodeCall(IJobs.quote, (key, keccak256("another"), EVIDENCE, "")), wrong);
        key.decideWindow = 30 days;
        _refuse(provider, abi.encodeCall(IJobs.quote, (key, bargain, EVIDENCE, "")), wrong);
        (key.decideWindow, key.provider) = (spec.decideWindow, consumer);
        _refuse(consumer, abi.encodeCall(IJobs.quote, (key, bargain, EVIDENCE, "")), wrong);
        key.provider = provider;
        bytes4 unsigned = IOrders.BadSignature.selector;
        _refuse(consumer, abi.encodeCall(IJobs.quote, (key, bargain, EVIDENCE, "")), unsigned);
    }

    function test_the_credit_matures_by_the_window_alone() public {
        JobSpec memory spec = _settled(2, UNITS);
        _refuse(abi.encodeCall(IJobs.mature, (_key(spec), _bargain(spec), _result(UNITS))), IJobs.TooEarly.selector);
        vm.warp(block.timestamp + 901);
        market.mature(_key(spec), _bargain(spec), _result(UNITS));
        _assertStatus(spec, Status.Matured);
        _assertMoney(ESCROW + 2 * FEE, int256(uint256(COMPUTE + UNIT * UNITS)), 0, 2 * PRICE);
        assertEq(market.accountOf(address(0), provider).settled, 1, "counter");
    }

    function test_an_empty_acknowledgement_counts_from_the_consumer_alone() public {
        JobSpec memory spec = _settled(2, 15);
        bytes memory call = abi.encodeCall(IJobs.acknowledge, (_key(spec), _bargain(spec), _result(15), ""));
        _refuse(provider, call, IOrders.BadSignature.selector);
        _refuse(call, IOrders.BadSignature.selector);
        vm.prank(consumer);
        market.acknowledge(_key(spec), _bargain(spec), _result(15), "");
        _assertStatus(spec, Status.Matured);
    }

    function test_only_the_consumer_acknowledges() public {
        JobSpec memory spec = _settled(1, 5);
        bytes memory forged =
            _sign(PROVIDER_KEY, TypedData.acknowledgementHash(_jobId(spec), keccak256("result")));
        _refuse(
            provider,
            abi.encodeCall(IJobs.acknowledge, (_key(spec), _bargain(spec), _result(5), forged)),
            IOrders.BadSignature.selector
        );
        vm.prank(consumer);
        market.acknowledge(_key(spec), _bargain(spec), _result(5), "");
        _assertStatus(spec, Status.Matured);
    }

    // ---- challenges ----

    function test_only_consumer_or_payer_challenge_and_only_in_the_window() public {
        JobSpec memory spec = _settled(1, 5);
        _refuse(
            provider,
            abi.encodeCall(IJobs.challenge, (_key(spec), _bargain(spec), _result(5))),
            IOrders.NotRequestParty.selector
        );
        _refuse(
            consumer,
            abi.encodeCall(IJobs.challenge, (_key(spec), _bargain(spec), _result(6))),
            IJobs.WrongCommitment.selector
        );
        vm.warp(block.timestamp + 901);
        _refuse(
            consumer, abi.encodeCall(IJobs.challenge, (_key(spec), _bargain(spec), _result(5))), IJobs.TooLate.selector
        );
    }

    function _challenged(uint32 units) private returns (JobSpec memory spec, bytes32 jobId) {
        spec = _settled(2, units);
        jobId = _jobId(spec);
        vm.prank(consumer);
        market.challenge(_key(spec), _bargain(spec), _result(units));
        _assertStatus(spec, Status.Challenged);
    }

    function _answer(JobSpec memory spec, bytes32 jobId, uint32 units, bool available) private {
        NodeSignature[] memory signatures =
            _nodeSignatures(TypedData.challengeAnswerHash(jobId, keccak256("result"), available), 2);
        bytes memory crossed = abi.encodeCall(
            IJobs.answerChallenge,
            (_key(spec), _bargain(spec), _result(units), consumer, !available, _members(), signatures)
        );
        _refuse(crossed, IJobs.WrongNode.selector);
        bytes memory elsewhere = abi.encodeCall(
            IJobs.answerChallenge,
            (_key(spec), _bargain(spec), _result(units), sponsor, available, _members(), signatures)
        );
        _refuse(elsewhere, IJobs.WrongCommitment.selector);
        market.answerChallenge(
            _key(spec), _bargain(spec), _result(units), consumer, available, _members(), signatures
        );
    }

    function test_a_withheld_result_is_refunded_and_costs_the_stake() public {
        (JobSpec memory spec, bytes32 jobId) = _challenged(5);
        _answer(spec, jobId, 5, false);
        _assertStatus(spec, Status.Expired);
        _assertMoney(0, 0, 2 * PRICE + PENALTY, 2 * PRICE);
        assertEq(_burned(), PENALTY - 4 * FEE, "burned, less what acceptance and answer cost");
    }

    function test_a_false_challenge_costs_its_bond() public {
        (JobSpec memory spec, bytes32 jobId) = _challenged(5);
        _answer(spec, jobId, 5, true);
        _assertStatus(spec, Status.Matured);
        uint256 bond = market.bondOf(1, address(0));
        uint256 earned = COMPUTE + 5 * UNIT;
        _assertMoney(2 * PRICE + earned + 2 * FEE + bond, int256(earned + bond - 2 * FEE), 0, 2 * PRICE);
    }

    function test_an_unanswered_challenge_pays_the_provider_and_returns_the_bond() public {
        (JobSpec memory spec,) = _challenged(5);
        _refuse(
            abi.encodeCall(IJobs.closeChallenge, (_key(spec), _bargain(spec), _result(5), consumer)),
            IJobs.TooEarly.selector
        );
        vm.warp(block.timestamp + 701);
        market.closeChallenge(_key(spec), _bargain(spec), _result(5), consumer);
        uint256 earned = COMPUTE + 5 * UNIT;
        _assertMoney(2 * PRICE + earned + 2 * FEE, int256(earned), 0, 2 * PRICE);
    }

    // ---- decisions ----

    function _refuseDecision(
        JobSpec memory spec,
        DecisionCore memory core,
        NodeSignature[] memory signatures,
        bytes4 expected
    ) private {
        _refuse(abi.encodeCall(IJobs.decide, (_key(spec), _bargain(spec), core, _members(), signatures)), expected);
    }

    function test_decisions_that_do_not_count_are_refused() public {
        JobSpec memory spec = _quoted(1);
        bytes32 jobId = _jobId(spec);
        DecisionCore memory core = _core(Outcome.Accepted);
        _refuseDecision(spec, core, _decisions(jobId, 1, core, 0, 1), IJobs.WrongSignatureCount.selector);
        _refuseDecision(spec, core, _decisions(jobId, 1, core, 0, 3), IJobs.WrongSignatureCount.selector);
        NodeSignature[] memory twice = _decisions(jobId, 1, core, 1, 2);
        twice[1] = twice[0];
        _refuseDecision(spec, core, twice, IJobs.BadSignerIndex.selector);
        twice = _decisions(jobId, 1, core, 1, 2);
        (twice[0], twice[1]) = (twice[1], twice[0]);
        _refuseDecision(spec, core, twice, IJobs.BadSignerIndex.selector);
        _refuseDecision(spec, core, _decisions(jobId, 1, core, 2, 2), IJobs.BadSignerIndex.selector);
        NodeSignature[] memory altered = _decisions(jobId, 1, core, 0, 2);
        altered[0].detail = 0;
        _refuseDecision(spec, core, altered, IJobs.WrongNode.selector);
        altered[0].index = 255;
        _refuseDecision(spec, core, altered, IJobs.BadSignerIndex.selector);
        _refuseDecision(spec, core, _decisions(keccak256("other job"), 1, core, 0, 2), IJobs.WrongNode.selector);
        _refuseDecision(spec, core, _decisions(jobId, 2, core, 0, 2), IJobs.WrongNode.selector);
    }

    function test_cores_that_make_no_decision_are_refused() public {
        JobSpec memory spec = _quoted(1);
        bytes32 jobId = _jobId(spec);
        DecisionCore memory core = _core(Outcome.Accepted);
        core.outcome = 0;
        _refuseDecision(spec, core, _decisions(jobId, 1, core, 0, 2), IJobs.UnknownOutcome.selector);
        core.outcome = 7;
        _refuseDecision(spec, core, _decisions(jobId, 1, core, 0, 2), IJobs.UnknownOutcome.selector);
        core = _core(Outcome.Accepted);
        core.evidenceHash = keccak256("other evidence");
        _refuseDecision(spec, core, _decisions(jobId, 1, core, 0, 2), IJobs.WrongCommitment.selector);
        core = _core(Outcome.Accepted);
        core.grade = uint8(Grade.None);
        _refuseDecision(spec, core, _decisions(jobId, 1, core, 0, 2), IJobs.GradeTooLow.selector);
        core = _core(Outcome.Accepted);
        core.expiry = uint64(block.timestamp - 1);
        _refuseDecision(spec, core, _decisions(jobId, 1, core, 0, 2), IJobs.DecisionExpired.selector);
        core = _core(Outcome.Accepted);
        NodeSignature[] memory good = _decisions(jobId, 1, core, 0, 2);
        vm.warp(block.timestamp + 701);
        _refuseDecision(spec, core, good, IJobs.TooLate.selector);
    }

    function test_decisions_for_another_chain_or_by_another_committee_are_refused() public {
        JobSpec memory spec = _quoted(1);
        bytes32 jobId = _jobId(spec);
        DecisionCore memory core = _core(Outcome.Accepted);
        NodeSignature[] memory good = _decisions(jobId, 1, core, 0, 2);
        bytes memory wrong = abi.encodeCall(IJobs.decide, (_key(spec), _bargain(spec), core, _members(2), good));
        _refuse(wrong, IJobs.WrongCommittee.selector);
        vm.chainId(1);
        _refuseDecision(spec, core, good, IJobs.WrongCommitment.selector);
    }

    function test_evidence_is_posted_once_and_by_the_provider() public {
        JobSpec memory spec = _matched(1);
        bytes32 jobId = _jobId(spec);
        bytes memory forged = _sign(CONSUMER_KEY, TypedData.quoteHash(jobId, EVIDENCE));
        _refuse(
            abi.encodeCall(IJobs.quote, (_key(spec), TypedData.hashBargain(spec), EVIDENCE, forged)),
            IOrders.BadSignature.selector
        );
        _refuse(
            provider,
            abi.encodeCall(IJobs.quote, (_key(spec), TypedData.hashBargain(spec), 0, "")),
            IJobs.ZeroEvidenceHash.selector
        );
        market.quote(
            _key(spec), TypedData.hashBargain(spec), EVIDENCE, _sign(PROVIDER_KEY, TypedData.quoteHash(jobId, EVIDENCE))
        );
        _refuse(
            provider,
            abi.encodeCall(IJobs.quote, (_key(spec), TypedData.hashBargain(spec), keccak256("better evidence"), "")),
            IJobs.UnexpectedStatus.selector
        );
    }
}
