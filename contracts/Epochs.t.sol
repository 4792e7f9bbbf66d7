// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "./interfaces/IJobs.sol";
import {IOracleCommittee} from "./interfaces/IOracleCommittee.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Fixture} from "./testing/Fixture.sol";
import {vm} from "./testing/Vm.sol";
import {Seal} from "./types/Assets.sol";
import {JobSpec, Outcome, Status} from "./types/Jobs.sol";
import {Match} from "./types/Orders.sol";

/// @title How an epoch ends: who says so, how long before, and what it does to jobs
contract EpochsTest is Fixture {
    uint256 private constant NOTICE = 2 days;
    uint256 private constant FURTHEST = NOTICE + 2 * 365 days;
    /// The longest that a job of the fixture's request lasts: quote, decide three times, settle twice, challenge.
    uint256 private constant LONGEST = 600 + 3 * 700 + 2 * 1_800 + 900;

    function _end(uint32 epoch, uint256 endsAt) private {
        committee.end(epoch, uint40(endsAt));
    }

    function _refuseEnd(address from, uint32 epoch, uint256 endsAt, bytes4 expected) private {
        _refuse(from, address(committee), abi.encodeCall(committee.end, (epoch, uint40(endsAt))), expected);
    }

    function _refuseMatch(Match memory deal) private {
        _refuse(abi.encodeCall(market.matchJob, (deal)), IJobs.EpochEnds.selector);
    }

    /// A match over one asset of the second epoch, as all parties sign it now.
    function _dealOfSecond() private returns (Match memory) {
        Seal memory seal = _seal();
        seal.epoch = 2;
        bytes32[] memory assets = new bytes32[](1);
        assets[0] = _publish(0, seal, _terms());
        return _dealOver(assets);
    }

    function _announceSecond() private {
        committee.announce(_signers(4), _hpkeKeyHashes(4), 3);
        vm.warp(block.timestamp + 1 days);
    }

    // ---- the announcement ----

    function test_only_the_committee_owner_ends_an_epoch() public {
        uint256 endsAt = vm.getBlockTimestamp() + NOTICE;
        _refuseEnd(consumer, 1, endsAt, IOracleCommittee.OnlyCommitteeOwner.selector);
        _refuseEnd(guardian, 1, endsAt, IOracleCommittee.OnlyCommitteeOwner.selector);
        bytes memory note = abi.encodeCall(market.noteEnd, (1, uint40(endsAt)));
        _refuse(consumer, note, IJobs.OnlyCommittee.selector);
        _refuse(guardian, note, IJobs.OnlyCommittee.selector);
        _refuse(committee.owner(), note, IJobs.OnlyCommittee.selector);
    }

    function test_no_epoch_ends_without_notice_and_none_by_a_slip_in_centuries() public {
        assertEq(committee.notice(), NOTICE, "twice what a new epoch takes to count");
        _refuseEnd(address(0), 1, 0, IOracleCommittee.BadEnd.selector);
        _refuseEnd(address(0), 1, block.timestamp, IOracleCommittee.BadEnd.selector);
        _refuseEnd(address(0), 1, block.timestamp + NOTICE - 1, IOracleCommittee.BadEnd.selector);
        _refuseEnd(address(0), 1, block.timestamp + FURTHEST + 1, IOracleCommittee.BadEnd.selector);
        _refuseEnd(address(0), 1, block.timestamp * 1_000, IOracleCommittee.BadEnd.selector);
        _refuseEnd(address(0), 2, block.timestamp + NOTICE, IOracleCommittee.UnknownEpoch.selector);
        assertEq(committee.epochOf(1).endsAt, 0, "nothing is announced");
        vm.expectEmit();
        emit IOracleCommittee.EpochEndAnnounced(1, uint40(block.timestamp + FURTHEST));
        _end(1, block.timestamp + FURTHEST);
    }

    function test_an_end_is_neither_moved_nor_taken_back() public {
        uint256 endsAt = vm.getBlockTimestamp() + NOTICE;
        _end(1, endsAt);
        assertEq(committee.epochOf(1).endsAt, endsAt, "announced");
        uint256[4] memory others = [uint256(0), endsAt, endsAt + 1, endsAt + 30 days];
        for (uint256 i = 0; i < 4; ++i) {
            _refuseEnd(address(0), 1, others[i], IOracleCommittee.EndAnnounced.selector);
        }
        vm.warp(endsAt + 1);
        _refuseEnd(address(0), 1, endsAt + NOTICE + 1, IOracleCommittee.EndAnnounced.selector);
        assertEq(committee.epochOf(1).endsAt, endsAt, "as announced");
    }

    // ---- new jobs ----

    function test_a_job_that_could_outlast_its_epoch_is_refused_to_the_second() public {
        uint256 endsAt = vm.getBlockTimestamp() + NOTICE;
        _end(1, endsAt);
        vm.warp(endsAt - LONGEST);
        _match(_deal(1));
        uint256[4] memory late = [endsAt - LONGEST + 1, endsAt, endsAt + 1, endsAt + 365 days];
        for (uint256 i = 0; i < 4; ++i) {
            vm.warp(late[i]);
            _refuseMatch(_deal(1));
        }
    }

    function testFuzz_a_match_stands_exactly_if_its_last_window_closes_by_the_end(uint256 ahead, uint256 at) public {
        ahead = bound(ahead, 0, 3 days);
        uint256 endsAt = vm.getBlockTimestamp() + NOTICE + ahead;
        _end(1, endsAt);
        vm.warp(bound(at, block.timestamp, endsAt + 1 hours));
        Match memory deal = _deal(1);
        if (block.timestamp + LONGEST > endsAt) _refuseMatch(deal);
        else _match(deal);
    }

    function test_the_end_of_one_epoch_is_none_of_another() public {
        _announceSecond();
        uint256 endsAt = vm.getBlockTimestamp() + NOTICE;
        _end(2, endsAt);
        vm.warp(endsAt - LONGEST + 1);
        _refuseMatch(_dealOfSecond());
        // An earlier epoch goes on, although the market looks closer at all up to the last that ends.
        _matched(1);
        vm.warp(endsAt + 365 days);
        _matched(1);
    }

    function test_a_later_epoch_goes_on_when_the_first_has_ended() public {
        _announceSecond();
        uint256 endsAt = vm.getBlockTimestamp() + NOTICE;
        _end(1, endsAt);
        vm.warp(endsAt - LONGEST + 1);
        (JobSpec memory spec,) = _match(_dealOfSecond());
        assertEq(spec.epoch, 2, "epoch");
        _refuseMatch(_deal(1));
    }

    function test_epochs_end_in_any_order() public {
        _announceSecond();
        uint256 endsAt = vm.getBlockTimestamp() + NOTICE;
        _end(2, endsAt);
        _end(1, endsAt + 1 hours);
        vm.warp(endsAt - LONGEST + 1);
        _refuseMatch(_dealOfSecond());
        _matched(1);
        vm.warp(endsAt + 1 hours - LONGEST + 1);
        _refuseMatch(_deal(1));
    }

    function test_an_epoch_that_does_not_count_yet_can_end() public {
        committee.announce(_signers(4), _hpkeKeyHashes(4), 3);
        _end(2, block.timestamp + NOTICE);
        assertEq(committee.epochOf(2).endsAt, block.timestamp + NOTICE, "a committee announced by mistake");
    }

    // ---- jobs under way ----

    function test_a_job_of_before_the_announcement_keeps_its_committee_beyond_the_end() public {
        JobSpec memory spec = _matched(1);
        vm.warp(block.timestamp + 500);
        _end(1, block.timestamp + NOTICE);
        _quote(spec);
        _decide(spec, Outcome.Accepted);
        _settle(spec, 3, false);
        vm.warp(block.timestamp + 901);
        market.mature(_key(spec), _bargain(spec), _result(3));
        _assertStatus(spec, Status.Matured);
        // Its nodes are paid after the end too.
        vm.warp(block.timestamp + NOTICE);
        uint256 before = _free(_members().signers[0]);
        market.claimFees(1, token, _members(), 0);
        assertEq(_free(_members().signers[0]), before + FEE, "fees");
    }

    function test_the_slowest_job_of_an_ending_epoch_is_over_with_it() public {
        uint256 endsAt = vm.getBlockTimestamp() + NOTICE;
        _end(1, endsAt);
        vm.warp(endsAt - LONGEST);
        JobSpec memory spec = _matched(1);
        _waitForDeadline(spec);
        _quote(spec);
        _waitForDeadline(spec);
        _decide(spec, Outcome.Accepted);
        _waitForDeadline(spec);
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.sharesMissingHash(_jobId(spec), EVIDENCE, 0));
        vm.prank(provider);
        market.reportMissing(_key(spec), _bargain(spec), _enclave(), 0, signature);
        _waitForDeadline(spec);
        _settle(spec, 3, false);
        _waitForDeadline(spec);
        vm.prank(consumer);
        market.challenge(_key(spec), _bargain(spec), _result(3));
        _waitForDeadline(spec);
        assertEq(block.timestamp, endsAt, "the last second of its last window");
    }

    /// The end of the window that the job waits in.
    function _waitForDeadline(JobSpec memory spec) private {
        (, uint40 deadline,) = market.jobOf(spec.requestHash);
        vm.warp(deadline);
    }
}
