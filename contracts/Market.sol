// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {TradeDesk} from "./TradeDesk.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IJobs} from "./interfaces/IJobs.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IOracleCommittee} from "./interfaces/IOracleCommittee.sol";
import {IOrders} from "./interfaces/IOrders.sol";
import {FeeBook} from "./libraries/FeeBooks.sol";
import {MarketState, Parameters} from "./market/MarketState.sol";
import {Settling} from "./market/Settling.sol";
import {Verdicts} from "./market/Verdicts.sol";
import {Members, NodeSignature} from "./types/Committees.sol";
import {JobSpec, Receipt, Status} from "./types/Jobs.sol";
import {Account, TokenFee, Unbonding, Windows} from "./types/Money.sol";
import {Match, Request} from "./types/Orders.sol";

/// @title The market
/// @dev Documented in IMarket and the interfaces that it joins. Steps of running jobs are here; deposits, orders,
/// matches and challenges are passed to the TradeDesk, whose code runs in this contract's storage.
contract Market is Verdicts, Settling, IMarket {
    /// @inheritdoc IMarket
    address public immutable guardian;
    /// @inheritdoc IMarket
    address public immutable desk;

    /// @dev Registry and committee are deployed first, with this contract's address-to-be: each must name it.
    constructor(
        IAssetRegistry registry_,
        IOracleCommittee committee_,
        address guardian_,
        Windows memory minimums_,
        uint40 unbondingDelay_,
        uint16 requestFeeFactor_,
        TokenFee[] memory tokens
    ) MarketState(address(this), Parameters(registry_, committee_, unbondingDelay_, requestFeeFactor_)) {
        _checkServes(registry_.market());
        _checkServes(committee_.market());
        guardian = guardian_;
        Parameters memory parameters = Parameters(registry_, committee_, unbondingDelay_, requestFeeFactor_);
        desk = address(new TradeDesk(address(this), parameters, minimums_));
        for (uint256 i = 0; i < tokens.length; ++i) {
            _admit(tokens[i].token, tokens[i].fee);
        }
    }

    /// @inheritdoc ILedger
    function deposit(address, uint256) external payable {
        _runAtDesk();
    }

    /// @inheritdoc ILedger
    function depositFor(address, address, uint256) external payable {
        _runAtDesk();
    }

    /// @inheritdoc ILedger
    function depositWithPermit(address, uint256, uint256, uint8, bytes32, bytes32) external {
        _runAtDesk();
    }

    /// @inheritdoc ILedger
    function withdraw(address, uint256, address) external {
        _runAtDesk();
    }

    /// @inheritdoc ILedger
    function stake(address, uint256) external {
        _runAtDesk();
    }

    /// @inheritdoc ILedger
    function unstake(address, uint256) external {
        _runAtDesk();
    }

    /// @inheritdoc ILedger
    function finishUnstake(address) external {
        _runAtDesk();
    }

    /// @inheritdoc ILedger
    function claimFees(uint32, address, Members calldata, uint8) external {
        _runAtDesk();
    }

    /// @inheritdoc IOrders
    function cancelOrder(bytes32) external {
        _runAtDesk();
    }

    /// @inheritdoc IOrders
    function cancelAllOrders() external {
        _runAtDesk();
    }

    /// @inheritdoc IOrders
    function cancelRequest(Request calldata) external {
        _runAtDesk();
    }

    /// @inheritdoc IJobs
    function matchJob(Match calldata) external returns (bytes32) {
        _runAtDesk();
    }

    /// @inheritdoc IJobs
    function challenge(JobSpec calldata, Receipt calldata) external {
        _runAtDesk();
    }

    /// @inheritdoc IJobs
    function answerChallenge(
        JobSpec calldata,
        Receipt calldata,
        address,
        bool,
        Members calldata,
        NodeSignature[] calldata
    ) external {
        _runAtDesk();
    }

    /// @inheritdoc IJobs
    function closeChallenge(JobSpec calldata, Receipt calldata, address) external {
        _runAtDesk();
    }

    /// @inheritdoc IMarket
    function batch(bytes[] calldata calls) external returns (bool[] memory succeeded) {
        succeeded = new bool[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            bytes memory answer;
            // Into this very contract and as the same caller: no more power than the calls one by one.
            // solhint-disable-next-line avoid-low-level-calls
            (succeeded[i], answer) = address(this).delegatecall(calls[i]);
            if (!succeeded[i]) emit BatchEntryFailed(i, answer);
        }
    }

    /// @inheritdoc IMarket
    function setPaused(bool paused_) external {
        require(msg.sender == guardian, OnlyGuardian(msg.sender, guardian));
        _paused = paused_;
        emit MatchingPaused(paused_);
    }

    /// @inheritdoc ILedger
    function accountOf(address token, address holder) external view returns (Account memory) {
        return _accounts[token][holder];
    }

    /// @inheritdoc ILedger
    function unbondingOf(address token, address holder) external view returns (Unbonding memory) {
        return _unbonding[token][holder];
    }

    /// @inheritdoc ILedger
    function burnedOf(address token) external view returns (uint256) {
        return _burned[token];
    }

    /// @inheritdoc ILedger
    function feeBookOf(uint32 epoch, address token)
        external
        view
        returns (uint64 fee, uint8 members, uint8 threshold, uint16[] memory unclaimed)
    {
        FeeBook book = _books[epoch][token];
        (fee, members, threshold) = (book.fee(), book.members(), book.threshold());
        unclaimed = new uint16[](members);
        for (uint256 i = 0; i < members; ++i) {
            unclaimed[i] = book.unclaimed(i);
        }
    }

    /// @inheritdoc ILedger
    function tokenOf(address token) external view returns (bool admitted, uint64 fee) {
        Token memory found = _tokens[token];
        return (found.admitted, found.fee);
    }

    /// @inheritdoc ILedger
    function committee() external view returns (IOracleCommittee) {
        return _committee;
    }

    /// @inheritdoc ILedger
    function unbondingDelay() external view returns (uint40) {
        return _unbondingDelay;
    }

    /// @inheritdoc IOrders
    function generationOf(address signer) external view returns (uint64) {
        return _generations[signer];
    }

    /// @inheritdoc IOrders
    function usedOf(address signer, bytes32 orderHash) external view returns (uint256) {
        return _used[signer][orderHash];
    }

    /// @inheritdoc IJobs
    function jobOf(bytes32 requestHash) external view returns (Status status, uint40 deadline, uint208 commitment) {
        Slot memory slot = _slots[requestHash];
        return (slot.status, slot.deadline, slot.commitment);
    }

    /// @inheritdoc IJobs
    function bondOf(uint32 epoch, address token) external view returns (uint256) {
        return _bondOf(epoch, token);
    }

    /// @inheritdoc IJobs
    function registry() external view returns (IAssetRegistry) {
        return _registry;
    }

    /// @inheritdoc IJobs
    function paused() external view returns (bool) {
        return _paused;
    }

    /// @inheritdoc IJobs
    function minimumWindows() external view returns (Windows memory) {
        return TradeDesk(desk).minimumWindows();
    }

    /// @inheritdoc IJobs
    function requestFeeFactor() external view returns (uint16) {
        return _requestFeeFactor;
    }

    function _admit(address token, uint64 fee) private {
        require(!_tokens[token].admitted && (token == address(0) || token.code.length != 0), BadToken(token));
        _tokens[token] = Token({admitted: true, fee: fee});
        emit TokenAdmitted(token, fee);
    }

    function _checkServes(address named) private view {
        require(named == address(this), WrongMarket(named, address(this)));
    }

    /// Carry this call out with the desk's code, and answer as it does. Does not return.
    function _runAtDesk() private {
        address target = desk;
        // solhint-disable-next-line no-inline-assembly
        assembly {
            calldatacopy(0, 0, calldatasize())
            let succeeded := delegatecall(gas(), target, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if succeeded { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }
}
