// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IMarket} from "./interfaces/IMarket.sol";
import {IOracleCommittee} from "./interfaces/IOracleCommittee.sol";
import {Releases} from "./libraries/Releases.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Epoch, MAX_MEMBERS, Members, SignedDecision, SignedRelease, SignedStop} from "./types/Committees.sol";
import {Decision} from "./types/Jobs.sol";

/// @title The committee of key oracle nodes
/// @dev Documented in IOracleCommittee.
contract OracleCommittee is IOracleCommittee {
    /// How much longer than the shortest notice an end may be announced ahead: what lies beyond is a slip.
    uint256 private constant MOST_AHEAD = 2 * 365 days;

    /// @inheritdoc IOracleCommittee
    address public immutable owner;
    /// @inheritdoc IOracleCommittee
    address public immutable market;
    /// @inheritdoc IOracleCommittee
    uint40 public immutable delay;

    /// @inheritdoc IOracleCommittee
    uint32 public latestEpoch;

    mapping(uint32 number => Epoch epoch) private _epochs;
    mapping(bytes32 statement => uint40 anchoredAt) private _anchors;

    /// The first epoch is in force at once: no asset can rest on an earlier one.
    constructor(
        address owner_,
        address market_,
        uint40 delay_,
        address[] memory signers,
        bytes32[] memory hpkeKeyHashes,
        uint8 threshold
    ) {
        owner = owner_;
        market = market_;
        delay = delay_;
        _announce(signers, hpkeKeyHashes, threshold, uint40(block.timestamp));
    }

    /// @inheritdoc IOracleCommittee
    function announce(address[] calldata signers, bytes32[] calldata hpkeKeyHashes, uint8 threshold)
        external
        returns (uint32 epoch)
    {
        if (msg.sender != owner) revert OnlyCommitteeOwner(msg.sender, owner);
        return _announce(signers, hpkeKeyHashes, threshold, uint40(block.timestamp) + delay);
    }

    /// @inheritdoc IOracleCommittee
    function end(uint32 epoch, uint40 endsAt) external {
        if (msg.sender != owner) revert OnlyCommitteeOwner(msg.sender, owner);
        uint40 announced = epochOf(epoch).endsAt;
        if (announced != 0) revert EndAnnounced(epoch, announced);
        uint256 least = block.timestamp + notice();
        if (endsAt < least || endsAt > least + MOST_AHEAD) revert BadEnd(endsAt, least, least + MOST_AHEAD);

        _epochs[epoch].endsAt = endsAt;

        emit EpochEndAnnounced(epoch, endsAt);
        IMarket(market).noteEnd(epoch, endsAt);
    }

    /// @inheritdoc IOracleCommittee
    function removeEquivocator(
        uint32 epoch,
        Members calldata members,
        uint8 index,
        SignedDecision calldata first,
        SignedDecision calldata second
    ) external {
        address signer = _member(epoch, members, index);
        _checkEquivocation(epoch, first.decision, second.decision);
        _checkSigner(signer, _typed(TypedData.hash(first.decision)), first.r, first.vs);
        _checkSigner(signer, _typed(TypedData.hash(second.decision)), second.r, second.vs);

        _remove(epoch, members, index, first.decision.jobId);
    }

    /// @inheritdoc IOracleCommittee
    function removeForBrokenPromise(
        uint32 epoch,
        Members calldata members,
        uint8 index,
        SignedStop calldata promised,
        SignedRelease calldata sent
    ) external {
        address signer = _member(epoch, members, index);
        (bytes32 jobId, bytes32 evidenceHash) = (promised.jobId, promised.evidenceHash);
        bytes32 stop = TypedData.stopHash(jobId, evidenceHash, epoch, promised.reasons);
        _checkSigner(signer, _typed(stop), promised.r, promised.vs);
        _checkSigner(signer, Releases.digest(jobId, evidenceHash, index, sent.sentHash), sent.r, sent.vs);

        _remove(epoch, members, index, jobId);
    }

    /// @inheritdoc IOracleCommittee
    function anchorAdvisory(bytes32 statement) external {
        uint40 before = _anchors[statement];
        if (before != 0) revert AlreadyAnchored(statement, before);

        _anchors[statement] = uint40(block.timestamp);

        emit AdvisoryAnchored(statement, uint40(block.timestamp));
    }

    /// @inheritdoc IOracleCommittee
    function advisoryAnchoredAt(bytes32 statement) external view returns (uint40) {
        return _anchors[statement];
    }

    /// @inheritdoc IOracleCommittee
    function notice() public view returns (uint256) {
        return 2 * uint256(delay);
    }

    /// @inheritdoc IOracleCommittee
    function epochOf(uint32 epoch) public view returns (Epoch memory found) {
        found = _epochs[epoch];
        if (found.members == 0) revert UnknownEpoch(epoch);
    }

    function _announce(
        address[] memory signers,
        bytes32[] memory hpkeKeyHashes,
        uint8 threshold,
        uint40 activeAt
    ) private returns (uint32 epoch) {
        uint256 count = signers.length;
        if (count == 0 || count > MAX_MEMBERS) revert BadCommitteeSize(count, MAX_MEMBERS);
        if (hpkeKeyHashes.length != count) revert KeyCountMismatch(hpkeKeyHashes.length, count);
        if (threshold == 0 || threshold > count) revert BadThreshold(threshold, count);
        _checkDistinct(signers, hpkeKeyHashes);

        epoch = ++latestEpoch;
        _epochs[epoch] = Epoch({
            membersHash: _membersHash(signers, keccak256(abi.encodePacked(hpkeKeyHashes)), 0),
            activeAt: activeAt,
            members: uint8(count),
            threshold: threshold,
            removed: 0,
            endsAt: 0
        });

        emit EpochAnnounced(epoch, signers, hpkeKeyHashes, threshold, activeAt);
    }

    /// Remove a member that was proven to have signed two things of which one excludes the other.
    function _remove(uint32 epoch, Members calldata members, uint8 index, bytes32 jobId) private {
        Epoch storage current = _epochs[epoch];
        uint16 removed = members.removed | (uint16(1) << index);
        uint256 remaining = members.signers.length - _popCount(removed);
        if (remaining < current.threshold) revert TooFewWouldRemain(remaining, current.threshold);
        bytes32 membersHash = _membersHash(members.signers, members.keysDigest, removed);

        (current.membersHash, current.removed) = (membersHash, removed);

        emit EquivocatorRemoved(epoch, index, members.signers[index], jobId);
        IMarket(market).noteRemoved(epoch, membersHash);
    }

    /// The signer of a member that exists and was not removed.
    function _member(uint32 epoch, Members calldata members, uint8 index) private view returns (address) {
        bytes32 expected = epochOf(epoch).membersHash;
        bytes32 got = _membersHash(members.signers, members.keysDigest, members.removed);
        if (got != expected) revert WrongMembers(epoch, got, expected);
        if (index >= members.signers.length || members.removed & (uint256(1) << index) != 0) {
            revert NotAMember(epoch, index);
        }
        return members.signers[index];
    }

    function _typed(bytes32 structHash) private view returns (bytes32) {
        return TypedData.toDigest(TypedData.domainSeparator(market), structHash);
    }

    function _checkSigner(address expected, bytes32 digest, bytes32 r, bytes32 vs) private pure {
        address got = Signatures.recover(digest, r, vs);
        if (got != expected) revert WrongSigner(got, expected);
    }

    /// Same job, evidence and epoch, different core; `detail` may differ between honest decisions.
    function _checkEquivocation(uint32 epoch, Decision memory first, Decision memory second) private pure {
        if (
            first.epoch != epoch || second.epoch != epoch || first.jobId != second.jobId
                || first.evidenceHash != second.evidenceHash
        ) {
            revert DifferentSubjects();
        }
        bytes32 detail = second.detail;
        second.detail = first.detail;
        if (TypedData.hash(first) == TypedData.hash(second)) revert SameDecision();
        second.detail = detail;
    }

    function _checkDistinct(address[] memory signers, bytes32[] memory keys) private pure {
        for (uint256 i = 0; i < signers.length; ++i) {
            if (signers[i] == address(0) || keys[i] == 0) revert BadMember(i, signers[i], keys[i]);
            for (uint256 j = 0; j < i; ++j) {
                if (signers[i] == signers[j] || keys[i] == keys[j]) revert BadMember(i, signers[i], keys[i]);
            }
        }
    }

    function _membersHash(address[] memory signers, bytes32 keysDigest, uint16 removed)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(signers, keysDigest, removed));
    }

    function _popCount(uint16 bits) private pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }
}
