// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "../interfaces/IAssetRegistry.sol";
import {IOracleCommittee} from "../interfaces/IOracleCommittee.sol";
import {AccountWord} from "../libraries/AccountWords.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {JobSlot} from "../libraries/JobSlots.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Interruption, Unbonding} from "../types/Money.sol";

/// @notice Parameters that the deployment fixes for good.
struct Parameters {
    IAssetRegistry registry;
    IOracleCommittee committee;
    uint40 unbondingDelay;
    /// The fixed part of the hold fee, in oracle fees.
    uint16 requestFeeFactor;
    /// Seconds after which a block of this chain is final.
    uint32 finality;
    /// Seconds of every settle window for moving bytes.
    uint32 transferAllowance;
    /// The hold fee of a second, in 10^-18 of what is held.
    uint64 holdRate;
    /// Who may pause new matches.
    address guardian;
}

/// @title The market's storage and its fixed parameters
/// @dev The market's code exceeds the size limit of one contract, so it is split in three. Market is called by others
/// and has the steps that every job takes. It runs the code of MarketEndings, in its own storage, for all other calls,
/// and MarketEndings that of MarketExtension for what is not about a job. All three inherit this contract first and add
/// no storage, so that a slot means the same to each. None can be replaced.
abstract contract MarketState {
    struct Token {
        bool admitted;
        uint64 fee;
    }

    IAssetRegistry internal immutable _registry;
    IOracleCommittee internal immutable _committee;
    uint40 internal immutable _unbondingDelay;
    uint16 internal immutable _requestFeeFactor;
    uint32 internal immutable _finality;
    uint32 internal immutable _transferAllowance;
    uint64 internal immutable _holdRate;
    address internal immutable _guardian;

    uint256 private immutable _chainId;
    bytes32 private immutable _separator;

    mapping(bytes32 requestHash => JobSlot) internal _slots;
    mapping(address token => mapping(address holder => AccountWord)) internal _accounts;
    mapping(address token => mapping(address holder => Unbonding)) internal _unbonding;
    mapping(address token => Token) internal _tokens;
    mapping(uint32 epoch => mapping(address token => FeeBook)) internal _books;
    /// The committee's hash in each epoch that a job uses; the committee contract updates it.
    mapping(uint32 epoch => bytes32 membersHash) internal _quorums;
    mapping(address signer => mapping(bytes32 orderHash => uint256)) internal _used;
    mapping(bytes32 requestHash => Interruption) internal _interruptions;
    bool internal _paused;
    /// The highest epoch with an announced end. It shares a slot with what each match reads anyway: a match of a later
    /// epoch looks no further.
    uint32 internal _lastEnding;
    /// The last second of an epoch, as the committee contract announced it; 0 for none.
    mapping(uint32 epoch => uint40 endsAt) internal _ends;

    constructor(address market, Parameters memory parameters) {
        _registry = parameters.registry;
        _committee = parameters.committee;
        _unbondingDelay = parameters.unbondingDelay;
        _requestFeeFactor = parameters.requestFeeFactor;
        _finality = parameters.finality;
        _transferAllowance = parameters.transferAllowance;
        _holdRate = parameters.holdRate;
        _guardian = parameters.guardian;
        _chainId = block.chainid;
        _separator = TypedData.domainSeparator(market);
    }

    /// The digest that is signed. After a fork of the chain, signatures made for the other branch are invalid here.
    function _digest(bytes32 structHash) internal view returns (bytes32) {
        bytes32 separator = block.chainid == _chainId ? _separator : TypedData.domainSeparator(address(this));
        return TypedData.toDigest(separator, structHash);
    }
}
