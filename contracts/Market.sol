// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "./interfaces/IJobs.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {Delegating} from "./market/Delegating.sol";
import {MarketState, Parameters} from "./market/MarketState.sol";
import {Matching} from "./market/Matching.sol";
import {Settling} from "./market/Settling.sol";
import {Verdicts} from "./market/Verdicts.sol";
import {TokenFee, Windows} from "./types/Money.sol";

/// @title The market
/// @dev Answers everything in IMarket. The steps that every job takes are here, so that they cost least. All other
/// calls are passed to the MarketEndings, and from there to the MarketExtension, whose code runs in this contract's
/// storage.
contract Market is Matching, Verdicts, Settling, Delegating {
    /// Gas that a batch keeps for itself at each entry: reporting its failure.
    uint256 private constant _BATCH_RESERVE = 20_000;

    /// See {IMarket-endings}.
    address public immutable endings;

    /// @dev Registry, committee and the other code are deployed first, with this contract's address-to-be.
    constructor(
        Parameters memory parameters,
        address endings_,
        Windows memory minimums,
        TokenFee[] memory tokens
    )
        MarketState(address(this), parameters)
        Matching(minimums)
    {
        _checkServes(parameters.registry.market());
        _checkServes(parameters.committee.market());
        if (endings_.code.length == 0) revert IJobs.WrongMarket(endings_, address(this));
        endings = endings_;
        for (uint256 i = 0; i < tokens.length; ++i) {
            _admit(tokens[i].token, tokens[i].fee);
        }
    }

    // solhint-disable-next-line no-complex-fallback
    fallback() external payable {
        _delegate(endings);
    }

    /// See {IMarket-batch}.
    function batch(bytes[] calldata calls, uint256 gasEach) external returns (bool[] memory succeeded) {
        succeeded = new bool[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            // A call can be given at most 63/64 of what is left (EIP-150).
            if (gasleft() < gasEach + gasEach / 32 + _BATCH_RESERVE) {
                emit IJobs.BatchEntryFailed(i, abi.encodePacked(IJobs.NotEnoughGas.selector));
                continue;
            }
            bytes memory reason;
            (succeeded[i], reason) = _callSelf(calls[i], gasEach);
            if (!succeeded[i]) emit IJobs.BatchEntryFailed(i, reason);
        }
    }

    /// Into this very contract and as the same caller: no more power than the calls one by one.
    /// @return succeeded Whether the call went through. @return reason The first 256 bytes of its revert data.
    function _callSelf(bytes calldata entry, uint256 gasEach) private returns (bool succeeded, bytes memory reason) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            reason := mload(0x40)
            calldatacopy(reason, entry.offset, entry.length)
            succeeded := delegatecall(gasEach, address(), reason, entry.length, 0, 0)
            let size := returndatasize()
            if gt(size, 256) { size := 256 }
            if succeeded { size := 0 }
            mstore(reason, size)
            returndatacopy(add(reason, 0x20), 0, size)
            mstore(0x40, add(add(reason, 0x20), 256))
        }
    }

    function _admit(address token, uint64 fee) private {
        if (_tokens[token].admitted || (token != address(0) && token.code.length == 0)) {
            revert ILedger.BadToken(token);
        }
        _tokens[token] = Token({admitted: true, fee: fee});
        emit ILedger.TokenAdmitted(token, fee);
    }

    function _checkServes(address named) private view {
        if (named != address(this)) revert IJobs.WrongMarket(named, address(this));
    }
}
