// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {Counterparts} from "./libraries/Counterparts.sol";
import {Meter, Meters} from "./libraries/Meters.sol";
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

    /// What decides whether a job may still be accepted.
    struct Rules {
        address owner;
        uint40 expiry;
        uint32 purposes;
        uint16 strictVersion;
        Access access;
    }

    struct Price {
        address token;
        uint88 amount;
        uint8 minGrade;
    }

    /// Rules, price and meter are one slot each. Five slots are used when any consumer is allowed.
    struct Version {
        Rules rules;
        Price price;
        Meter meter;
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
        if (current.rules.access == Access.Revoked) revert Revoked(assetId, version);
        _checkComplete(terms);
        Terms memory inForce = _termsOf(current);
        _checkTighter(inForce, terms);
        if (keccak256(abi.encode(inForce)) == keccak256(abi.encode(terms))) {
            revert NothingTightened(assetId, version);
        }

        uint16 termsVersion = current.meter.termsVersion() + 1;
        bool strict = terms.allowRoot != inForce.allowRoot || terms.consumerRoot != inForce.consumerRoot
            || terms.purposes != inForce.purposes || terms.minGrade != inForce.minGrade;
        if (strict) current.rules.strictVersion = termsVersion;
        _setTerms(current, terms, termsVersion);

        emit TermsTightened(assetId, version, termsVersion, terms);
    }

    /// @inheritdoc IAssetRegistry
    function replaceAllowList(bytes32 assetId, uint32 version, bytes32 allowRoot) external {
        Version storage current = _ownVersion(assetId, version);
        if (current.rules.access == Access.Revoked) revert Revoked(assetId, version);
        if (allowRoot == 0) revert FieldMissing("allowRoot");
        if (allowRoot == current.allowRoot) revert NothingTightened(assetId, version);

        uint16 termsVersion = current.meter.termsVersion() + 1;
        current.meter = current.meter.renumbered(termsVersion);
        current.rules.strictVersion = termsVersion;
        current.allowRoot = allowRoot;

        emit AllowListReplaced(assetId, version, termsVersion, allowRoot);
    }

    /// @inheritdoc IAssetRegistry
    function revoke(bytes32 assetId, uint32 version) external {
        Version storage current = _ownVersion(assetId, version);
        if (current.rules.access == Access.Revoked) revert Revoked(assetId, version);

        current.rules.access = Access.Revoked;

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
        Rules storage rules = version.rules;
        Price storage price = version.price;
        Meter meter = version.meter;
        _checkMatchable(rules, price, meter, limit, token, purpose);
        bytes32 root = rules.access == Access.Restricted ? version.consumerRoot : bytes32(0);
        if (!Counterparts.includes(root, consumer, proof)) revert ConsumerNotAllowed(limit.assetId, consumer, root);
        _checkLeft(meter, limit);
        version.meter = meter.taking(limit.epsilon);

        return Reservation({
            owner: rules.owner,
            sealHash: version.sealHash,
            price: price.amount,
            minGrade: price.minGrade,
            epoch: meter.epoch(),
            maxHold: meter.maxHold(),
            timeoutShare: meter.timeoutShare()
        });
    }

    /// @inheritdoc IAssetRegistry
    function release(AssetClaim[] calldata claims) external onlyMarket {
        for (uint256 i = 0; i < claims.length; ++i) {
            AssetClaim calldata claim = claims[i];
            Version storage version = _versions[_versionKey(claim.assetId, claim.version)];
            version.meter = version.meter.returning(claim.epsilon);
        }
    }

    /// @inheritdoc IAssetRegistry
    function suspend(bytes32 assetId, uint32 version, bytes32 jobId) external onlyMarket {
        Version storage found = _versions[_versionKey(assetId, version)];
        found.meter = found.meter.withSuspended(true);
        emit VersionSuspended(assetId, version, jobId);
    }

    /// @inheritdoc IAssetRegistry
    function lift(bytes32 assetId, uint32 version, address by) external onlyMarket returns (uint32, address) {
        Version storage found = _versions[_versionKey(assetId, version)];
        if (found.rules.owner != by) revert NotOwner(assetId, by, found.rules.owner);
        if (!found.meter.suspended()) revert NotSuspended(assetId, version);
        found.meter = found.meter.withSuspended(false);
        emit SuspensionLifted(assetId, version);
        return (found.meter.epoch(), found.price.token);
    }

    /// @inheritdoc IAssetRegistry
    function stand(AssetClaim[] calldata claims) external view returns (bool) {
        for (uint256 i = 0; i < claims.length; ++i) {
            AssetClaim calldata claim = claims[i];
            Rules storage rules = _versions[_versionKey(claim.assetId, claim.version)].rules;
            bool stands = rules.strictVersion <= claim.termsVersion && rules.access != Access.Revoked
                && block.timestamp <= rules.expiry;
            if (!stands) return false;
        }
        return true;
    }

    /// @inheritdoc IAssetRegistry
    function admits(bytes32 assetId, uint32 version, uint32 purpose, address account, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        Version storage found = _versions[_versionKey(assetId, version)];
        Rules storage rules = found.rules;
        if (rules.access == Access.Revoked || block.timestamp > rules.expiry) return false;
        bytes32 root = rules.access == Access.Restricted ? found.consumerRoot : bytes32(0);
        return purpose & ~rules.purposes == 0 && Counterparts.includes(root, account, proof);
    }

    /// @inheritdoc IAssetRegistry
    function versionOf(bytes32 assetId, uint32 version) external view returns (VersionState memory) {
        Version storage found = _versions[_versionKey(assetId, version)];
        Rules storage rules = found.rules;
        Meter meter = found.meter;
        return VersionState({
            owner: rules.owner,
            sealHash: found.sealHash,
            epoch: meter.epoch(),
            termsVersion: meter.termsVersion(),
            revoked: rules.access == Access.Revoked,
            suspended: meter.suspended(),
            strictVersion: rules.strictVersion,
            usesTaken: meter.usesTaken(),
            budgetTaken: meter.budgetTaken(),
            terms: _termsOf(found)
        });
    }

    /// @inheritdoc IAssetRegistry
    function assetIdOf(address creator, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(ASSET_DOMAIN, block.chainid, address(this), creator, salt));
    }

    function _record(bytes32 assetId, uint32 number, Seal calldata seal, Terms calldata terms) private {
        Version storage version = _versions[_versionKey(assetId, number)];
        if (version.rules.owner != address(0)) revert VersionExists(assetId, number);
        _checkSeal(assetId, number, seal);
        _checkComplete(terms);

        (version.rules.owner, version.rules.strictVersion) = (msg.sender, 1);
        version.meter = Meters.ofEpoch(uint16(seal.epoch));
        version.sealHash =
            keccak256(abi.encode(seal.contentRoot, seal.contentVersion, seal.shareRoot, seal.policyHash));
        version.price.token = terms.token;
        _setTerms(version, terms, 1);
    }

    function _setTerms(Version storage version, Terms calldata terms, uint16 termsVersion) private {
        (version.rules.expiry, version.rules.purposes) = (terms.expiry, terms.purposes);
        (version.price.amount, version.price.minGrade) = (terms.price, terms.minGrade);
        version.meter = version.meter.under(
            terms.maxUses, terms.budget, terms.perJobCap, terms.maxHold, terms.timeoutShare, termsVersion
        );
        version.allowRoot = terms.allowRoot;
        if (terms.consumerRoot != 0) {
            version.rules.access = Access.Restricted;
            version.consumerRoot = terms.consumerRoot;
        }
    }

    function _ownVersion(bytes32 assetId, uint32 version) private view returns (Version storage own) {
        own = _versions[_versionKey(assetId, version)];
        if (own.rules.owner != msg.sender) revert NotOwner(assetId, msg.sender, own.rules.owner);
    }

    function _termsOf(Version storage version) private view returns (Terms memory) {
        Rules storage rules = version.rules;
        Price storage price = version.price;
        Meter meter = version.meter;
        return Terms({
            token: price.token,
            price: price.amount,
            expiry: rules.expiry,
            maxUses: meter.maxUses(),
            purposes: rules.purposes,
            minGrade: price.minGrade,
            budget: meter.budget(),
            perJobCap: meter.perJobCap(),
            allowRoot: version.allowRoot,
            consumerRoot: version.consumerRoot,
            maxHold: meter.maxHold(),
            timeoutShare: meter.timeoutShare()
        });
    }

    function _checkMatchable(
        Rules storage rules,
        Price storage price,
        Meter meter,
        AssetLimit calldata limit,
        address token,
        uint32 purpose
    ) private view {
        bytes32 assetId = limit.assetId;
        if (rules.owner == address(0)) revert UnknownVersion(assetId, limit.version);
        if (rules.access == Access.Revoked) revert Revoked(assetId, limit.version);
        if (meter.suspended()) revert Suspended(assetId, limit.version);
        if (block.timestamp > rules.expiry) revert TermsExpired(assetId, block.timestamp, rules.expiry);
        if (limit.termsVersion != meter.termsVersion()) {
            revert TermsVersionChanged(assetId, limit.termsVersion, meter.termsVersion());
        }
        if (purpose == 0 || purpose & ~rules.purposes != 0) {
            revert PurposeNotAllowed(assetId, purpose, rules.purposes);
        }
        if (token != price.token) revert AssetTokenMismatch(assetId, token, price.token);
    }

    /// Check that a use and the request's part of the budget are left.
    function _checkLeft(Meter meter, AssetLimit calldata limit) private pure {
        bytes32 assetId = limit.assetId;
        if (meter.usesTaken() >= meter.maxUses()) revert UsesExhausted(assetId, meter.usesTaken(), meter.maxUses());
        (uint64 epsilon, uint32 perJobCap) = (limit.epsilon, meter.perJobCap());
        if (epsilon > perJobCap) revert JobBudgetTooHigh(assetId, epsilon, perJobCap);
        uint256 budgetTaken = uint256(meter.budgetTaken()) + epsilon;
        if (budgetTaken > meter.budget()) revert BudgetExhausted(assetId, budgetTaken, meter.budget());
    }

    function _checkTighter(Terms memory current, Terms calldata terms) private pure {
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

    function _checkSeal(bytes32 assetId, uint32 number, Seal calldata seal) private pure {
        if (seal.contentRoot == 0) revert FieldMissing("contentRoot");
        if (seal.shareRoot == 0) revert FieldMissing("shareRoot");
        if (seal.policyHash == 0) revert FieldMissing("policyHash");
        if (seal.contentVersion == 0 || seal.contentVersion > number) {
            revert BadContentVersion(assetId, seal.contentVersion, number);
        }
        if (seal.epoch == 0 || seal.epoch > type(uint16).max) revert BadEpoch(seal.epoch, type(uint16).max);
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
