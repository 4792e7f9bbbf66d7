// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AssetClaim, Reservation, Seal, Terms, VersionState} from "../types/Assets.sol";
import {AssetLimit} from "../types/Orders.sol";

/// @title Assets, their versions, the terms in force, and what is left of uses and privacy budget
/// @notice Within a version, terms only tighten; loosening is a new version with new shares. What holds for a job is
/// the conjunction of the policy under which the shares were made and the terms recorded here: the market enforces
/// what the chain can check, the oracle nodes the rest (allow-list, policy).
/// @dev Trust: the market named at deployment moves uses and budget and nothing else. Only the owner can change an
/// asset's terms, and no caller can loosen them. No role can transfer, pause or delete an asset.
interface IAssetRegistry {
    /// @notice A version came into force; `location` is a hint where the sealed container may be found.
    event VersionPublished(
        bytes32 indexed assetId, address indexed owner, uint32 indexed version, Seal seal, Terms terms, string location
    );
    /// @notice The terms of a version were replaced by tighter ones.
    event TermsTightened(bytes32 indexed assetId, uint32 indexed version, uint32 termsVersion, Terms terms);
    /// @notice The allow-list of a version was replaced.
    event AllowListReplaced(bytes32 indexed assetId, uint32 version, uint32 termsVersion, bytes32 allowRoot);
    /// @notice No later match, acceptance or release may use this version.
    event VersionRevoked(bytes32 indexed assetId, uint32 indexed version);
    /// @notice The enclave of a job signed that this version does not open or does not read: no new match uses it.
    event VersionSuspended(bytes32 indexed assetId, uint32 indexed version, bytes32 jobId);
    /// @notice The owner lifted the suspension.
    event SuspensionLifted(bytes32 indexed assetId, uint32 indexed version);

    /// @notice The caller is not the market that this registry serves.
    error OnlyMarket(address got, address expected);
    /// @notice No such version.
    error UnknownVersion(bytes32 assetId, uint32 version);
    /// @notice The asset id or version is already taken.
    error VersionExists(bytes32 assetId, uint32 version);
    /// @notice The caller does not own the version (`expected` is 0 when it does not exist).
    error NotOwner(bytes32 assetId, address got, address expected);
    /// @notice A mandatory field of the seal or the terms is absent; `field` is its name.
    error FieldMissing(bytes32 field);
    /// @notice Content is sealed for the version that names it, or for one before.
    error BadContentVersion(bytes32 assetId, uint32 got, uint32 version);
    /// @notice The terms are those in force: a change that is none would cost consumers and change nothing.
    error NothingTightened(bytes32 assetId, uint32 version);
    /// @notice The version is suspended until its owner lifts that.
    error Suspended(bytes32 assetId, uint32 version);
    error NotSuspended(bytes32 assetId, uint32 version);
    /// @notice A share is 0 to 100 percent.
    error NotAPercentage(bytes32 field, uint8 got);
    /// @notice Epochs count from 1.
    error BadEpoch(uint32 got, uint16 highest);
    /// @notice The grade is not one that evidence can have.
    error UnknownGrade(uint8 got, uint8 highest);
    /// @notice Tightening would loosen `field`; publish a new version with new shares instead.
    error LooserTerms(bytes32 field, uint256 got, uint256 inForce);
    /// @notice The version was revoked by its owner.
    error Revoked(bytes32 assetId, uint32 version);
    /// @notice The terms have expired.
    error TermsExpired(bytes32 assetId, uint256 timestamp, uint40 expiry);
    /// @notice The request was signed over other terms than those in force.
    error TermsVersionChanged(bytes32 assetId, uint32 got, uint32 expected);
    /// @notice The asset is priced in another token.
    error AssetTokenMismatch(bytes32 assetId, address got, address expected);
    /// @notice A purpose bit is not allowed, or the request names none.
    error PurposeNotAllowed(bytes32 assetId, uint32 got, uint32 allowed);
    /// @notice The consumer is not in the terms' set.
    error ConsumerNotAllowed(bytes32 assetId, address consumer, bytes32 consumerRoot);
    /// @notice All uses are taken.
    error UsesExhausted(bytes32 assetId, uint256 taken, uint32 maxUses);
    /// @notice The job asks for more of the privacy budget than one job may spend.
    error JobBudgetTooHigh(bytes32 assetId, uint64 got, uint32 perJobCap);
    /// @notice The job asks for more than what is left of the privacy budget.
    error BudgetExhausted(bytes32 assetId, uint256 needed, uint40 budget);

