// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "./IAssetRegistry.sol";
import {IJobs} from "./IJobs.sol";
import {ILedger} from "./ILedger.sol";
import {IOracleCommittee} from "./IOracleCommittee.sol";
import {IOrders} from "./IOrders.sol";
import {Windows} from "../types/Money.sol";

/// @title The market: orders, jobs, and the ledger that they move
/// @dev No proxy, no owner. EIP-712 domain: name "Sealmarket", version "1", the live chain id, this contract.
interface IMarket is ILedger, IOrders, IJobs {
    /// @notice Run several calls as the caller; one that fails is reported and does not spoil the others.
    /// @param calls ABI-encoded calls of this contract. No coin can be sent along.
    /// @return succeeded Whether each call went through.
    function batch(bytes[] calldata calls) external returns (bool[] memory succeeded);

    /// @notice Stop or resume new matches. Guardian only; running jobs are out of its reach.
    function setPaused(bool paused) external;

    function paused() external view returns (bool);

    function guardian() external view returns (address);

    function registry() external view returns (IAssetRegistry);

    function committee() external view returns (IOracleCommittee);

    /// @notice The shortest windows that a request may ask for, in seconds; the longest is 30 days each.
    function minimumWindows() external view returns (Windows memory);

    /// @notice The fixed fee for a refused request, as a multiple of the fee of one oracle signature.
    function requestFeeFactor() external view returns (uint16);
}
