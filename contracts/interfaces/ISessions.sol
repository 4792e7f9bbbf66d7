// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {EntryWord} from "../libraries/EntryWords.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {JobSpec} from "../types/Jobs.sol";
import {Renewal, ServiceState, SessionTerms, Tab} from "../types/Sessions.sol";
import {ILedgerReceiver} from "./ILedgerReceiver.sol";
import {IMarket} from "./IMarket.sol";

/// @title Sessions: services of many accounts, paid unit by unit
/// @notice A service is an accepted job of kind 2. Accounts lock money for it in tabs; statements that the enclave
/// signs move it to the provider's bond; royalties are due on every redeemed unit and come from the bond. All of it is
/// one account of this contract in the market's ledger. Per token, that account holds at least
///   the bonds + limit - paid of all tabs that were not closed + (redeemed - credited) * royalties of all services,
/// and exactly that, but for money that was sent here without being asked for, which stays.
/// No account pays more than unitPrice * units, of the units that the enclave signed, nor more than its limit. Whatever
/// the tabs pay, the owners get redeemed * perUnit.
/// A transfer by the ledger's `transferAndCall` is, with the 32 bytes of a job id, a bond; with an encoded TabOpening,
/// money for a tab; nothing else is taken.
/// @dev No owner, no pause; the market's pause stops new services by stopping matches, and nothing here. Trust: the
/// market, registry and committee; the enclave that a committee accepted, for statements; t nodes, for renewals.
/// Liveness only: a statement is sent within the redemption window.
interface ISessions is ILedgerReceiver {
    event ServiceOpened(
        bytes32 indexed jobId,
        address indexed provider,
        address indexed token,
        address enclaveSigner,
        uint16 epoch,
        SessionTerms terms
    );
    /// @notice The service ended at `end`, before its terms say.
    event ServiceEnded(bytes32 indexed jobId, uint40 end);
    event BondAdded(bytes32 indexed jobId, uint256 amount);
    event BondTaken(bytes32 indexed jobId, uint256 amount);
    /// @notice `from` locked `amount` in the tab of `account`, whose limit is `limit` now.
    event TabFunded(bytes32 indexed jobId, address indexed account, address from, uint256 amount, uint256 limit);
    /// @notice `redeemed` is the highest total now. Each of `payments` is an account (160 bits), what its tab paid by
    /// this (88 bits) and whether the entry was last (8 bits), packed in this order. The bond rose by what the tabs
    /// paid and fell by `royalties`.
    event StatementRedeemed(
        bytes32 indexed jobId, uint64 redeemed, bool last, uint256 royalties, EntryWord[] payments
    );
    event CloseRequested(bytes32 indexed jobId, address indexed account, uint256 blockNumber);
    event CloseConfirmed(bytes32 indexed jobId, address indexed account, uint40 closesAt);
    event TabClosed(bytes32 indexed jobId, address indexed account, uint256 returned);
    /// @notice Each member in `signers` got `fee`.
    event RenewalPaid(bytes32 indexed jobId, uint64 blockNumber, uint256 signers, uint256 fee);
    /// @notice The owners got their royalties for `units` more.
    event RoyaltiesPaid(bytes32 indexed jobId, uint64 units);