    /// @notice Record a new asset and its version 1; the caller becomes its owner.
    /// @param salt Any value that the creator has not used before.
    /// @param location A hint for readers, kept in the event only; no check depends on it.
    /// @return assetId keccak256(abi.encode(keccak256("sealmarket/asset/1"), chainId, registry, creator, salt)).
    function publish(bytes32 salt, Seal calldata seal, Terms calldata terms, string calldata location)
        external
        returns (bytes32 assetId);

    /// @notice Record the successor of version `version - 1`, with shares and terms of its own, and content of its own
    /// or that of an earlier version (`seal.contentVersion`).
    /// @dev The predecessor stays in force until it expires or is revoked.
    function addVersion(
        bytes32 assetId,
        uint32 version,
        Seal calldata seal,
        Terms calldata terms,
        string calldata location
    ) external;

    /// @notice Replace the terms in force by tighter ones, with effect on every later acceptance and release.
    /// @dev Tighter or equal in each of: price (not lower), expiry, maxUses, purposes, minGrade, budget, perJobCap,
    /// maxHold, timeoutShare (not lower); and different in at least one. Sets may be replaced but not emptied: nodes
    /// hold the conjunction with the policy, so that a superset root admits no new party. The token cannot change.
    function tighten(bytes32 assetId, uint32 version, Terms calldata terms) external;

    /// @notice Replace the root of allowed (measurement, workload) leaves; as `tighten` with that one field.
    function replaceAllowList(bytes32 assetId, uint32 version, bytes32 allowRoot) external;

    /// @notice Stop every later match, acceptance and release of a version, for good.
    function revoke(bytes32 assetId, uint32 version) external;

    /// @notice Take one use and `limit.epsilon` of budget for a job. Acceptance keeps them, `release` gives them back.
    /// Market only.
    /// @param limit What the consumer signed for this asset.
    /// @param consumer Held against the terms' consumer set with `proof`.
    /// @param token The job's token.
    /// @param purpose The request's purpose bits.
    function reserve(
        AssetLimit calldata limit,
        address consumer,
        address token,
        uint32 purpose,
        bytes32[] calldata proof
    ) external returns (Reservation memory);

    /// @notice Give back the uses and budgets of a job. Market only; never fails for claims that the market took.
    function release(AssetClaim[] calldata claims) external;

    /// @notice Stop new matches of a version, by what the enclave of a job signed. Market only.
    function suspend(bytes32 assetId, uint32 version, bytes32 jobId) external;

    /// @notice Allow new matches again. Market only, for the owner `by`, who pays there.
    /// @return epoch Of the version. @return token Of its price.
    function lift(bytes32 assetId, uint32 version, address by) external returns (uint32 epoch, address token);

    /// @notice Whether a job may still be accepted under the terms in force: not revoked, not expired, no root or
    /// purpose replaced and no higher grade demanded since the job's terms version. If not, an acceptance is a refusal.
    /// Price, uses, budget, hold and time-out share concern new matches only.
    function stand(AssetClaim[] calldata claims) external view returns (bool);

    /// @notice Whether the terms in force allow an account: not revoked, not expired, for all of these purposes, and in
    /// the consumer set by `proof`. What a service asks for each tab; nodes check the other terms at each renewal.
    function admits(bytes32 assetId, uint32 version, uint32 purpose, address account, bytes32[] calldata proof)
        external
        view
        returns (bool);

    /// @notice The market that this registry serves.
    function market() external view returns (address);

    /// @notice The asset id that `creator` gets with `salt`.
    function assetIdOf(address creator, bytes32 salt) external view returns (bytes32);

    /// @notice Everything recorded about a version; all zero if there is none.
    function versionOf(bytes32 assetId, uint32 version) external view returns (VersionState memory);
}
