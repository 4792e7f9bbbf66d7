// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice One holder's money and record in one token, in one slot.
struct Account {
    /// May be withdrawn, staked, or locked into a job that its holder signed.
    uint88 free;
    /// Backs jobs; what a running job locks has left it.
    uint88 staked;
    /// Signed orders in this token count only if their salt's top 64 bits are this number.
    uint16 generation;
    /// Jobs that this holder ended as provider, each counter stopping at its maximum.
    uint24 settled;
    /// Refused through the provider's fault: its platform, or evidence that it withheld.
    uint16 refused;
    /// Never quoted, never settled, or settled with the result unavailable.
    uint16 expired;
    /// Ended by a failure that the enclave signed; no party is at fault.
    uint8 failed;
}

/// @notice Which of a provider's counters a job's end adds to.
enum Tally {
    None,
    Settled,
    Refused,
    Expired,
    Failed
}

/// @notice A token that the deployment admits, and what one oracle signature costs in it.
struct TokenFee {
    address token;
    uint64 fee;
}

/// @notice Stake that unbonds.
struct Unbonding {
    uint88 amount;
    uint40 readyAt;
}

/// @notice Where a job's ordinary course was interrupted after acceptance. All zero for every other job.
struct Interruption {
    /// Who gets what is left of `unspent`.
    address provider;
    /// Last second at which a release may be posted; 0 unless the enclave reported missing shares.
    uint40 sharesDeadline;
    /// Bit i: the release of node i stands on chain.
    uint16 posted;
    /// Bit i: the enclave complained about node i.
    uint16 excluded;
    /// A quorum promised not to release.
    bool stopped;
    address token;
    /// Of what the provider set aside for the nodes that post.
    uint88 unspent;
}

/// @notice Windows of a job in seconds.
struct Windows {
    uint32 quote;
    uint32 decide;
    uint32 settle;
    uint32 challenge;
}
