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

    /// Five words when published for anyone: each slot is one that a match reads or writes as a whole.
    struct Version {
        // Owner and the rules that stand or fall together.
        address owner;
        uint40 expiry;
        uint32 purposes;
        uint16 termsVersion;
        Access access;
        // Price.
        address token;
        uint88 price;
        uint8 minGrade;
        // The meter: uses and micro-epsilon.
        uint32 maxUses;
        uint32 usesConsumed;
        uint16 usesReserved;
        uint40 budget;
        uint40 budgetSpent;
        uint40 budgetReserved;
        uint32 perJobCap;
        uint16 epoch;
        bool followsCommittees;
        // Roots.
        bytes32 sealHash;
        bytes32 allowRoot;
        bytes32 consumerRoot;
    }

    /// @inheritdoc IAssetRegistry
    address public immutable market;

    mapping(bytes32 versionKey => Version version) private _versions;

    modifier onlyMarket() {
        require(msg.sender == market, OnlyMarket(msg.sender, market));
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
        require(version > 1, UnknownVersion(assetId, 0));
        _ownVersion(assetId, version - 1);
        _record(assetId, version, seal, terms);
        emit VersionPublished(assetId, msg.sender, version, seal, terms, location);
    }

    /// @inheritdoc IAssetRegistry
    function tighten(bytes32 assetId, uint32 version, Terms calldata terms) external {
        Version storage current = _ownVersion(assetId, version);
        require(current.access != Access.Revoked, Revoked(assetId, version));
        _checkComplete(terms);
        _checkTighter(current, terms);

        uint16 termsVersion = current.termsVersion + 1;
        current.termsVersion = termsVersion;
        _setTerms(current, terms);

        emit TermsTightened(assetId, version, termsVersion, terms);
    }

    /// @inheritdoc IAssetRegistry
    function replaceAllowList(bytes32 assetId, uint32 version, bytes32 allowRoot) external {
        Version storage current = _ownVersion(assetId, version);
        require(current.access != Access.Revoked, Revoked(assetId, version));
        require(allowRoot != 0, FieldMissing("allowRoot"));

        uint16 termsVersion = current.termsVersion + 1;
        current.termsVersion = termsVersion;
        current.allowRoot = allowRoot;

        emit AllowListReplaced(assetId, version, termsVersion, allowRoot);
    }

    /// @inheritdoc IAssetRegistry
    function revoke(bytes32 assetId, uint32 version) external {
        Version storage current = _ownVersion(assetId, version);
        require(current.access != Access.Revoked, Revoked(assetId, version));

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
        require(
            Counterparts.includes(root, consumer, proof), ConsumerNotAllowed(limit.assetId, consumer, root)
        );
        _takeReservation(version, limit);

        return Reservation({
            owner: version.owner,
            sealHash: version.sealHash,
            price: version.price,
            minGrade: version.minGrade,
            epoch: version.epoch,
            followsCommittees: version.followsCommittees
        });
    }

    /// @inheritdoc IAssetRegistry
    function consume(AssetClaim[] calldata claims) external onlyMarket returns (bool consumed) {
        consumed = true;
        for (uint256 i = 0; i < claims.length; ++i) {
            consumed = consumed && _stillStands(claims[i]);
        }
        for (uint256 i = 0; i < claims.length; ++i) {
            _dropReservation(claims[i], consumed);
        }
    }

    /// @inheritdoc IAssetRegistry
    function release(AssetClaim[] calldata claims) external onlyMarket {
        for (uint256 i = 0; i < claims.length; ++i) {
            _dropReservation(claims[i], false);
        }
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
            followsCommittees: v.followsCommittees
        });
        return VersionState({
            owner: v.owner,
            sealHash: v.sealHash,
            epoch: v.epoch,
            termsVersion: v.termsVersion,
            revoked: v.access == Access.Revoked,
            usesConsumed: v.usesConsumed,
            usesReserved: v.usesReserved,
            budgetSpent: v.budgetSpent,
            budgetReserved: v.budgetReserved,
            terms: terms
        });
    }

    /// @inheritdoc IAssetRegistry
    function assetIdOf(address creator, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(ASSET_DOMAIN, block.chainid, address(this), creator, salt));
    }

    function _record(bytes32 assetId, uint32 number, Seal calldata seal, Terms calldata terms) private {
        Version storage version = _versions[_versionKey(assetId, number)];
        require(version.owner == address(0), VersionExists(assetId, number));
        require(seal.contentRoot != 0, FieldMissing("contentRoot"));
        require(seal.shareRoot != 0, FieldMissing("shareRoot"));
        require(seal.policyHash != 0, FieldMissing("policyHash"));
        require(seal.epoch != 0 && seal.epoch <= type(uint16).max, BadEpoch(seal.epoch, type(uint16).max));
        _checkComplete(terms);

        version.owner = msg.sender;
        version.termsVersion = 1;
        version.sealHash = keccak256(abi.encode(seal.contentRoot, seal.shareRoot, seal.policyHash));
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
        version.followsCommittees = terms.followsCommittees;
        version.allowRoot = terms.allowRoot;
        if (terms.consumerRoot != 0) {
            version.access = Access.Restricted;
            version.consumerRoot = terms.consumerRoot;
        }
    }

    function _takeReservation(Version storage version, AssetLimit calldata limit) private {
        uint256 taken = uint256(version.usesConsumed) + version.usesReserved;
        require(
            taken < version.maxUses && version.usesReserved < type(uint16).max,
            UsesExhausted(limit.assetId, taken, version.maxUses)
        );
        require(
            limit.epsilon <= version.perJobCap, JobBudgetTooHigh(limit.assetId, limit.epsilon, version.perJobCap)
        );
        uint256 needed = uint256(version.budgetSpent) + version.budgetReserved + limit.epsilon;
        require(needed <= version.budget, BudgetExhausted(limit.assetId, needed, version.budget));

        version.usesReserved += 1;
        version.budgetReserved += uint40(limit.epsilon);
    }

    /// What a job reserved becomes consumed, or is returned. The amounts were bounded when they were reserved.
    function _dropReservation(AssetClaim calldata claim, bool consumed) private {
        Version storage version = _versions[_versionKey(claim.assetId, claim.version)];
        uint40 epsilon = uint40(claim.epsilon);
        version.usesReserved -= 1;
        version.budgetReserved -= epsilon;
        if (consumed) {
            version.usesConsumed += 1;
            version.budgetSpent += epsilon;
        }
    }

    function _ownVersion(bytes32 assetId, uint32 version) private view returns (Version storage own) {
        own = _versions[_versionKey(assetId, version)];
        require(own.owner == msg.sender, NotOwner(assetId, msg.sender, own.owner));
    }

    function _checkMatchable(Version storage version, AssetLimit calldata limit, address token, uint32 purpose)
        private
        view
    {
        require(version.owner != address(0), UnknownVersion(limit.assetId, limit.version));
        require(version.access != Access.Revoked, Revoked(limit.assetId, limit.version));
        require(block.timestamp <= version.expiry, TermsExpired(limit.assetId, block.timestamp, version.expiry));
        require(
            limit.termsVersion == version.termsVersion,
            TermsVersionChanged(limit.assetId, limit.termsVersion, version.termsVersion)
        );
        require(
            purpose != 0 && purpose & ~version.purposes == 0,
            PurposeNotAllowed(limit.assetId, purpose, version.purposes)
        );
        require(token == version.token, AssetTokenMismatch(limit.assetId, token, version.token));
    }

    /// The terms are those that the job was matched under, and still in force.
    function _stillStands(AssetClaim calldata claim) private view returns (bool) {
        Version storage version = _versions[_versionKey(claim.assetId, claim.version)];
        return version.termsVersion == claim.termsVersion && version.access != Access.Revoked
            && block.timestamp <= version.expiry;
    }

    function _checkTighter(Version storage current, Terms calldata terms) private view {
        require(
            terms.token == current.token,
            LooserTerms("token", uint160(terms.token), uint160(current.token))
        );
        require(terms.price >= current.price, LooserTerms("price", terms.price, current.price));
        require(terms.expiry <= current.expiry, LooserTerms("expiry", terms.expiry, current.expiry));
        require(terms.maxUses <= current.maxUses, LooserTerms("maxUses", terms.maxUses, current.maxUses));
        require(
            terms.purposes & ~current.purposes == 0, LooserTerms("purposes", terms.purposes, current.purposes)
        );
        require(terms.minGrade >= current.minGrade, LooserTerms("minGrade", terms.minGrade, current.minGrade));
        require(terms.budget <= current.budget, LooserTerms("budget", terms.budget, current.budget));
        require(terms.perJobCap <= current.perJobCap, LooserTerms("perJobCap", terms.perJobCap, current.perJobCap));
        require(
            current.followsCommittees || !terms.followsCommittees, LooserTerms("followsCommittees", 1, 0)
        );
        require(
            terms.consumerRoot != 0 || current.consumerRoot == 0,
            LooserTerms("consumerRoot", 0, uint256(current.consumerRoot))
        );
    }

    /// An absent field is a refusal, never a pass.
    function _checkComplete(Terms calldata terms) private pure {
        require(terms.expiry != 0, FieldMissing("expiry"));
        require(terms.maxUses != 0, FieldMissing("maxUses"));
        require(terms.purposes != 0, FieldMissing("purposes"));
        require(terms.allowRoot != 0, FieldMissing("allowRoot"));
        uint8 highest = uint8(type(Grade).max);
        require(terms.minGrade != 0 && terms.minGrade <= highest, UnknownGrade(terms.minGrade, highest));
    }

    function _versionKey(bytes32 assetId, uint32 version) private pure returns (bytes32) {
        return keccak256(abi.encode(assetId, version));
    }
}