    error OnlyMarket(address got, address expected);
    /// @notice Not opened, or not opened for this specification.
    error UnknownService(bytes32 jobId);
    error ServiceExists(bytes32 jobId);
    /// @notice The job is of another kind.
    error WrongKind(uint8 got, uint8 expected);
    /// @notice Provider, consumer and payer of a service are one account.
    error PartiesDiffer(address consumer, address payer, address provider);
    /// @notice A service sells units by its terms; its job has no compute price.
    error ComputePriced(uint128 computePrice, uint128 unitPrice);
    /// @notice These are not the terms to which the job's `extensionHash` commits.
    error WrongTerms(bytes32 got, bytes32 expected);
    /// @notice The terms name another contract.
    error WrongSessions(address got, address expected);
    /// @notice The terms' royalties do not name the job's assets, each once and in order.
    error WrongRoyalties(uint256 index);
    /// @notice The token of the transfer is not the service's.
    error WrongToken(address got, address expected);
    error OnlyProvider(address got, address expected);
    /// @notice The service is over, or its end has passed.
    error ServiceOver(bytes32 jobId, uint256 timestamp, uint40 end);
    /// @notice The job is Accepted still.
    error ServiceStands(bytes32 jobId);
    /// @notice The bond does not cover what has to stay, or what is due.
    error BondTooSmall(bytes32 jobId, uint256 got, uint256 needed);
    /// @notice The terms of an asset that are in force allow no tab of this account.
    error AccountNotAllowed(bytes32 assetId, address account);
    /// @notice The limit would be below what the terms demand.
    error TabTooSmall(uint256 limit, uint256 least);
    /// @notice The tab is closed, or closing.
    error TabCloses(bytes32 jobId, address account, uint40 closesAt);
    /// @notice The account has no tab here, or what was left has returned.
    error NoTab(bytes32 jobId, address account);
    /// @notice What is left cannot return yet.
    error TabOpen(bytes32 jobId, address account, uint256 timestamp, uint256 opensAt);
    error AlreadyRequested(bytes32 jobId, address account);
    /// @notice No tab, total or end changes by this.
    error NothingToDo(bytes32 jobId);
    /// @notice The renewal's block is not above that of the last one that was paid for.
    error WrongRenewalBlock(uint64 got, uint256 least, uint256 most);
    /// @notice Renewals are paid once in half a lease.
    error RenewalTooEarly(uint256 timestamp, uint256 least);

    /// @notice Record an accepted job as a service. Anyone.
    function openService(
        JobSpec calldata spec,
        bytes32 evidenceHash,
        address enclaveSigner,
        bytes32 enclaveKeyHash,
        SessionTerms calldata terms
    ) external;

    /// @notice Make now the end of a service whose job is no longer Accepted. Anyone.
    function endService(JobSpec calldata spec) external;

    /// @notice Take a statement, within the redemption window after the end. Anyone. Statements may come in any order.
    /// Entries of unknown and closed tabs, and those by which nothing is due, are skipped.
    /// @param entries Each an account (160 bits), its units (88) and whether it is last (8), packed in this order.
    /// @param signature The enclave's, ECDSA, over the Statement of the other parameters.
    function redeem(
        bytes32 jobId,
        uint64 total,
        bool last,
        EntryWord[] calldata entries,
        bytes calldata signature
    ) external;

    /// @notice Ask to close the caller's tab; nodes say so in the next renewal.
    function requestClose(bytes32 jobId) external;

    /// @notice Let the tabs close whose requests t nodes saw, a redemption window from now. Anyone.
    function confirmClose(Renewal calldata renewal, Members calldata members, NodeSignature[] calldata signatures)
        external;

    /// @notice Return what a tab has not paid to its account. Anyone.
    function closeTab(bytes32 jobId, address account) external;

    /// @notice Pay the signers of a renewal from the bond, at most once in half a lease. Anyone.
    function claimRenewal(Renewal calldata renewal, Members calldata members, NodeSignature[] calldata signatures)
        external;

    /// @notice Credit the owners with the royalties that are due. Anyone.
    function payRoyalties(JobSpec calldata spec, SessionTerms calldata terms) external;

    /// @notice Credit the provider from the bond: what is above the lease's royalties; all of it after the last
    /// statement, or a redemption window after the end. Provider only.
    function takeBond(bytes32 jobId, uint256 amount) external;

    /// @notice The record of a service; all zero if there is none.
    function serviceOf(bytes32 jobId) external view returns (ServiceState memory);

    function tabOf(bytes32 jobId, address account) external view returns (Tab memory);

    /// @notice The market in whose ledger this contract has its account.
    function market() external view returns (IMarket);
}
