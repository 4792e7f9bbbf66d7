// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice What a consumer accepts of one asset. EIP-712 type `AssetLimit`.
struct AssetLimit {
    bytes32 assetId;
    uint32 version;
    /// Terms version that the consumer saw; any other is refused.
    uint32 termsVersion;
    /// Most that the consumer pays for this use.
    uint128 maxPrice;
    /// Micro-epsilon asked of this asset's budget; 0 for an exact output.
    uint64 epsilon;
}

/// @notice A consumer's request for one job. EIP-712 type `Request`; signed by consumer and, if another, payer.
struct Request {
    address consumer;
    /// Who funds the escrow and gets back what is unspent; signs the same digest if not the consumer.
    address payer;
    address token;
    bytes32 workloadDigest;
    /// Salted digest of the parameters.
    bytes32 parametersDigest;
    /// Hash of the HPKE key to which the result is sealed.
    bytes32 resultKeyHash;
    /// Purpose bits, a signed promise; never 0.
    uint32 purpose;
    uint8 tee;
    uint8 minGrade;
    /// Allowed providers: 0 anyone, else a Merkle root.
    bytes32 providers;
    uint128 maxComputePrice;
    uint128 maxUnitPrice;
    uint32 maxUnits;
    /// Windows in seconds, each counted from the transition before it.
    uint32 quoteWindow;
    uint32 decideWindow;
    uint32 settleWindow;
    uint32 challengeWindow;
    uint64 expiry;
    /// Its top 64 bits are the signer's order generation (0 until `cancelAllOrders`), the rest is free.
    uint256 salt;
    AssetLimit[] assets;
}

/// @notice A provider's standing offer of compute. EIP-712 type `ComputeOrder`.
struct ComputeOrder {
    address provider;
    address token;
    uint8 tee;
    uint8 grade;
    /// Flat price of a job, and price of one metered unit.
    uint128 price;
    uint128 unitPrice;
    /// Stake that is burned when the provider is at fault; locked beside the owners' prices.
    uint128 penalty;
    /// Most jobs under this order.
    uint32 volume;
    uint64 expiry;
    /// Allowed consumers: 0 anyone, else a Merkle root.
    bytes32 consumers;
    uint256 salt;
}

/// @notice An owner's offer of one asset version at a price. EIP-712 type `AssetOrder`.
struct AssetOrder {
    bytes32 assetId;
    uint32 version;
    uint128 price;
    /// Most jobs under this order; type(uint32).max means bounded by the terms' uses alone.
    uint32 volume;
    uint64 expiry;
    bytes32 consumers;
    bytes32 providers;
    uint256 salt;
}

/// @notice One asset's side of a match. An empty signature means the standing terms; the order is then ignored.
struct AssetOffer {
    AssetOrder order;
    bytes signature;
    /// Consumer in `order.consumers`, provider in `order.providers`, consumer in the terms' `consumerRoot`.
    bytes32[] consumerProof;
    bytes32[] providerProof;
    bytes32[] termsProof;
}

/// @notice The signed orders that make a job; anyone may submit it. `offers` follow the order of `request.assets`.
struct Match {
    Request request;
    bytes consumerSignature;
    /// Empty when the payer is the consumer.
    bytes payerSignature;
    ComputeOrder compute;
    bytes providerSignature;
    /// Provider in `request.providers`.
    bytes32[] providerProof;
    /// Consumer in `compute.consumers`.
    bytes32[] consumerProof;
    AssetOffer[] offers;
}
