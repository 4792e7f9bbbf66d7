// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "./IJobs.sol";
import {ILedger} from "./ILedger.sol";
import {IOrders} from "./IOrders.sol";

/// @title The market: orders, jobs, and the ledger that they move
/// @dev No proxy, no owner. EIP-712 domain: name "Sealmarket", version "1", the live chain id, this contract.
interface IMarket is ILedger, IOrders, IJobs {
    /// @notice Run several calls as the caller; one that fails is reported and does not revert the others.
    /// @param calls ABI-encoded calls of this contract. No coin can be sent along.
    /// @param gasEach Gas that each call gets, and no more: none can use up what the others need. A call for which
    /// that much is not left is reported as failed, and so are those after it.
    /// @return succeeded Whether each call went through.
    function batch(bytes[] calldata calls, uint256 gasEach) external returns (bool[] memory succeeded);

    /// @notice Stop or resume new matches. Guardian only; running jobs are not affected.
    function setPaused(bool paused) external;

    /// @notice Record the hash of an epoch's members after a removal. Committee contract only.
    function noteRemoved(uint32 epoch, bytes32 membersHash) external;

    /// @notice Record the end of an epoch when it is announced. Committee contract only.
    function noteEnd(uint32 epoch, uint40 endsAt) external;

    /// @notice Who may pause new matches.
    function guardian() external view returns (address);

    /// @notice The contract whose code answers all calls but matchJob, quote, decide, settle, minimumWindows and batch,
    /// in this one's storage; fixed for good.
    function endings() external view returns (address);

    /// @notice The contract to which that one passes what it does not answer itself, likewise.
    function extension() external view returns (address);
}
