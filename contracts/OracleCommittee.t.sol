// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "./interfaces/IJobs.sol";
import {IOracleCommittee} from "./interfaces/IOracleCommittee.sol";
import {Releases} from "./libraries/Releases.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Fixture} from "./testing/Fixture.sol";
import {vm} from "./testing/Vm.sol";
import {NodeSignature, SignedDecision, SignedRelease, SignedStop} from "./types/Committees.sol";
import {Decision, DecisionCore, JobSpec, Outcome, Status} from "./types/Jobs.sol";

/// @title Who may sign, from when, and who may no longer
contract OracleCommitteeTest is Fixture {
    function _refuseAnnounce(address[] memory signers, bytes32[] memory keys, uint8 threshold, bytes4 expected)
        private
    {
        bytes memory data = abi.encodeCall(committee.announce, (signers, keys, threshold));
        _refuse(address(0), address(committee), data, expected);
    }

    function test_only_the_owner_announces_and_only_whole_committees() public {
        bytes memory data = abi.encodeCall(committee.announce, (_signers(3), _hpkeKeyHashes(3), 2));
        _refuse(consumer, address(committee), data, IOracleCommittee.OnlyCommitteeOwner.selector);
        _refuseAnnounce(_signers(0), _hpkeKeyHashes(0), 1, IOracleCommittee.BadCommitteeSize.selector);
        _refuseAnnounce(_signers(12), _hpkeKeyHashes(12), 7, IOracleCommittee.BadCommitteeSize.selector);
        _refuseAnnounce(_signers(3), _hpkeKeyHashes(2), 2, IOracleCommittee.KeyCountMismatch.selector);
        _refuseAnnounce(_signers(3), _hpkeKeyHashes(3), 0, IOracleCommittee.BadThreshold.selector);
        _refuseAnnounce(_signers(3), _hpkeKeyHashes(3), 4, IOracleCommittee.BadThreshold.selector);
        address[] memory twice = _signers(3);
        twice[2] = twice[0];
        _refuseAnnounce(twice, _hpkeKeyHashes(3), 2, IOracleCommittee.BadMember.selector);
        twice[2] = address(0);
        _refuseAnnounce(twice, _hpkeKeyHashes(3), 2, IOracleCommittee.BadMember.selector);
        bytes32[] memory keys = _hpkeKeyHashes(3);
        keys[1] = keys[0];
        _refuseAnnounce(_signers(3), keys, 2, IOracleCommittee.BadMember.selector);
        committee.announce(_signers(11), _hpkeKeyHashes(11), 11);
        assertEq(committee.latestEpoch(), 2, "epoch");
        assertEq(committee.epochOf(2).activeAt, block.timestamp + 1 days, "visible for the delay");
        bytes memory unknown = abi.encodeCall(committee.epochOf, (3));
        _refuse(address(0), address(committee), unknown, IOracleCommittee.UnknownEpoch.selector);
    }

    function _signed(uint256 key, Decision memory decision) private view returns (SignedDecision memory) {
        (bytes32 r, bytes32 vs) = _signCompact(key, TypedData.hash(decision));
        return SignedDecision(decision, r, vs);
    }

    function _two(Outcome a, Outcome b) private view returns (SignedDecision memory, SignedDecision memory) {
        bytes32 jobId = keccak256("job");
        Decision memory first = _decision(jobId, 1, _core(a), keccak256("a"));
        Decision memory second = _decision(jobId, 1, _core(b), keccak256("b"));
        return (_signed(NODE_KEYS + 1, first), _signed(NODE_KEYS + 1, second));
    }

    function _refuseRemoval(uint8 index, SignedDecision memory a, SignedDecision memory b, bytes4 expected) private {
        bytes memory data = abi.encodeCall(committee.removeEquivocator, (1, _members(), index, a, b));
        _refuse(address(0), address(committee), data, expected);
    }

    function test_proofs_that_prove_nothing_are_refused() public {
        (SignedDecision memory a, SignedDecision memory b) = _two(Outcome.Accepted, Outcome.Accepted);
        _refuseRemoval(1, a, b, IOracleCommittee.SameDecision.selector);
        (a, b) = _two(Outcome.Accepted, Outcome.PlatformRefused);
        _refuseRemoval(0, a, b, IOracleCommittee.WrongSigner.selector);
        _refuseRemoval(3, a, b, IOracleCommittee.NotAMember.selector);
        SignedDecision memory elsewhere = b;
        elsewhere.decision.jobId = keccak256("other job");
        _refuseRemoval(1, a, elsewhere, IOracleCommittee.DifferentSubjects.selector);
        elsewhere.decision.jobId = a.decision.jobId;
        elsewhere.decision.evidenceHash = keccak256("other evidence");
        _refuseRemoval(1, a, elsewhere, IOracleCommittee.DifferentSubjects.selector);
        elsewhere.decision.evidenceHash = EVIDENCE;
        elsewhere.decision.epoch = 2;
        _refuseRemoval(1, a, elsewhere, IOracleCommittee.DifferentSubjects.selector);
        (a, b) = _two(Outcome.Accepted, Outcome.PlatformRefused);
        bytes memory wrong = abi.encodeCall(committee.removeEquivocator, (1, _members(2), 1, a, b));
        _refuse(address(0), address(committee), wrong, IOracleCommittee.WrongMembers.selector);
    }

    function test_an_equivocator_is_removed_once_and_signs_no_more() public {
        (SignedDecision memory a, SignedDecision memory b) = _two(Outcome.Accepted, Outcome.PlatformRefused);
        committee.removeEquivocator(1, _members(), 1, a, b);
        _refuseRemoval(1, a, b, IOracleCommittee.NotAMember.selector);
        JobSpec memory spec = _quoted(1);
        bytes32 jobId = _jobId(spec);
        DecisionCore memory core = _core(Outcome.Accepted);
        bytes memory with =
            abi.encodeCall(
                IJobs.decide, (_key(spec), _bargain(spec), core, _members(), _decisions(jobId, 1, core, 0, 2))
            );
        _refuse(with, IJobs.BadSignerIndex.selector);
        NodeSignature[] memory others = _decisions(jobId, 1, core, 0, 3);
        NodeSignature[] memory two = new NodeSignature[](2);
        (two[0], two[1]) = (others[0], others[2]);
        market.decide(_key(spec), _bargain(spec), core, _members(), two);
        _assertStatus(spec, Status.Accepted);
    }

    function test_a_member_removed_while_jobs_run_signs_no_more_for_them() public {
        JobSpec memory spec = _quoted(1);
        (SignedDecision memory a, SignedDecision memory b) = _two(Outcome.Accepted, Outcome.PlatformRefused);
        committee.removeEquivocator(1, _members(), 1, a, b);
        DecisionCore memory core = _core(Outcome.Accepted);
        bytes memory with = abi.encodeCall(
            IJobs.decide,
            (_key(spec), _bargain(spec), core, _members(), _decisions(_jobId(spec), 1, core, 1, 2))
        );
        _refuse(with, IJobs.BadSignerIndex.selector);
    }

    function test_nobody_but_the_committee_tells_the_market_of_removals() public {
        _matched(1);
        bytes memory notice = abi.encodeCall(market.noteRemoved, (1, keccak256("members")));
        _refuse(consumer, notice, IJobs.OnlyCommittee.selector);
        _refuse(guardian, notice, IJobs.OnlyCommittee.selector);
        // Of an epoch that no job uses the market takes no note: there is nothing to hold it against.
        vm.prank(address(committee));
        market.noteRemoved(2, keccak256("members"));
    }

    function test_a_member_that_releases_and_promises_not_to_is_removed() public {
        (bytes32 jobId, bytes32 sent) = (keccak256("job"), keccak256("sent"));
        SignedStop memory stop = SignedStop(jobId, EVIDENCE, 9, 0, 0);
        (stop.r, stop.vs) = _signCompact(NODE_KEYS + 1, TypedData.stopHash(jobId, EVIDENCE, 1, 9));
        SignedRelease memory release = SignedRelease(sent, 0, 0);
        (uint8 v, bytes32 r, bytes32 vs) = vm.sign(NODE_KEYS + 1, Releases.digest(jobId, EVIDENCE, 1, sent));
        (release.r, release.vs) = (r, v == 28 ? vs | bytes32(uint256(1) << 255) : vs);
        bytes4 wrong = IOracleCommittee.WrongSigner.selector;
        _refuseBroken(0, stop, release, wrong);
        stop.reasons = 8;
        _refuseBroken(1, stop, release, wrong);
        stop.reasons = 9;
        release.sentHash = keccak256("other");
        _refuseBroken(1, stop, release, wrong);
        release.sentHash = sent;
        stop.evidenceHash = keccak256("other evidence");
        _refuseBroken(1, stop, release, wrong);
        stop.evidenceHash = EVIDENCE;
        committee.removeForBrokenPromise(1, _members(), 1, stop, release);
        assertEq(committee.epochOf(1).removed, 2, "removed");
        _refuseBroken(1, stop, release, IOracleCommittee.NotAMember.selector);
    }

    function _refuseBroken(uint8 index, SignedStop memory stop, SignedRelease memory release, bytes4 expected)
        private
    {
        bytes memory call = abi.encodeCall(committee.removeForBrokenPromise, (1, _members(), index, stop, release));
        _refuse(address(0), address(committee), call, expected);
    }

    function test_nobody_is_removed_below_the_threshold() public {
        (SignedDecision memory a, SignedDecision memory b) = _two(Outcome.Accepted, Outcome.PlatformRefused);
        committee.removeEquivocator(1, _members(), 1, a, b);
        Decision memory first = _decision(keccak256("job"), 1, _core(Outcome.Accepted), 0);
        Decision memory second = _decision(keccak256("job"), 1, _core(Outcome.TermsRefused), 0);
        SignedDecision memory c = _signed(NODE_KEYS, first);
        SignedDecision memory d = _signed(NODE_KEYS, second);
        _refuseRemoval(0, c, d, IOracleCommittee.TooFewWouldRemain.selector);
    }

    // ---- hashes of statements about platforms ----

    function test_a_hash_is_anchored_once_and_keeps_the_time_of_the_first() public {
        bytes32 statement = keccak256("statement");
        uint256 first = vm.getBlockTimestamp();
        assertEq(committee.advisoryAnchoredAt(statement), 0, "not anchored yet");
        vm.expectEmit();
        emit IOracleCommittee.AdvisoryAnchored(statement, uint40(first));
        committee.anchorAdvisory(statement);
        uint256[3] memory later = [first, first + 1, first + 365 days];
        for (uint256 i = 0; i < 3; ++i) {
            vm.warp(later[i]);
            bytes memory again = abi.encodeCall(committee.anchorAdvisory, (statement));
            _refuse(consumer, address(committee), again, IOracleCommittee.AlreadyAnchored.selector);
            _refuse(committee.owner(), address(committee), again, IOracleCommittee.AlreadyAnchored.selector);
            assertEq(committee.advisoryAnchoredAt(statement), first, "the first counts");
        }
    }

    function test_anyone_anchors_any_hash_and_nothing_else_changes() public {
        bytes32 before = committee.epochOf(1).membersHash;
        vm.prank(consumer);
        committee.anchorAdvisory(0);
        vm.prank(address(0xBAD));
        committee.anchorAdvisory(bytes32(type(uint256).max));
        assertEq(committee.advisoryAnchoredAt(0), vm.getBlockTimestamp(), "zero");
        assertEq(committee.epochOf(1).membersHash, before, "the committee is as it was");
        assertEq(committee.latestEpoch(), 1, "no epoch");
    }

    function testFuzz_the_anchor_of_one_hash_is_no_others(bytes32 one, bytes32 other, uint40 ahead) public {
        if (one == other) return;
        committee.anchorAdvisory(one);
        uint256 first = vm.getBlockTimestamp();
        assertEq(committee.advisoryAnchoredAt(other), 0, "not anchored");
        vm.warp(first + uint256(ahead) % 10 * 365 days);
        committee.anchorAdvisory(other);
        assertEq(committee.advisoryAnchoredAt(one), first, "as it was");
        assertEq(committee.advisoryAnchoredAt(other), vm.getBlockTimestamp(), "its own");
    }
}
