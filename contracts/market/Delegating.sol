// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ILedger} from "../interfaces/ILedger.sol";

/// @title Passing a call on to code that runs in this contract's storage
abstract contract Delegating {
    /// Coin comes in by `deposit` alone.
    receive() external payable {
        revert ILedger.WrongValue(msg.value, 0);
    }

    /// Run the call with the code at `target`, and return or revert as it does. Does not return to its caller.
    function _delegate(address target) internal {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, 0, calldatasize())
            let succeeded := delegatecall(gas(), target, free, calldatasize(), 0, 0)
            returndatacopy(free, 0, returndatasize())
            if succeeded { return(free, returndatasize()) }
            revert(free, returndatasize())
        }
    }
}
