// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AssetClaim, AssetUse} from "./Assets.sol";

/// @notice The trust anchor of evidence: a development root for `Simulated`, a vendor's root for `Hardware`.
enum Grade {
    None,
    Simulated,
    Hardware
}

/// @notice The family of trusted execution environment.
enum Tee {
    None,
    Sgx,
    Tdx,
    Snp,
    Cca,
    Nvidia,
    Nitro
}

/// @notice What a committee decided about one piece of evidence.
enum Outcome {
    None,
    Accepted,
    PlatformRefused,
    RequestRefused,
    TermsRefused,
    InputRefused,
    EvidenceWithheld
}

/// @notice The state of a job. IJobs draws the transitions.
enum Status {
    None,
    Matched,
    Quoted,
    Accepted,
    Settled,
    Matured,
    Challenged,
    Refused,
    Stopped,
    Failed,
    Expired,
    Cancelled
}

/// @notice The row of the fault table (libraries/FaultTable.sol) by which a job ended.
enum Fault {
    None,
    NoQuote,
    PlatformRefused,
    RequestRefused,
    TermsRefused,
    InputRefused,
    EvidenceWithheld,
    CommitteeSilent,
    StoppedBeforeRelease,
    InputFailed,
    WorkloadFailed,
    ProviderSilent,
    ResultWithheld,
    Withdrawn,
    WorkloadTimedOut,
    ValidatorTimedOut,
    SharesMissing,
    ReaderTimedOut
}

/// @notice The whole specification of a job. EIP-712 type `JobSpec`; its digest is the job id.
struct JobSpec {
    /// hashStruct of the request; also the key of the job's slot.
    bytes32 requestHash;
    uint8 kind;
    bytes32 extensionHash;
    address consumer;
    address payer;
    address provider;
    address token;
    bytes32 workloadDigest;
    bytes32 parametersDigest;
    bytes32 resultKeysHash;
    /// What the provider promised in its order.
    bytes32 capabilityHash;
    uint32 purpose;
    uint8 tee;
    /// The highest of what the request and the assets' terms demand.
    uint8 minGrade;
    /// Committee epoch whose shares open the assets.
    uint32 epoch;
    uint128 computePrice;
    uint128 unitPrice;
    uint32 maxUnits;
    uint128 penalty;
    /// What the payer set aside for holding other parties' money and rights; burned when its side gives up the job.
    uint128 holdFee;
    uint128 timeoutFee;
    uint128 timeoutLimit;
    uint32 runSeconds;
    uint32 readSeconds;
    uint32 validateSeconds;
    uint64 decodedBytes;
    uint64 matchedAt;
    uint32 quoteWindow;
    uint32 decideWindow;
    uint32 settleWindow;
    uint32 challengeWindow;
    AssetUse[] assets;
}

/// @notice Names the job of a step, with what a quote needs of the JobSpec.
struct JobKey {
    /// hashStruct of the request; the key of the job's slot.
    bytes32 requestHash;
    /// EIP-712 digest of the JobSpec.
    bytes32 jobId;
    address provider;
    uint32 decideWindow;
}

/// @notice What the steps after the quote need of a JobSpec: the money, the windows, the assets. EIP-712 type
/// `Bargain`. It is not signed: the job's slot commits to its hash.
struct Bargain {
    address consumer;
    address payer;
    address token;
    uint32 epoch;
    uint8 minGrade;
    uint128 computePrice;
    uint128 unitPrice;
    uint32 maxUnits;
    uint128 penalty;
    uint128 holdFee;
    uint128 timeoutFee;
    uint128 timeoutLimit;
    uint32 settleWindow;
    uint32 challengeWindow;
    AssetClaim[] claims;
}

/// @notice The enclave that a committee accepted. All fields but `evidenceHash` are 0 before acceptance.
struct Enclave {
    bytes32 evidenceHash;
    address enclaveSigner;
    bytes32 enclaveKeyHash;
}

/// @notice What all honest nodes sign alike; job id and epoch follow from the job itself.
struct DecisionCore {
    bytes32 evidenceHash;
    address enclaveSigner;
    bytes32 enclaveKeyHash;
    /// Digest of the effective terms that the nodes held the evidence against.
    bytes32 termsDigest;
    uint8 outcome;
    uint8 grade;
    /// Reason codes, one bit each.
    uint256 reasons;
    /// Last second at which the decision may be used.
    uint64 expiry;
}

/// @notice The signed form of a decision. EIP-712 type `Decision`; `detail` differs per node, the rest is the core.
struct Decision {
    bytes32 jobId;
    bytes32 evidenceHash;
    address enclaveSigner;
    bytes32 enclaveKeyHash;
    bytes32 termsDigest;
    uint32 epoch;
    uint8 outcome;
    uint8 grade;
    uint256 reasons;
    uint64 expiry;
    bytes32 detail;
}

/// @notice What the enclave signed at the end of its work.
struct SettledResult {
    /// Hash of the result's ciphertext.
    bytes32 resultHash;
    bytes32 receiptHash;
    /// Metered units, at most the job's `maxUnits`.
    uint32 units;
}

/// @notice What the enclave signed when it could not finish.
struct FailureReport {
    /// 1: an input, before the workload started (shares that do not join, garbage under a valid root); 2: the workload;
    /// 3: a limit of the request was used up; 4: an owner's validator did not finish; 5: an owner's reader did not
    /// finish, before the workload started.
    uint8 cause;
    /// Which asset, when the cause is 1, 4 or 5.
    uint8 assetIndex;
    uint32 units;
    bytes32 receiptHash;
}

/// @notice The amounts that a job's end moved; with the JobSpec they give every balance that changed.
struct Payout {
    /// To the payer's free balance.
    uint128 refunded;
    /// To the provider's free balance.
    uint128 paid;
    /// Back to the provider's stake.
    uint128 stakeReturned;
    /// Stays in the market for good; no call can move it.
    uint128 burned;
    /// To the owners in `ownersPaid` together.
    uint128 ownersTotal;
    /// Bit i: the owner of asset i was credited in this transaction: its price, or its part of `ownersTotal`.
    uint16 ownersPaid;
}
