// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "./interfaces/IJobs.sol";
import {IOrders} from "./interfaces/IOrders.sol";
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

/// @title Every row of the fault table, its money, and who may not bring it about
contract FaultsTest is Fixture {
    uint256 private constant ESCROW = 2 * PRICE + COMPUTE + UNIT * UNITS;

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

    function test_withdrawing_before_a_quote_harms_nobody() public {
        JobSpec memory spec = _matched(2);
        _refuse(provider, abi.encodeCall(IJobs.cancel, (_key(spec), _bargain(spec))), IOrders.NotRequestParty.selector);
        vm.prank(consumer);
        market.cancel(_key(spec), _bargain(spec));
        _assertStatus(spec, Status.Cancelled);
        _assertMoney(0, 0, 0, 0);
        _assertUses(spec, 0);
    }

    function test_nobody_withdraws_after_a_quote() public {
        JobSpec memory spec = _quoted(1);
        _refuse(consumer, abi.encodeCall(IJobs.cancel, (_key(spec), _bargain(spec))), IJobs.UnexpectedStatus.selector);
    }

    function test_refusals_move_the_money_of_their_row() public {
        _checkRefusal(Outcome.PlatformRefused, 2 * FEE, 0, PENALTY);
        _checkRefusal(Outcome.EvidenceWithheld, 2 * FEE, 0, PENALTY);
        _checkRefusal(
            Outcome.RequestRefused, (2 + REQUEST_FEE_FACTOR) * FEE, int256(uint256(REQUEST_FEE_FACTOR) * FEE), 0
        );
        _checkRefusal(Outcome.TermsRefused, 2 * FEE, 0, 0);
        _checkRefusal(Outcome.InputRefused, 2 * FEE, 0, 0);
    }

    function _checkRefusal(Outcome outcome, uint256 consumerLoses, int256 providerGains, uint256 burned) private {
        uint256 before = vm.snapshotState();
        JobSpec memory spec = _quoted(2);
        _decide(spec, outcome);
        _assertStatus(spec, Status.Refused);
        _assertMoney(consumerLoses, providerGains, burned, 0);
        assertEq(_burned(), burned, "burned");
        assertEq(market.accountOf(address(0), provider).refused, burned == 0 ? 0 : 1, "counter");
        _assertUses(spec, 0);
        vm.revertToState(before);
    }

    // ---- terms that changed under way ----

    function test_an_acceptance_under_tightened_terms_is_carried_out_as_a_refusal() public {
        JobSpec memory spec = _quoted(2);
        Terms memory terms = _terms();
        terms.maxUses = 1;
        vm.prank(_owner(1));
        registry.tighten(spec.assets[1].assetId, 1, terms);
        _decide(spec, Outcome.Accepted);
        _assertStatus(spec, Status.Refused);
        _assertMoney(2 * FEE, 0, 0, 0);
        _assertUses(spec, 0);
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

    function test_a_job_stopped_before_release_refunds_and_keeps_the_use_consumed() public {
        JobSpec memory spec = _accepted(2);
        bytes32 jobId = _jobId(spec);
        NodeSignature[] memory signatures =
            _nodeSignatures(TypedData.stopHash(jobId, EVIDENCE, 1, 9), 2);
        _refuse(
            abi.encodeCall(IJobs.stop, (_key(spec), _bargain(spec), _enclave(), 8, _members(), signatures)),
            IJobs.WrongNode.selector
        );
        market.stop(_key(spec), _bargain(spec), _enclave(), 9, _members(), signatures);
        _assertStatus(spec, Status.Stopped);
        _assertMoney(2 * FEE, 0, 0, 0);
        _assertUses(spec, 1);
    }

    function test_a_provider_silent_after_acceptance_pays_the_owners_from_its_stake() public {
        JobSpec memory spec = _accepted(2);
        _refuse(abi.encodeCall(IJobs.close, (_key(spec), _bargain(spec), _enclave())), IJobs.TooEarly.selector);
        vm.warp(block.timestamp + 1_801);
        market.close(_key(spec), _bargain(spec), _enclave());
        _assertStatus(spec, Status.Expired);
        _assertMoney(2 * FEE, 0, 2 * PRICE + PENALTY, 2 * PRICE);
        assertEq(_burned(), PENALTY, "burned");
        _assertUses(spec, 1);
    }

    function test_consumer_and_provider_together_get_no_free_use() public {
        JobSpec memory spec = _accepted(2);
        _refuse(consumer, abi.encodeCall(IJobs.cancel, (_key(spec), _bargain(spec))), IJobs.UnexpectedStatus.selector);
        vm.warp(block.timestamp + 1_801);
        market.close(_key(spec), _bargain(spec), _enclave());
        assertEq(_free(_owner(0)) + _free(_owner(1)), 2 * PRICE, "the owners are paid whatever the two agree");
    }

    function test_a_failed_input_leaves_only_its_owner_unpaid() public {
        JobSpec memory spec = _accepted(2);
        _fail(spec, FailureReport(1, 1, 0, keccak256("receipt")));
        _assertStatus(spec, Status.Failed);
        _assertMoney(PRICE + 2 * FEE, 0, 0, PRICE);
        assertEq(_free(_owner(1)), 0, "the owner of the failed input");
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
        FailureReport[3] memory reports =
            [FailureReport(3, 0, 0, 0), FailureReport(1, 2, 0, 0), FailureReport(2, 0, UNITS + 1, 0)];
        bytes4[3] memory errors =
            [IJobs.UnknownCause.selector, IJobs.NoSuchAsset.selector, IJobs.TooManyUnits.selector];
        for (uint256 i = 0; i < 3; ++i) {
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
        _assertMoney(2 * FEE, 0, 2 * PRICE + PENALTY, 2 * PRICE);
        assertEq(_burned(), PENALTY - 2 * FEE, "burned, less what the answer cost");
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
