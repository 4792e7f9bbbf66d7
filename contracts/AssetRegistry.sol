// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {Counterparts} from "./libraries/Counterparts.sol";
import {AssetClaim, Reservation, Seal, Terms, VersionState} from "./types/Assets.sol";
import {Grade} from "./types/Jobs.sol";
import {AssetLimit} from "./types/Orders.sol";

/// @title The asset registry
/// @dev Documented in IAssetRegistry.
contract AssetRegistry is IAssetRegistry {
    bytes32 private constant ASSET_DOMAIN = keccak256("sealmarket/asset/1");

    /// Whether a version may be used, and by whom; so that the consumer set is read only where there is one.
    enum Access {
        Open,
        Restricted,
        Revoked
    }

    /// Five storage slots when any consumer is allowed; a match reads or writes each slot as a whole.
    struct Version {
        // Owner, and what decides whether a job may still be accepted.
        address owner;
        uint40 expiry;
        uint32 purposes;
        uint16 strictVersion;
        Access access;
        // Price.
        address token;
        uint88 price;
        uint8 minGrade;
        // The meter: uses and micro-epsilon, and what jobs have taken of them; and the rules of new matches.
        uint32 maxUses;
        uint32 usesTaken;
        uint40 budget;
        uint40 budgetTaken;
        uint32 perJobCap;
        uint16 epoch;
        uint16 termsVersion;
        uint32 maxHold;
        uint8 timeoutShare;
        bool suspended;
        // Roots.
        bytes32 sealHash;
        bytes32 allowRoot;
        bytes32 consumerRoot;
    }

    /// @inheritdoc IAssetRegistry
    address public immutable market;

    mapping(bytes32 versionKey => Version version) private _versions;

    modifier onlyMarket() {
        if (msg.sender != market) revert OnlyMarket(msg.sender, market);
        _;
    }

    constructor(address market_) {
        market = market_;
    }

    /// @inheritdoc IAssetRegistry
    function publish(bytes32 salt, Seal calldata seal, Terms calldata terms, string calldata location)
        external
        returns (bytes32 assetId)
    {
        assetId = assetIdOf(msg.sender, salt);
        _record(assetId, 1, seal, terms);
        emit VersionPublished(assetId, msg.sender, 1, seal, terms, location);
    }

    /// @inheritdoc IAssetRegistry
    function addVersion(
        bytes32 assetId,
        uint32 version,
        Seal calldata seal,
        Terms calldata terms,
        string calldata location
    ) external {
        if (version <= 1) revert UnknownVersion(assetId, 0);
        _ownVersion(assetId, version - 1);
        _record(assetId, version, seal, terms);
        emit VersionPublished(assetId, msg.sender, version, seal, terms, location);
    }

    /// @inheritdoc IAssetRegistry
    function tighten(bytes32 assetId, uint32 version, Terms calldata terms) external {
        Version storage current = _ownVersion(assetId, version);
        if (current.access == Access.Revoked) revert Revoked(assetId, version);
        _checkComplete(terms);
        _checkTighter(current, terms);
        if (_same(current, terms)) revert NothingTightened(assetId, version);

        uint16 termsVersion = current.termsVersion + 1;
        current.termsVersion = termsVersion;
        bool strict = terms.allowRoot != current.allowRoot || terms.consumerRoot != current.consumerRoot
            || terms.purposes != current.purposes;
        if (strict) current.strictVersion = termsVersion;
        _setTerms(current, terms);

        emit TermsTightened(assetId, version, termsVersion, terms);
    }

    /// @inheritdoc IAssetRegistry
    function replaceAllowList(bytes32 assetId, uint32 version, bytes32 allowRoot) external {
        Version storage current = _ownVersion(assetId, version);
        if (current.access == Access.Revoked) revert Revoked(assetId, version);
        if (allowRoot == 0) revert FieldMissing("allowRoot");
        if (allowRoot == current.allowRoot) revert NothingTightened(assetId, version);

        uint16 termsVersion = current.termsVersion + 1;
        current.termsVersion = termsVersion;
        current.strictVersion = termsVersion;
        current.allowRoot = allowRoot;

        emit AllowListReplaced(assetId, version, termsVersion, allowRoot);
    }

    /// @inheritdoc IAssetRegistry
    function revoke(bytes32 assetId, uint32 version) external {
        Version storage current = _ownVersion(assetId, version);
        if (current.access == Access.Revoked) revert Revoked(assetId, version);

        current.access = Access.Revoked;

        emit VersionRevoked(assetId, version);
    }

    /// @inheritdoc IAssetRegistry
    function reserve(
        AssetLimit calldata limit,
        address consumer,
        address token,
        uint32 purpose,
        bytes32[] calldata proof
    ) external onlyMarket returns (Reservation memory) {
        Version storage version = _versions[_versionKey(limit.assetId, limit.version)];
        _checkMatchable(version, limit, token, purpose);
        bytes32 root = version.access == Access.Restricted ? version.consumerRoot : bytes32(0);
        if (!Counterparts.includes(root, consumer, proof)) revert ConsumerNotAllowed(limit.assetId, consumer, root);
        _take(version, limit);

        return Reservation({
            owner: version.owner,
            sealHash: version.sealHash,
            price: version.price,
            minGrade: version.minGrade,
            epoch: version.epoch,
            maxHold: version.maxHold,
            timeoutShare: version.timeoutShare
        });
    }

    /// @inheritdoc IAssetRegistry
    function release(AssetClaim[] calldata claims) external onlyMarket {
        for (uint256 i = 0; i < claims.length; ++i) {
            AssetClaim calldata claim = claims[i];
            Version storage version = _versions[_versionKey(claim.assetId, claim.version)];
            version.usesTaken -= 1;
            version.budgetTaken -= uint40(claim.epsilon);
        }
    }

    /// @inheritdoc IAssetRegistry
    function suspend(bytes32 assetId, uint32 version, bytes32 jobId) external onlyMarket {
        _versions[_versionKey(assetId, version)].suspended = true;
        emit VersionSuspended(assetId, version, jobId);
    }

    /// @inheritdoc IAssetRegistry
    function lift(bytes32 assetId, uint32 version, address by) external onlyMarket returns (uint32, address) {
        Version storage found = _versions[_versionKey(assetId, version)];
        if (found.owner != by) revert NotOwner(assetId, by, found.owner);
        if (!found.suspended) revert NotSuspended(assetId, version);
        found.suspended = false;
        emit SuspensionLifted(assetId, version);
        return (found.epoch, found.token);
    }

    /// @inheritdoc IAssetRegistry
    function stand(AssetClaim[] calldata claims, uint8 grade) external view returns (bool) {
        for (uint256 i = 0; i < claims.length; ++i) {
            AssetClaim calldata claim = claims[i];
            Version storage version = _versions[_versionKey(claim.assetId, claim.version)];
            bool stands = version.strictVersion <= claim.termsVersion && version.access != Access.Revoked
                && block.timestamp <= version.expiry && version.minGrade <= grade;
            if (!stands) return false;
        }
        return true;
    }

    /// @inheritdoc IAssetRegistry
    function versionOf(bytes32 assetId, uint32 version) external view returns (VersionState memory) {
        Version memory v = _versions[_versionKey(assetId, version)];
        Terms memory terms = Terms({
            token: v.token,
            price: v.price,
            expiry: v.expiry,
            maxUses: v.maxUses,
            purposes: v.purposes,
            minGrade: v.minGrade,
            budget: v.budget,
            perJobCap: v.perJobCap,
            allowRoot: v.allowRoot,
            consumerRoot: v.consumerRoot,
            maxHold: v.maxHold,
            timeoutShare: v.timeoutShare
        });
        return VersionState({
            owner: v.owner,
            sealHash: v.sealHash,
            epoch: v.epoch,
            termsVersion: v.termsVersion,
            revoked: v.access == Access.Revoked,
            suspended: v.suspended,
            strictVersion: v.strictVersion,
            usesTaken: v.usesTaken,
            budgetTaken: v.budgetTaken,
            terms: terms
        });
    }

    /// @inheritdoc IAssetRegistry
    function assetIdOf(address creator, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(ASSET_DOMAIN, block.chainid, address(this), creator, salt));
    }

    function _record(bytes32 assetId, uint32 number, Seal calldata seal, Terms calldata terms) private {
        Version storage version = _versions[_versionKey(assetId, number)];
        if (version.owner != address(0)) revert VersionExists(assetId, number);
        if (seal.contentRoot == 0) revert FieldMissing("contentRoot");
        if (seal.shareRoot == 0) revert FieldMissing("shareRoot");
        if (seal.policyHash == 0) revert FieldMissing("policyHash");
        if (seal.contentVersion == 0 || seal.contentVersion > number) {
            revert BadContentVersion(assetId, seal.contentVersion, number);
        }
        if (seal.epoch == 0 || seal.epoch > type(uint16).max) revert BadEpoch(seal.epoch, type(uint16).max);
        _checkComplete(terms);

        version.owner = msg.sender;
        (version.termsVersion, version.strictVersion) = (1, 1);
        version.sealHash =
            keccak256(abi.encode(seal.contentRoot, seal.contentVersion, seal.shareRoot, seal.policyHash));
        version.epoch = uint16(seal.epoch);
        version.token = terms.token;
        _setTerms(version, terms);
    }

    function _setTerms(Version storage version, Terms calldata terms) private {
        version.expiry = terms.expiry;
        version.purposes = terms.purposes;
        version.price = terms.price;
        version.minGrade = terms.minGrade;
        version.maxUses = terms.maxUses;
        version.budget = terms.budget;
        version.perJobCap = terms.perJobCap;
        version.maxHold = terms.maxHold;
        version.timeoutShare = terms.timeoutShare;
        version.allowRoot = terms.allowRoot;
        if (terms.consumerRoot != 0) {
            version.access = Access.Restricted;
            version.consumerRoot = terms.consumerRoot;
        }
    }

    function _take(Version storage version, AssetLimit calldata limit) private {
        (uint32 usesTaken, uint32 maxUses) = (version.usesTaken, version.maxUses);
        if (usesTaken >= maxUses) revert UsesExhausted(limit.assetId, usesTaken, maxUses);
        (uint64 epsilon, uint32 perJobCap) = (limit.epsilon, version.perJobCap);
        if (epsilon > perJobCap) revert JobBudgetTooHigh(limit.assetId, epsilon, perJobCap);
        uint256 budgetTaken = uint256(version.budgetTaken) + epsilon;
        if (budgetTaken > version.budget) revert BudgetExhausted(limit.assetId, budgetTaken, version.budget);

        version.usesTaken = usesTaken + 1;
        version.budgetTaken = uint40(budgetTaken);
    }

    function _ownVersion(bytes32 assetId, uint32 version) private view returns (Version storage own) {
        own = _versions[_versionKey(assetId, version)];
        if (own.owner != msg.sender) revert NotOwner(assetId, msg.sender, own.owner);
    }

    function _checkMatchable(Version storage version, AssetLimit calldata limit, address token, uint32 purpose)
        private
        view
    {
        if (version.owner == address(0)) revert UnknownVersion(limit.assetId, limit.version);
        if (version.access == Access.Revoked) revert Revoked(limit.assetId, limit.version);
        if (version.suspended) revert Suspended(limit.assetId, limit.version);
        if (block.timestamp > version.expiry) revert TermsExpired(limit.assetId, block.timestamp, version.expiry);
        if (limit.termsVersion != version.termsVersion) {
            revert TermsVersionChanged(limit.assetId, limit.termsVersion, version.termsVersion);
        }
        if (purpose == 0 || purpose & ~version.purposes != 0) {
            revert PurposeNotAllowed(limit.assetId, purpose, version.purposes);
        }
        if (token != version.token) revert AssetTokenMismatch(limit.assetId, token, version.token);
    }

    function _checkTighter(Version storage current, Terms calldata terms) private view {
        if (terms.token != current.token) revert LooserTerms("token", uint160(terms.token), uint160(current.token));
        if (terms.price < current.price) revert LooserTerms("price", terms.price, current.price);
        if (terms.expiry > current.expiry) revert LooserTerms("expiry", terms.expiry, current.expiry);
        if (terms.maxUses > current.maxUses) revert LooserTerms("maxUses", terms.maxUses, current.maxUses);
        if (terms.purposes & ~current.purposes != 0) revert LooserTerms("purposes", terms.purposes, current.purposes);
        if (terms.minGrade < current.minGrade) revert LooserTerms("minGrade", terms.minGrade, current.minGrade);
        if (terms.budget > current.budget) revert LooserTerms("budget", terms.budget, current.budget);
        if (terms.perJobCap > current.perJobCap) revert LooserTerms("perJobCap", terms.perJobCap, current.perJobCap);
        if (terms.maxHold > current.maxHold) revert LooserTerms("maxHold", terms.maxHold, current.maxHold);
        if (terms.timeoutShare < current.timeoutShare) {
            revert LooserTerms("timeoutShare", terms.timeoutShare, current.timeoutShare);
        }
        if (terms.consumerRoot == 0 && current.consumerRoot != 0) {
            revert LooserTerms("consumerRoot", 0, uint256(current.consumerRoot));
        }
    }

    /// Whether the terms are those in force, the token aside, which cannot change.
    function _same(Version storage current, Terms calldata terms) private view returns (bool) {
        return terms.price == current.price && terms.expiry == current.expiry && terms.maxUses == current.maxUses
            && terms.purposes == current.purposes && terms.minGrade == current.minGrade
            && terms.budget == current.budget && terms.perJobCap == current.perJobCap
            && terms.maxHold == current.maxHold && terms.timeoutShare == current.timeoutShare
            && terms.allowRoot == current.allowRoot
            && terms.consumerRoot == current.consumerRoot;
    }

    /// An absent field is a refusal, never a pass.
    function _checkComplete(Terms calldata terms) private pure {
        if (terms.expiry == 0) revert FieldMissing("expiry");
        if (terms.maxUses == 0) revert FieldMissing("maxUses");
        if (terms.purposes == 0) revert FieldMissing("purposes");
        if (terms.allowRoot == 0) revert FieldMissing("allowRoot");
        if (terms.maxHold == 0) revert FieldMissing("maxHold");
        if (terms.timeoutShare > 100) revert NotAPercentage("timeoutShare", terms.timeoutShare);
        uint8 highest = uint8(type(Grade).max);
        if (terms.minGrade == 0 || terms.minGrade > highest) revert UnknownGrade(terms.minGrade, highest);
    }

    function _versionKey(bytes32 assetId, uint32 version) private pure returns (bytes32) {
        return keccak256(abi.encode(assetId, version));
    }
}
