// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ILedger} from "../interfaces/ILedger.sol";
import {ILedgerReceiver} from "../interfaces/ILedgerReceiver.sol";

/// @title A receiver of ledger transfers that can take, refuse, answer wrongly, or enter the ledger again
contract Receiver is ILedgerReceiver {
    enum Way {
        Take,
        Refuse,
        Answer,
        Forward,
        Overdraw
    }

    error Refused();

    Way private _way;
    /// keccak256 of what the last call said.
    bytes32 public seen;
    /// The receiver's free balance while it was called.
    uint256 public held;

    function become(Way way) external {
        _way = way;
    }

    function onLedgerTransfer(address token, address from, uint256 amount, bytes calldata data)
        external
        returns (bytes4)
    {
        ILedger ledger = ILedger(msg.sender);
        (seen, held) = (keccak256(abi.encode(token, from, amount, data)), ledger.accountOf(token, address(this)).free);
        if (_way == Way.Refuse) revert Refused();
        if (_way == Way.Answer) return 0xffffffff;
        if (_way == Way.Forward) ledger.transfer(token, from, amount);
        if (_way == Way.Overdraw) ledger.transfer(token, from, held + 1);
        return ILedgerReceiver.onLedgerTransfer.selector;
    }
}
