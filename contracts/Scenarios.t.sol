// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "./interfaces/IJobs.sol";
import {IOrders} from "./interfaces/IOrders.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Fixture} from "./testing/Fixture.sol";
import {vm} from "./testing/Vm.sol";
import {Terms} from "./types/Assets.sol";
import {Members, NodeSignature, SignedDecision} from "./types/Committees.sol";
import {
    Bargain,
    Decision,
    DecisionCore,
    FailureReport,
    JobKey,
    JobSpec,
    Outcome,
    SettledResult,
    Status
} from "./types/Jobs.sol";
import {Account} from "./types/Money.sol";
import {Match} from "./types/Orders.sol";

/// @title What audits tried: collusion, committees that change, and steps that race each other
contract ScenariosTest is Fixture {
    uint256 private constant X_KEY = 0xA77AC4;
    uint256 private constant GAS_EACH = 2_000_000;

    address private _x = vm.addr(X_KEY);

    // ---- one party in several roles ----

    function test_consumer_provider_and_owner_in_one_take_from_nobody_and_use_nothing_for_free() public {
        _fund(_x);
        vm.prank(_x);
        market.stake(address(0), FUNDS / 2);
        for (uint256 end = 0; end < 8; ++end) {
            for (uint256 victim = 0; victim < 2; ++victim) {
                uint256 before = vm.snapshotState();
                uint256 had = _total(_x);
                uint256 expected = _endSelfDeal(_selfDeal(victim == 1), end, victim == 1 ? PRICE : 0);
                assertEq(had - _total(_x), expected, "what the colluders lose");
                if (victim == 1) assertEq(_free(_owner(0)), end >= 4 ? PRICE : 0, "the owner");
                assertEq(_total(consumer), FUNDS, "a bystander");
                assertEq(_total(provider), FUNDS, "another");
                vm.revertToState(before);
            }
        }
    }

    /// End a job of one party by the given way; what it loses is the return value, `price` that of another's asset.
    function _endSelfDeal(JobSpec memory spec, uint256 end, uint256 price) private returns (uint256 loses) {
        if (end == 0) {
            vm.prank(_x);
            market.cancel(_key(spec), _bargain(spec));
            return spec.holdFee;
        }
        if (end == 1) {
            vm.warp(block.timestamp + 601);
            market.close(_key(spec), _bargain(spec), _noEnclave());
            return PENALTY;
        }
        _quote(spec);
        if (end < 4) {
            _decide(spec, end == 2 ? Outcome.PlatformRefused : Outcome.RequestRefused);
            return end == 2 ? PENALTY : 2 * FEE + spec.holdFee;
        }
        _decide(spec, Outcome.Accepted);
        if (end == 4) {
            vm.warp(block.timestamp + 1_801);
            market.close(_key(spec), _bargain(spec), _enclave());
            return PENALTY + price;
        }
        if (end == 5) {
            _fail(spec, FailureReport(2, 0, UNITS, 0));
            return 2 * FEE + price;
        }
        _settle(spec, UNITS, false);
        if (end == 6) {
            vm.prank(_x);
            market.acknowledge(_key(spec), _bargain(spec), _result(UNITS), "");
            return 2 * FEE + price;
        }
        vm.prank(_x);
        market.challenge(_key(spec), _bargain(spec), _result(UNITS));
        _answer(spec, _result(UNITS), _x, false);
        return PENALTY + price;
    }

    function _selfDeal(bool victim) private returns (JobSpec memory spec) {
        bytes32[] memory assets = new bytes32[](1);
        assets[0] = _publish(0, _terms());
        if (!victim) {
            vm.prank(_x);
            assets[0] = registry.publish(_nextSalt(), _seal(), _terms(), "");
        }
        Match memory deal = _dealOver(assets);
        (deal.request.consumer, deal.request.payer, deal.compute.provider) = (_x, _x, _x);
        deal.consumerSignature = _sign(X_KEY, hashes.ofRequest(deal.request));
        deal.providerSignature = _sign(X_KEY, hashes.ofCompute(deal.compute));
        deal.offers[0].signature = _sign(victim ? _ownerKey(0) : X_KEY, hashes.ofAsset(deal.offers[0].order));
        (spec,) = _match(deal);
    }

    function _answer(JobSpec memory spec, SettledResult memory result, address challenger, bool available) private {
        bytes32 said = TypedData.challengeAnswerHash(_jobId(spec), result.resultHash, available);
        NodeSignature[] memory signatures = _nodeSignatures(said, 2);
        market.answerChallenge(
            _key(spec), _bargain(spec), result, challenger, available, _members(), signatures
        );
    }

    function test_owner_and_consumer_take_nothing_of_a_provider_beyond_its_order() public {
        uint256 stake = _staked(provider);
        Terms memory terms = _terms();
        terms.price = uint88(stake - PENALTY);
        bytes32[] memory assets = new bytes32[](1);
        assets[0] = _publish(0, terms);
        Match memory deal = _dealOver(assets);
        deal.compute.maxStake = 2 * PRICE + PENALTY;
        (deal.request.assets[0].maxPrice, deal.offers[0].order.price) = (terms.price, terms.price);
        _signDeal(deal);
        _refuse(abi.encodeCall(IJobs.matchJob, (deal)), IJobs.OutOfBounds.selector);
        (deal.offers[0].order.price, deal.request.settleWindow) = (2 * PRICE, 60);
        _signDeal(deal);
        _refuse(abi.encodeCall(IJobs.matchJob, (deal)), IJobs.OutOfBounds.selector);
        // The shortest window that the market takes is long enough for the whole run, of a workload that sleeps too.
        deal.request.settleWindow = 300 + 100 + 100 + TRANSFER + 4 * FINALITY;
        _signDeal(deal);
        (JobSpec memory spec,) = _match(deal);
        _quote(spec);
        _decide(spec, Outcome.Accepted);
        vm.warp(block.timestamp + deal.request.settleWindow);
        _fail(spec, FailureReport(3, 0, 1, keccak256("out of time")));
        assertEq(_staked(provider), stake, "stake");
        assertEq(_free(provider), FUNDS / 2 + TIMEOUT_FEE, "paid for the time");
    }

    function test_a_provider_that_lies_or_is_silent_loses_enough_to_pay_the_nodes_and_the_consumer_nothing() public {
        for (uint256 way = 0; way < 3; ++way) {
            uint256 before = vm.snapshotState();
            Match memory deal = _deal(1);
            deal.compute.penalty = 7 * FEE;
            _signDeal(deal);
            (JobSpec memory spec,) = _match(deal);
            if (way == 0) {
                vm.warp(block.timestamp + 601);
                market.close(_key(spec), _bargain(spec), _noEnclave());
            } else {
                _quote(spec);
                _decide(spec, way == 1 ? Outcome.EvidenceWithheld : Outcome.Accepted);
            }
            if (way == 2) {
                _settle(spec, 5, false);
                vm.prank(consumer);
                market.challenge(_key(spec), _bargain(spec), _result(5));
                _answer(spec, _result(5), consumer, false);
            }
            assertEq(_free(consumer), FUNDS, "the consumer pays nothing");
            assertEq(FUNDS - _total(provider), 7 * FEE + (way == 2 ? PRICE : 0), "the provider does");
            vm.revertToState(before);
        }
    }

    function test_a_provider_that_takes_its_stake_away_while_a_job_runs_loses_what_the_job_holds() public {
        JobSpec memory spec = _accepted(2);
        uint256 rest = _staked(provider);
        vm.prank(provider);
        market.unstake(address(0), rest);
        vm.warp(block.timestamp + 1 days);
        vm.prank(provider);
        market.finishUnstake(address(0));
        uint256 all = _free(provider);
        vm.prank(provider);
        market.withdraw(address(0), all, provider);
        assertEq(_total(provider), 0, "everything is gone but what the job holds");
        market.close(_key(spec), _bargain(spec), _enclave());
        assertEq(_free(_owner(0)) + _free(_owner(1)), 2 * PRICE, "owners");
        assertEq(_free(consumer), FUNDS, "consumer");
        assertEq(_total(provider), 0, "provider");
    }

    // ---- committees that change ----

    function test_decisions_of_another_epoch_count_for_nothing() public {
        // Epoch 2: nodes 0 and 1 stay in their places, node 2 is new.
        address[] memory two = _signers(3);
        two[2] = vm.addr(NODE_KEYS + 77);
        committee.announce(two, _hpkeKeyHashes(3), 2);
        vm.warp(block.timestamp + 1 days);
        JobSpec memory spec = _quoted(1);
        bytes32 jobId = _jobId(spec);
        DecisionCore memory core = _core(Outcome.Accepted);
        Members memory next = Members(two, keccak256(abi.encodePacked(_hpkeKeyHashes(3))), 0);
        for (uint32 epoch = 1; epoch <= 2; ++epoch) {
            NodeSignature[] memory signatures = _decisions(jobId, epoch, core, 0, 2);
            _refuseDecision(spec, _bargain(spec), core, next, signatures, IJobs.WrongCommittee.selector);
        }
        NodeSignature[] memory later = _decisions(jobId, 2, core, 0, 2);
        _refuseDecision(spec, _bargain(spec), core, _members(), later, IJobs.WrongNode.selector);
        Bargain memory other = _bargain(spec);
        other.epoch = 2;
        _refuseDecision(spec, other, core, next, later, IJobs.WrongCommitment.selector);
        _decide(spec, Outcome.Accepted);
        _assertStatus(spec, Status.Accepted);
    }

    function _refuseDecision(
        JobSpec memory spec,
        Bargain memory bargain,
        DecisionCore memory core,
        Members memory members,
        NodeSignature[] memory signatures,
        bytes4 expected
    ) private {
        _refuse(abi.encodeCall(IJobs.decide, (_key(spec), bargain, core, members, signatures)), expected);
    }

    function test_what_a_removed_member_signed_before_counts_for_nothing_in_any_step() public {
        JobSpec memory spec = _quoted(1);
        bytes32 jobId = _jobId(spec);
        DecisionCore memory core = _core(Outcome.Accepted);
        NodeSignature[] memory early = _decisions(jobId, 1, core, 0, 2);
        _removeByTwo(keccak256("elsewhere"), core, _core(Outcome.TermsRefused));
        bytes4 expected = IJobs.BadSignerIndex.selector;
        _refuseDecision(spec, _bargain(spec), core, _members(), early, expected);
        NodeSignature[] memory all = _decisions(jobId, 1, core, 0, 3);
        (early[0], early[1]) = (all[0], all[2]);
        market.decide(_key(spec), _bargain(spec), core, _members(), early);

        NodeSignature[] memory signatures = _nodeSignatures(TypedData.stopHash(jobId, EVIDENCE, 1, 9), 2);
        _refuse(
            abi.encodeCall(IJobs.stop, (_key(spec), _bargain(spec), _enclave(), 9, _members(), signatures)), expected
        );
        _refuseReleaseOfRemoved(spec, expected);
        _settle(spec, 1, false);
        vm.prank(consumer);
        market.challenge(_key(spec), _bargain(spec), _result(1));
        signatures = _nodeSignatures(TypedData.challengeAnswerHash(jobId, keccak256("result"), true), 2);
        bytes memory answer = abi.encodeCall(
            IJobs.answerChallenge,
            (_key(spec), _bargain(spec), _result(1), consumer, true, _members(), signatures)
        );
        _refuse(answer, expected);
        // A fee book that is opened later knows of the removal.
        token = address(plain);
        JobSpec memory other = _quoted(1);
        _refuseDecision(
            other, _bargain(other), core, _members(), _decisions(_jobId(other), 1, core, 0, 2), expected
        );
    }

    function _refuseReleaseOfRemoved(JobSpec memory spec, bytes4 expected) private {
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.sharesMissingHash(_jobId(spec), EVIDENCE, 0));
        vm.prank(provider);
        market.reportMissing(_key(spec), _bargain(spec), _enclave(), 0, signature);
        _refuse(_posting(spec, 1), expected);
    }

    /// Remove node 1 by two decisions that exclude each other.
    function _removeByTwo(bytes32 jobId, DecisionCore memory one, DecisionCore memory two) private {
        bytes32 detail = keccak256(abi.encode("detail", uint256(1)));
        SignedDecision memory a = _signed(_decision(jobId, 1, one, detail));
        SignedDecision memory b = _signed(_decision(jobId, 1, two, detail));
        committee.removeEquivocator(1, _members(), 1, a, b);
        assertEq(committee.epochOf(1).removed, 2, "removed");
    }

    function _signed(Decision memory decision) private view returns (SignedDecision memory) {
        (bytes32 r, bytes32 vs) = _signCompact(NODE_KEYS + 1, TypedData.hash(decision));
        return SignedDecision(decision, r, vs);
    }

    function test_of_two_decisions_the_first_counts_and_who_signed_both_is_removed() public {
        for (uint256 way = 0; way < 2; ++way) {
            uint256 before = vm.snapshotState();
            JobSpec memory spec = _quoted(1);
            bytes32 jobId = _jobId(spec);
            DecisionCore memory yes = _core(Outcome.Accepted);
            DecisionCore memory no = _core(Outcome.PlatformRefused);
            NodeSignature[] memory signatures = _decisions(jobId, 1, yes, 0, 2);
            bytes memory accept = abi.encodeCall(
                IJobs.decide, (_key(spec), _bargain(spec), yes, _members(), signatures)
            );
            signatures = _decisions(jobId, 1, no, 1, 2);
            bytes memory refuse = abi.encodeCall(
                IJobs.decide, (_key(spec), _bargain(spec), no, _members(), signatures)
            );
            (bool first, bool second) = way == 0 ? _both(accept, refuse) : _both(refuse, accept);
            assertTrue(first && !second, "one of them");
            _assertStatus(spec, way == 0 ? Status.Accepted : Status.Refused);
            _removeByTwo(jobId, yes, no);
            vm.revertToState(before);
        }
    }

    // ---- steps that race each other ----

    function _both(bytes memory one, bytes memory two) private returns (bool, bool) {
        bytes[] memory calls = new bytes[](2);
        (calls[0], calls[1]) = (one, two);
        bool[] memory succeeded = market.batch(calls, GAS_EACH);
        return (succeeded[0], succeeded[1]);
    }

    function test_withdrawal_and_quote_in_the_last_second_exclude_each_other() public {
        for (uint256 way = 0; way < 2; ++way) {
            uint256 before = vm.snapshotState();
            JobSpec memory spec = _matched(1);
            (JobKey memory key, Bargain memory bargain) = (_key(spec), _bargain(spec));
            vm.warp(block.timestamp + 600);
            bytes memory quote = abi.encodeCall(IJobs.quote, (key, TypedData.hashBargain(spec), EVIDENCE, ""));
            bytes memory cancel = abi.encodeCall(IJobs.cancel, (key, bargain));
            if (way == 0) {
                vm.prank(consumer);
                market.cancel(key, bargain);
                _refuse(provider, quote, IJobs.UnexpectedStatus.selector);
                assertEq(FUNDS - _free(consumer), spec.holdFee, "consumer");
                assertEq(_staked(provider), FUNDS / 2, "stake");
            } else {
                _quote(spec);
                _refuse(consumer, cancel, IJobs.UnexpectedStatus.selector);
                vm.warp(1_800_000_000 + 600 + 701);
                market.close(key, bargain, _evidenceOnly());
                assertEq(_free(consumer), FUNDS, "consumer");
            }
            _refuse(abi.encodeCall(IJobs.close, (key, bargain, _noEnclave())), IJobs.UnexpectedStatus.selector);
            vm.revertToState(before);
        }
    }

    function test_until_the_deadline_only_settling_counts_and_after_it_only_closing() public {
        JobSpec memory spec = _accepted(1);
        SettledResult memory result = _result(5);
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(_jobId(spec), result));
        bytes memory settle =
            abi.encodeCall(IJobs.settle, (_key(spec), _bargain(spec), _enclave(), result, signature, ""));
        bytes memory close = abi.encodeCall(IJobs.close, (_key(spec), _bargain(spec), _enclave()));
        for (uint256 way = 0; way < 4; ++way) {
            uint256 before = vm.snapshotState();
            bool late = way >= 2;
            vm.warp(1_800_000_000 + (late ? 1_801 : 1_800));
            (bool first, bool second) = way % 2 == 0 ? _both(settle, close) : _both(close, settle);
            (bool settled, bool closed) = way % 2 == 0 ? (first, second) : (second, first);
            assertTrue(settled == !late && closed == late, "in either order");
            _assertStatus(spec, late ? Status.Expired : Status.Settled);
            assertEq(_free(_owner(0)), PRICE, "the owner is paid once");
            vm.revertToState(before);
        }
    }

    function test_nobody_but_consumer_and_payer_challenges_or_names_itself_so() public {
        JobSpec memory spec = _settled(1, 5);
        address[5] memory others = [provider, _owner(0), vm.addr(NODE_KEYS), guardian, address(market)];
        bytes memory call = abi.encodeCall(IJobs.challenge, (_key(spec), _bargain(spec), _result(5)));
        for (uint256 i = 0; i < 5; ++i) {
            _refuse(others[i], call, IOrders.NotRequestParty.selector);
        }
        Bargain memory bargain = _bargain(spec);
        bargain.payer = sponsor;
        call = abi.encodeCall(IJobs.challenge, (_key(spec), bargain, _result(5)));
        _refuse(sponsor, call, IJobs.WrongCommitment.selector);
    }

    function _total(address who) private view returns (uint256) {
        Account memory account = market.accountOf(address(0), who);
        return uint256(account.free) + account.staked + market.unbondingOf(address(0), who).amount;
    }
}
