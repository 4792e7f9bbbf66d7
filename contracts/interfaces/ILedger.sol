// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IOracleCommittee} from "./IOracleCommittee.sol";
import {Account, Unbonding} from "../types/Money.sol";
import {Members} from "../types/Committees.sol";

/// @title Deposits, stakes, credits and oracle fees, per token and holder
/// @notice One slot per (token, holder). Conservation, per token: deposits - withdrawals = free + staked + unbonding
/// + locked in jobs + unclaimed oracle fees + burned, where what was burned is the sum of JobEnded's `burned`: it stays
/// in the contract and no call can move it. A free balance falls only by its holder's call or by a job that its holder
/// signed; a stake only by a job its holder signed.
/// @dev Trust: admitted tokens do not rebase and do not charge on transfer. The first is kept out by the deployment's
/// list; the second is refused by balance check. A token that reverts or blocks holds up only its own withdrawals.
interface ILedger {
    /// @notice Admitted at deployment, with its fee for one oracle signature.
    event TokenAdmitted(address indexed token, uint64 fee);
    event Deposited(address indexed token, address indexed holder, address from, uint256 amount);
    event Withdrawn(address indexed token, address indexed holder, address to, uint256 amount);
    event Transferred(address indexed token, address indexed from, address indexed to, uint256 amount);
    event Staked(address indexed token, address indexed holder, uint256 amount);
    /// @notice Stake began to unbond; `total` is all that unbonds for the holder, ready at `readyAt`.
    event UnstakeBegun(address indexed token, address indexed holder, uint256 amount, uint256 total, uint40 readyAt);
    event Unstaked(address indexed token, address indexed holder, uint256 amount);
    /// @notice First use of an epoch with a token: the fee and quorum sizes that its jobs pay by, for good.
    event FeeBookOpened(uint32 indexed epoch, address indexed token, uint64 fee, uint8 members, uint8 threshold);
    event FeesClaimed(
        uint32 indexed epoch, address indexed token, address indexed signer, uint256 signatures, uint256 amount
    );

    /// @notice The token is not on the deployment's list.
    error TokenNotAdmitted(address token);
    /// @notice The list names a token twice, or an address without code.
    error BadToken(address token);
    /// @notice The coin sent with the call is not what the call accounts for.
    error WrongValue(uint256 got, uint256 expected);
    /// @notice The token delivered something else than the amount (it charges on transfer, or reentered).
    error WrongAmountReceived(address token, uint256 got, uint256 expected);
    /// @notice More than an account can hold.
    error AmountTooLarge(uint256 got, uint256 most);
    error ZeroAmount();
    error ZeroAddress();
    /// @notice The free balance does not cover the amount.
    error InsufficientBalance(address token, address holder, uint256 got, uint256 needed);
    /// @notice The unlocked stake does not cover the amount.
    error InsufficientStake(address token, address holder, uint256 got, uint256 needed);
    /// @notice Nothing unbonds, or it is not ready (readyAt 0: nothing).
    error NotUnbonded(uint256 timestamp, uint40 readyAt);
    /// @notice The receiver refused the coin; the balance is unchanged; withdraw to another address.
    error CoinTransferFailed(address to, uint256 amount);
    /// @notice The receiver has no code, or did not answer `onLedgerTransfer` with its selector.
    error TransferNotTaken(address to, bytes4 got);
    /// @notice No job has used this epoch with this token.
    error FeeBookNotOpened(uint32 epoch, address token);

    /// @notice Deposit for oneself. For the coin (address(0)) send exactly `amount`; for a token approve it first.
    function deposit(address token, uint256 amount) external payable;

    /// @notice Deposit for another.
    function depositFor(address token, address holder, uint256 amount) external payable;

    /// @notice Deposit with an ERC-2612 permit in place of an approval. A permit that was already submitted is no
    /// error: the allowance decides.
    function depositWithPermit(address token, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Take free balance out, to any address.
    function withdraw(address token, uint256 amount, address to) external;

    /// @notice Move free balance to another account of this ledger; no token moves and no code of others runs.
    function transfer(address token, address to, uint256 amount) external;

    /// @notice As `transfer`, to a contract, which then learns of it by ILedgerReceiver. All or nothing: if the
    /// receiver reverts or does not take it, nothing moved. The receiver may call the market; the ledger is settled
    /// before.
    /// @param data For the receiver.
    function transferAndCall(address token, address to, uint256 amount, bytes calldata data) external;

    /// @notice Move free balance to stake.
    function stake(address token, uint256 amount) external;

    /// @notice Begin to unbond unlocked stake; it backs no job from now on. A further call restarts the delay for all
    /// that unbonds.
    function unstake(address token, uint256 amount) external;

    /// @notice Move what has unbonded to the free balance.
    function finishUnstake(address token) external;

    /// @notice Credit member `index` of an epoch with the fees of its used signatures. Anyone may call.
    function claimFees(uint32 epoch, address token, Members calldata members, uint8 index) external;

    function accountOf(address token, address holder) external view returns (Account memory);

    function unbondingOf(address token, address holder) external view returns (Unbonding memory);

    /// @notice Fee per signature and quorum sizes of an epoch, and the unclaimed signatures of each member.
    function feeBookOf(uint32 epoch, address token)
        external
        view
        returns (uint64 fee, uint8 members, uint8 threshold, uint16[] memory unclaimed);

    /// @notice Whether a token is admitted, and its fee for one oracle signature.
    function tokenOf(address token) external view returns (bool admitted, uint64 fee);

    /// @notice The committee whose members earn the fees, and whose decisions count here.
    function committee() external view returns (IOracleCommittee);

    /// @notice Seconds that stake unbonds.
    function unbondingDelay() external view returns (uint40);
}
