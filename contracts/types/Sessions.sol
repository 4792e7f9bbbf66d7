// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {JobSpec} from "./Jobs.sol";

/// @notice What one asset's owner gets for each unit. EIP-712 type `Royalty`.
struct Royalty {
    bytes32 assetId;
    uint128 perUnit;
}

/// @notice What a service sells and by which rules it is paid. EIP-712 type `SessionTerms`; a job's `extensionHash` is
/// its hash.
struct SessionTerms {
    /// The contract that keeps the service's money.
    address sessions;
    /// Most units that may be served and not yet redeemed.
    uint64 lease;
    /// Most seconds that the enclave serves by one renewal.
    uint32 leaseSeconds;
    /// Seconds between a confirmed request to close a tab, or the end, and the return of the money.
    uint32 redemptionWindow;
    /// Block time after which no tab opens.
    uint40 end;
    /// Units in statements are rounded down to multiples of this; the chain does not check it.
    uint64 bucket;
    /// What an account pays for a unit, royalties included.
    uint128 unitPrice;
    /// Least limit of a tab.
    uint128 leastTab;
    /// What each signer of a renewal gets from the bond.
    uint128 renewalFee;
    /// In the order of the job's assets.
    Royalty[] royalties;
}

/// @notice Units that the enclave has served to one account since the service began. EIP-712 type `Entry`; calls
/// carry it as an EntryWord.
struct Entry {
    address account;
    uint64 units;
    /// The account is served no more: its tab closes with this entry.
    bool last;
}

/// @notice What the enclave has served, to whom; cumulative. EIP-712 type `Statement`.
struct Statement {
    bytes32 jobId;
    /// Units served to all accounts.
    uint64 total;
    /// The service is over.
    bool last;
    Entry[] entries;
}

/// @notice What nodes read of one tab. EIP-712 type `TabState`.
struct TabState {
    address account;
    /// Units that its limit pays for.
    uint64 units;
    /// The account asked to close.
    bool closing;
}

/// @notice What t nodes say of a service at a final block, in answer to a nonce. EIP-712 type `Renewal`.
struct Renewal {
    bytes32 jobId;
    bytes32 nonce;
    uint64 blockNumber;
    uint40 blockTime;
    uint64 redeemed;
    TabState[] tabs;
}

/// @notice What a transfer that opens a tab, or adds to one, carries.
struct TabOpening {
    JobSpec spec;
    SessionTerms terms;
    /// Whose tab it is, and to whom what is left returns.
    address account;
    /// The account in each asset's consumer set, in the job's order; empty where a set is open.
    bytes32[][] proofs;
}

/// @notice The recorded state of one service, for readers.
struct ServiceState {
    address provider;
    address enclaveSigner;
    address token;
    uint64 lease;
    uint32 leaseSeconds;
    uint32 redemptionWindow;
    /// Block time of the end: that of the terms, or when the service ended before.
    uint40 end;
    uint16 epoch;
    uint88 unitPrice;
    /// Sum of the royalties for a unit.
    uint88 royalties;
    uint64 renewalFee;
    /// When a renewal was last paid for, and its block.
    uint40 renewedAt;
    uint48 renewedBlock;
    /// The highest total of a statement.
    uint64 redeemed;
    /// Units for which royalties were credited.
    uint64 credited;
    uint88 bond;
    /// A statement that is last was redeemed.
    bool last;
}

/// @notice The recorded state of one tab, for readers. All zero: no such tab.
struct Tab {
    uint88 limit;
    uint88 paid;
    /// Block of the account's request to close; 0 without one.
    uint40 requestedBlock;
    /// From this block time on the tab pays nothing and can be closed; 0 while that is open, and the highest number
    /// once it was closed.
    uint40 closesAt;
}
