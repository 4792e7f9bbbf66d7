// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice What was sealed: the roots that bind ciphertext, key shares and policy to one asset version.
struct Seal {
    /// BLAKE3 Merkle root over the ciphertext chunks.
    bytes32 contentRoot;
    /// Version for which the content was sealed. A later version with other shares or terms may name it again.
    uint32 contentVersion;
    /// Root over the sealed key shares and their commitments.
    bytes32 shareRoot;
    /// Digest of the signed policy document: evidence rules, terms, output rules.
    bytes32 policyHash;
    /// Committee epoch for which the shares were made (fits 24 bits).
    uint32 epoch;
}

/// @notice The terms that the chain enforces; the policy document holds the full terms.
struct Terms {
    /// Token of the price; address(0) is the chain's own coin.
    address token;
    /// Price of one use, in the token's smallest unit.
    uint88 price;
    /// Last second (Unix time) at which a job may be matched or accepted.
    uint40 expiry;
    /// Most uses over the life of the version; at least 1.
    uint32 maxUses;
    /// Allowed purposes, one bit each; a request's purpose bits must all be among them. Never 0.
    uint32 purposes;
    /// Lowest evidence grade: 1 simulated, 2 hardware. 0 is refused: nothing is allowed by default.
    uint8 minGrade;
    /// Whole privacy budget in micro-epsilon; 0 means that no job may spend any.
    uint40 budget;
    /// Most micro-epsilon that one job may spend.
    uint32 perJobCap;
    /// Merkle root of the allowed (measurement, workload) leaves; checked by the oracle nodes. Never 0.
    bytes32 allowRoot;
    /// Merkle root of the allowed consumers; 0 means anyone.
    bytes32 consumerRoot;
    /// Most seconds for which a job may hold a use before it ends or settles.
    uint32 maxHold;
    /// Least part of the price, in percent, that a request must allow for the case that a limit of time is used up: the
    /// use is then consumed, although nothing leaves the enclave. At most 100.
    uint8 timeoutShare;
}

/// @notice One asset's part in a job, as it was fixed at match. EIP-712 type `AssetUse`.
struct AssetUse {
    bytes32 assetId;
    address owner;
    uint32 version;
    uint32 termsVersion;
    /// keccak256(abi.encode(contentRoot, contentVersion, shareRoot, policyHash)).
    bytes32 sealHash;
    uint128 price;
    /// Micro-epsilon that the job may spend on this asset.
    uint64 epsilon;
}

/// @notice What a job has set aside of one asset, and what the owner is owed. EIP-712 type `AssetClaim`.
struct AssetClaim {
    bytes32 assetId;
    address owner;
    uint32 version;
    uint32 termsVersion;
    uint128 price;
    /// Micro-epsilon.
    uint64 epsilon;
}

/// @notice What the registry returns to the market for a version of which it has just reserved a use.
struct Reservation {
    address owner;
    bytes32 sealHash;
    uint88 price;
    uint8 minGrade;
    uint32 epoch;
    uint32 maxHold;
    uint8 timeoutShare;
}

/// @notice The whole recorded state of one asset version, for readers.
struct VersionState {
    address owner;
    bytes32 sealHash;
    uint32 epoch;
    uint32 termsVersion;
    bool revoked;
    /// No new match until the owner lifts it: an enclave signed that this version does not open or does not read.
    bool suspended;
    /// Terms version since which a job that is not yet accepted may stand: the last change of a root, the purposes or
    /// the grade.
    uint32 strictVersion;
    /// By jobs that were accepted, and by those that may still be.
    uint32 usesTaken;
    /// Micro-epsilon, of the same jobs.
    uint40 budgetTaken;
    Terms terms;
}
