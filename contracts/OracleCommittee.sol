// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IMarket} from "./interfaces/IMarket.sol";
import {IOracleCommittee} from "./interfaces/IOracleCommittee.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Epoch, MAX_MEMBERS, Members, SignedDecision} from "./types/Committees.sol";
import {Decision} from "./types/Jobs.sol";

/// @title The committee of key oracle nodes
/// @dev Documented in IOracleCommittee.
contract OracleCommittee is IOracleCommittee {
    /// @inheritdoc IOracleCommittee
    address public immutable owner;
    /// @inheritdoc IOracleCommittee
    address public immutable market;
    /// @inheritdoc IOracleCommittee
    uint40 public immutable delay;

    /// @inheritdoc IOracleCommittee
    uint32 public latestEpoch;

    mapping(uint32 number => Epoch epoch) private _epochs;

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
    function removeEquivocator(
        uint32 epoch,
        Members calldata members,
        uint8 index,
        SignedDecision calldata first,
        SignedDecision calldata second
    ) external {
        Epoch memory current = epochOf(epoch);
        uint184 membersHash = _membersHash(members.signers, members.keysDigest);
        if (membersHash != current.membersHash) revert WrongMembers(epoch, membersHash, current.membersHash);
        if (index >= current.members || current.removed & (uint256(1) << index) != 0) {
            revert NotAMember(epoch, index);
        }
        _checkEquivocation(epoch, first.decision, second.decision);
        _checkSigner(members.signers[index], first);
        _checkSigner(members.signers[index], second);
        uint16 removed = current.removed | (uint16(1) << index);
        uint256 remaining = current.members - _popCount(removed);
        if (remaining < current.threshold) revert TooFewWouldRemain(remaining, current.threshold);

        _epochs[epoch].removed = removed;

        emit EquivocatorRemoved(epoch, index, members.signers[index], first.decision.jobId);
        IMarket(market).noteRemoved(epoch, removed);
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
            membersHash: _membersHash(signers, keccak256(abi.encodePacked(hpkeKeyHashes))),
            activeAt: activeAt,
            members: uint8(count),
            threshold: threshold,
            removed: 0
        });

        emit EpochAnnounced(epoch, signers, hpkeKeyHashes, threshold, activeAt);
    }

    function _checkSigner(address expected, SignedDecision calldata signed) private view {
        bytes32 digest = TypedData.toDigest(TypedData.domainSeparator(market), TypedData.hash(signed.decision));
        address got = Signatures.recover(digest, signed.r, signed.vs);
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

    function _membersHash(address[] memory signers, bytes32 keysDigest) private pure returns (uint184) {
        return uint184(uint256(keccak256(abi.encode(signers, keysDigest))));
    }

    function _popCount(uint16 bits) private pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }
}
