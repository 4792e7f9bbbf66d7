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
    /// Kind of job: 1 batch. The market makes a job of a request and an order of the same kind.
    uint8 kind;
    /// Hash of what the kind adds to the request; 0 for a batch job.
    bytes32 extensionHash;
    address consumer;
    /// Who funds the escrow and gets back what is unspent; signs the same digest if not the consumer.
    address payer;
    address token;
    bytes32 workloadDigest;
    /// Salted digest of the parameters.
    bytes32 parametersDigest;
    /// keccak256 of the hashes, one behind the other, of the 1 to 8 HPKE keys to which the result is sealed.
    bytes32 resultKeysHash;
    /// Purpose bits, a signed promise; never 0.
    uint32 purpose;
    uint8 tee;
    uint8 minGrade;
    /// Allowed providers: 0 anyone, else a Merkle root.
    bytes32 providers;
    /// Accepted capability documents: 0 any, else a Merkle root over their hashes.
    bytes32 capabilities;
    uint128 maxComputePrice;
    uint128 maxUnitPrice;
    uint32 maxUnits;
    /// Least stake that the provider loses when it is at fault.
    uint128 minPenalty;
    /// Most that owners and provider together receive when a limit of time is used up. At least what the order asks for
    /// that case, and the highest share of the assets' terms of all owners' prices.
    uint128 timeoutLimit;
    /// Seconds for importing and running the workload, for reading the inputs, for the owners' validators.
    uint32 runSeconds;
    uint32 readSeconds;
    uint32 validateSeconds;
    /// Bytes that the inputs take once decoded.
    uint64 decodedBytes;
    /// Windows in seconds, each counted from the transition before it.
    uint32 quoteWindow;
    uint32 decideWindow;
    uint32 settleWindow;
    uint32 challengeWindow;
    uint64 expiry;
    /// Bits 192 to 223 are the consumer's order generation (0 until `cancelAllOrders`); bits 224 to 255 the payer's,
    /// or 0 if the consumer pays. The rest is free.
    uint256 salt;
    AssetLimit[] assets;
}

/// @notice A provider's standing offer of compute. EIP-712 type `ComputeOrder`.
struct ComputeOrder {
    /// Kind of job, as in the request.
    uint8 kind;
    address provider;
    address token;
    uint8 tee;
    uint8 grade;
    /// Flat price of a job, and price of one metered unit.
    uint128 price;
    uint128 unitPrice;
    /// Stake that is lost when the provider is at fault; locked beside the owners' prices.
    uint128 penalty;
    /// Most stake that one job may lock: penalty and owners' prices together.
    uint128 maxStake;
    /// What the provider is paid when a workload's or a validator's time is used up.
    uint128 timeoutFee;
    /// Shortest windows, and the longest time that one job may hold the stake, in seconds.
    uint32 minQuoteWindow;
    uint32 minSettleWindow;
    uint32 maxHold;
    /// Most that a request may ask for.
    uint32 maxRunSeconds;
    uint32 maxReadSeconds;
    uint32 maxValidateSeconds;
    uint64 maxDecodedBytes;
    /// Hash of the capability document: what the provider promises of platform and enclave. 0: no promise.
    bytes32 capabilityHash;
    /// Most jobs under this order; type(uint32).max means bounded by the stake alone.
    uint32 volume;
    uint64 expiry;
    /// Allowed consumers: 0 anyone, else a Merkle root.
    bytes32 consumers;
    /// Bits 192 to 223 are the signer's order generation; bits 224 to 255 are 0; the rest is free.
    uint256 salt;
}

/// @notice An owner's offer of one asset version at a price. EIP-712 type `AssetOrder`.
struct AssetOrder {
    bytes32 assetId;
    uint32 version;
    /// At most the price of the terms in force.
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
    /// `compute.capabilityHash` in `request.capabilities`.
    bytes32[] capabilityProof;
    AssetOffer[] offers;
}
