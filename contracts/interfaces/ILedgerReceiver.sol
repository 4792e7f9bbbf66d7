// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title A contract with an account in the market's ledger that acts on what is paid into it
interface ILedgerReceiver {
    /// @notice `from` has moved `amount` to this contract's account. Called by the market, within `transferAndCall`.
    /// @dev A receiver MUST refuse every caller but its market.
    /// @param data What the sender passed along.
    /// @return This function's selector, to take the transfer.
    function onLedgerTransfer(address token, address from, uint256 amount, bytes calldata data)
        external
        returns (bytes4);
}
