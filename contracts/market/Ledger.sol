// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {ILedger} from "../interfaces/ILedger.sol";
import {ILedgerReceiver} from "../interfaces/ILedgerReceiver.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {Members} from "../types/Committees.sol";
import {Unbonding} from "../types/Money.sol";
import {OracleFees} from "./OracleFees.sol";

/// @title Deposits, stakes, withdrawals and claimed fees of account holders
abstract contract Ledger is OracleFees {
    using SafeERC20 for IERC20;

    /// See {ILedger-deposit}.
    function deposit(address token, uint256 amount) external payable {
        _deposit(token, msg.sender, amount);
    }

    /// See {ILedger-depositFor}.
    function depositFor(address token, address holder, uint256 amount) external payable {
        if (holder == address(0)) revert ILedger.ZeroAddress();
        _deposit(token, holder, amount);
    }

    /// See {ILedger-depositWithPermit}.
    function depositWithPermit(address token, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        if (token == address(0) || !_tokens[token].admitted) revert ILedger.TokenNotAdmitted(token);
        // Another sender may have submitted the permit first; the allowance is then already in place.
        // solhint-disable-next-line no-empty-blocks
        try IERC20Permit(token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(token, msg.sender, amount);
    }

    /// See {ILedger-withdraw}.
    function withdraw(address token, uint256 amount, address to) external {
        if (amount == 0) revert ILedger.ZeroAmount();
        if (to == address(0)) revert ILedger.ZeroAddress();
        _take(token, msg.sender, amount);
        emit ILedger.Withdrawn(token, msg.sender, to, amount);

        if (token == address(0)) {
            // solhint-disable-next-line avoid-low-level-calls
            (bool sent,) = to.call{value: amount}("");
            if (!sent) revert ILedger.CoinTransferFailed(to, amount);
        } else {
            IERC20(token).safeTransfer(to, amount);
        }
    }

    /// See {ILedger-transfer}.
    function transfer(address token, address to, uint256 amount) external {
        _transfer(token, to, amount);
    }

    /// See {ILedger-transferAndCall}.
    function transferAndCall(address token, address to, uint256 amount, bytes calldata data) external {
        _transfer(token, to, amount);

        if (to.code.length == 0) revert ILedger.TransferNotTaken(to, 0);
        bytes4 answer = ILedgerReceiver(to).onLedgerTransfer(token, msg.sender, amount, data);
        if (answer != ILedgerReceiver.onLedgerTransfer.selector) revert ILedger.TransferNotTaken(to, answer);
    }

    /// See {ILedger-stake}.
    function stake(address token, uint256 amount) external {
        if (amount == 0) revert ILedger.ZeroAmount();
        _take(token, msg.sender, amount);
        _accounts[token][msg.sender] = _accounts[token][msg.sender].plus(0, amount);
        emit ILedger.Staked(token, msg.sender, amount);
    }

    /// See {ILedger-unstake}.
    function unstake(address token, uint256 amount) external {
        if (amount == 0) revert ILedger.ZeroAmount();
        _lockStake(token, msg.sender, amount);
        Unbonding storage leaving = _unbonding[token][msg.sender];
        uint88 total = leaving.amount + uint88(amount);
        uint40 readyAt = uint40(block.timestamp) + _unbondingDelay;
        leaving.amount = total;
        leaving.readyAt = readyAt;
        emit ILedger.UnstakeBegun(token, msg.sender, amount, total, readyAt);
    }

    /// See {ILedger-finishUnstake}.
    function finishUnstake(address token) external {
        Unbonding memory leaving = _unbonding[token][msg.sender];
        if (leaving.amount == 0 || block.timestamp < leaving.readyAt) {
            revert ILedger.NotUnbonded(block.timestamp, leaving.readyAt);
        }
        delete _unbonding[token][msg.sender];
        _credit(token, msg.sender, leaving.amount);
        emit ILedger.Unstaked(token, msg.sender, leaving.amount);
    }

    /// See {ILedger-claimFees}.
    function claimFees(uint32 epoch, address token, Members calldata members, uint8 index) external {
        FeeBook opened = _bookOf(epoch, token);
        _openedQuorum(epoch, members);
        address signer = members.signers[index];
        (FeeBook book, uint256 count) = opened.claim(index);
        uint256 amount = count * book.fee();

        _books[epoch][token] = book;
        _credit(token, signer, amount);

        emit ILedger.FeesClaimed(epoch, token, signer, count, amount);
    }

    function _transfer(address token, address to, uint256 amount) private {
        if (amount == 0) revert ILedger.ZeroAmount();
        if (to == address(0)) revert ILedger.ZeroAddress();
        _take(token, msg.sender, amount);
        _credit(token, to, amount);
        emit ILedger.Transferred(token, msg.sender, to, amount);
    }

    function _deposit(address token, address holder, uint256 amount) private {
        if (!_tokens[token].admitted) revert ILedger.TokenNotAdmitted(token);
        if (amount == 0) revert ILedger.ZeroAmount();
        uint256 expected = token == address(0) ? amount : 0;
        if (msg.value != expected) revert ILedger.WrongValue(msg.value, expected);

        uint256 held = token == address(0) ? address(this).balance : _pull(token, amount);
        if (held > type(uint88).max) revert ILedger.AmountTooLarge(held, type(uint88).max);
        _credit(token, holder, amount);
        emit ILedger.Deposited(token, holder, msg.sender, amount);
    }

    /// The amount is credited only if exactly that amount arrived: a token that charges on transfer, or that reenters
    /// the ledger during the transfer, fails this check.
    function _pull(address token, uint256 amount) private returns (uint256 held) {
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        held = IERC20(token).balanceOf(address(this));
        uint256 received = held > before ? held - before : 0;
        if (received != amount) revert ILedger.WrongAmountReceived(token, received, amount);
    }
}
