// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "../interfaces/IAssetRegistry.sol";
import {IOracleCommittee} from "../interfaces/IOracleCommittee.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {JobSlot} from "../libraries/JobSlots.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Quorum} from "../types/Committees.sol";
import {Account, Unbonding} from "../types/Money.sol";

/// @notice Parameters that the deployment fixes for good.
struct Parameters {
    IAssetRegistry registry;
    IOracleCommittee committee;
    uint40 unbondingDelay;
    /// The fixed fee for a refused request, in oracle fees.
    uint16 requestFeeFactor;
    /// Who may pause new matches.
    address guardian;
}

/// @title The market's storage and its fixed parameters
/// @dev The market's code exceeds the size limit of one contract, so it is split in two. Market is called by others and
/// has the steps that every job takes. Market creates MarketExtension and runs its code, in Market's storage, for all
/// other calls. Both inherit this contract first and add no storage, so that a slot means the same to both. Neither can
/// be replaced.
abstract contract MarketState {
    struct Token {
        bool admitted;
        uint64 fee;
    }

    IAssetRegistry internal immutable _registry;
    IOracleCommittee internal immutable _committee;
    uint40 internal immutable _unbondingDelay;
    uint16 internal immutable _requestFeeFactor;
    address internal immutable _guardian;

    uint256 private immutable _chainId;
    bytes32 private immutable _separator;

    mapping(bytes32 requestHash => JobSlot) internal _slots;
    mapping(address token => mapping(address holder => Account)) internal _accounts;
    mapping(address token => mapping(address holder => Unbonding)) internal _unbonding;
    mapping(address token => Token) internal _tokens;
    mapping(uint32 epoch => mapping(address token => FeeBook)) internal _books;
    mapping(uint32 epoch => Quorum) internal _quorums;
    mapping(address signer => mapping(bytes32 orderHash => uint256)) internal _used;
    bool internal _paused;

    constructor(address market, Parameters memory parameters) {
        _registry = parameters.registry;
        _committee = parameters.committee;
        _unbondingDelay = parameters.unbondingDelay;
        _requestFeeFactor = parameters.requestFeeFactor;
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
