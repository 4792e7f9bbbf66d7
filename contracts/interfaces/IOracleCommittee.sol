// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Epoch, Members, SignedDecision, SignedRelease, SignedStop} from "../types/Committees.sol";

/// @title Epochs of key oracle nodes
/// @notice Each epoch is one committee of n nodes with threshold t, fixed for good once announced. Epochs count from
/// 1. A job keeps the epoch that its assets' shares were made for. An epoch may end: the market then makes no job of it
/// that could outlast the end. Jobs that were matched before keep their committee until they end.
/// @dev Trust: fewer than t nodes of an epoch are corrupt. The committee owner can only announce epochs, visible for
/// `delay` seconds before they count, and used only by assets whose owners made shares for them or agreed to follow;
/// and announce the end of one, `notice` seconds or more ahead, once for each epoch and for good.
/// Liveness only: t nodes answer; the owner's key is not lost (no new epochs otherwise) and not stolen (all epochs
/// could end otherwise, and owners move their shares to a new one within the notice).
interface IOracleCommittee {
    /// @notice A new epoch was announced; `hpkeKeyHashes[i]` is the key to which shares of member i are sealed.
    event EpochAnnounced(
        uint32 indexed epoch, address[] signers, bytes32[] hpkeKeyHashes, uint8 threshold, uint40 activeAt
    );
    /// @notice An epoch ends: no job is matched from now on whose last window would close after `endsAt`.
    event EpochEndAnnounced(uint32 indexed epoch, uint40 endsAt);
    /// @notice A member was proven to have signed two different decisions on the same evidence, or a release and the
    /// promise never to release.
    event EquivocatorRemoved(uint32 indexed epoch, uint8 index, address indexed signer, bytes32 jobId);
    /// @notice The hash of a statement about platforms is on chain, for the first time.
    event AdvisoryAnchored(bytes32 indexed statement, uint40 anchoredAt);

    /// @notice The caller may neither announce nor end epochs.
    error OnlyCommitteeOwner(address got, address expected);
    /// @notice A committee has 1 to `most` members.
    error BadCommitteeSize(uint256 got, uint256 most);
    /// @notice One HPKE key hash per signer.
    error KeyCountMismatch(uint256 got, uint256 expected);
    /// @notice The threshold is 1 to the number of members.
    error BadThreshold(uint8 got, uint256 members);
    /// @notice A signer or key hash is zero or occurs twice; `index` is that of the second occurrence.
    error BadMember(uint256 index, address signer, bytes32 hpkeKeyHash);
    /// @notice The epoch's end is announced already; it can be neither moved nor taken back.
    error EndAnnounced(uint32 epoch, uint40 endsAt);
    /// @notice An end lies at least `notice` ahead, and at most two years further.
    error BadEnd(uint40 got, uint256 least, uint256 most);
    /// @notice No such epoch.
    error UnknownEpoch(uint32 epoch);
    /// @notice The list does not hash to the epoch's committee.
    error WrongMembers(uint32 epoch, bytes32 got, bytes32 expected);
    /// @notice There is no member with this index, or it was removed.
    error NotAMember(uint32 epoch, uint8 index);
    /// @notice The two decisions are not about the same job, evidence and epoch.
    error DifferentSubjects();
    /// @notice The two decisions have the same core: that is no equivocation.
    error SameDecision();
    /// @notice The signature is not that member's.
    error WrongSigner(address got, address expected);
    /// @notice Another removal would leave fewer members than the threshold.
    error TooFewWouldRemain(uint256 remaining, uint8 threshold);
    /// @notice The hash was anchored before; the first anchoring counts.
    error AlreadyAnchored(bytes32 statement, uint40 anchoredAt);

    /// @notice Announce the next epoch; it counts after `delay`. Committee owner only.
    /// @param signers Signing addresses; the position is the member's index (its share has index + 1).
    /// @param hpkeKeyHashes keccak256 of each member's HPKE public key bytes.
    function announce(address[] calldata signers, bytes32[] calldata hpkeKeyHashes, uint8 threshold)
        external
        returns (uint32 epoch);

    /// @notice Announce the last second of an epoch, once and for good. Committee owner only.
    /// @dev At least `notice` ahead. The market is notified in the same transaction. Nothing else changes: decisions,
    /// stops, answers and fees of jobs under way count as before, also after the end.
    function end(uint32 epoch, uint40 endsAt) external;

    /// @notice Remove a member by two decisions that it signed on one (job, evidence hash, epoch) with different
    /// cores. Anyone; never below the threshold. The quorum sizes stay those of the whole committee.
    function removeEquivocator(
        uint32 epoch,
        Members calldata members,
        uint8 index,
        SignedDecision calldata first,
        SignedDecision calldata second
    ) external;

    /// @notice Remove a member by its release for a (job, evidence hash, epoch) and its promise never to release for
    /// it. As `removeEquivocator`.
    function removeForBrokenPromise(
        uint32 epoch,
        Members calldata members,
        uint8 index,
        SignedStop calldata promised,
        SignedRelease calldata sent
    ) external;

    /// @notice Note that a hash exists, once and for good. Anyone, for any hash.
    /// @dev It has no effect on chain, and moves no money. A node looks up the hashes of signed statements that its
    /// operator applies, and no others: such a statement counts for jobs that are matched after it was anchored.
    /// Trust: none in the caller. A stranger that anchors a hash can only make a statement that exists count sooner.
    /// @param statement keccak256 of the canonical statement (docs/spec/oracle-operation.md).
    function anchorAdvisory(bytes32 statement) external;

    /// @notice The time of the block in which a hash was first anchored; 0 for one that was not.
    function advisoryAnchoredAt(bytes32 statement) external view returns (uint40);

    /// @notice The record of an epoch; reverts with UnknownEpoch if there is none.
    function epochOf(uint32 epoch) external view returns (Epoch memory);

    /// @notice The newest announced epoch, active or not.
    function latestEpoch() external view returns (uint32);

    /// @notice The market whose decisions these nodes sign.
    function market() external view returns (address);

    /// @notice Seconds for which an end is visible before it comes, at least: twice `delay`, so that an epoch that is
    /// announced in answer counts, and as long again remains for moving shares to it.
    function notice() external view returns (uint256);

    /// @notice Who may announce and end epochs.
    function owner() external view returns (address);

    /// @notice Seconds between the announcement of an epoch and its first use.
    function delay() external view returns (uint40);
}
