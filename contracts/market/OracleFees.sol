// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ILedger} from "../interfaces/ILedger.sol";
import {FeeBook, FeeBooks} from "../libraries/FeeBooks.sol";
import {Epoch, Members} from "../types/Committees.sol";
import {Accounts} from "./Accounts.sol";

/// @title Oracle fees: a fixed amount for each signature that the market used
/// @dev Counting signatures in one shared slot per (epoch, token) costs a job one write, where crediting each node
/// would cost one per signature. The slot also holds the fee and the committee's sizes.
abstract contract OracleFees is Accounts {
    /// Open the book of an epoch and token, if this is their first job.
    function _openBook(uint32 epoch, address token) internal returns (FeeBook book) {
        book = _books[epoch][token];
        if (book.isOpen()) return book;

        Epoch memory found = _committee.epochOf(epoch);
        if (block.timestamp < found.activeAt) revert IJobs.EpochNotActive(epoch, block.timestamp, found.activeAt);
        book = FeeBooks.open(_feeOf(token), found.members, found.threshold);
        _books[epoch][token] = book;
        _quorums[epoch] = found.membersHash;
        emit ILedger.FeeBookOpened(epoch, token, book.fee(), found.members, found.threshold);
    }

    /// Owe the members in `signers` one fee each.
    /// @return fees What that takes; a member whose counter is full earns nothing until it claims.
    function _oweFees(uint32 epoch, address token, FeeBook book, uint256 signers) internal returns (uint256 fees) {
        (FeeBook updated, uint256 counted) = book.count(signers);
        _books[epoch][token] = updated;
        return counted * book.fee();
    }

    /// The book of an epoch and token that some job has opened.
    function _bookOf(uint32 epoch, address token) internal view returns (FeeBook book) {
        book = _books[epoch][token];
        if (!book.isOpen()) revert ILedger.FeeBookNotOpened(epoch, token);
    }

    /// Which members of an epoch that some job uses were removed, if `members` are that epoch's.
    function _openedQuorum(uint32 epoch, Members calldata members) internal view returns (uint256 removed) {
        bytes32 expected = _quorums[epoch];
        bytes32 got = keccak256(abi.encode(members.signers, members.keysDigest, members.removed));
        if (got != expected) revert IJobs.WrongCommittee(epoch, got, expected);
        return members.removed;
    }

    /// What the payer sets aside for holding others' money and rights until the decision.
    function _holdFee(uint256 owners, uint256 minPenalty, uint256 window, uint256 fee)
        internal
        view
        returns (uint256)
    {
        uint256 held = (2 * owners + minPenalty) * window * _holdRate;
        return fee * _requestFeeFactor + (held + 1e18 - 1) / 1e18;
    }

    /// The bond of a challenge: the most that its answer costs, and the fixed part of a hold fee.
    function _bondOf(uint32 epoch, address token) internal view returns (uint256) {
        FeeBook book = _bookOf(epoch, token);
        return book.reserve() + uint256(book.fee()) * _requestFeeFactor;
    }
}
