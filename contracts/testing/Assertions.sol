// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title The few assertions that the tests use; each names what it got and what it expected
abstract contract Assertions {
    error NotEqual(string what, uint256 got, uint256 expected);
    error NotTrue(string what);

    function assertEq(uint256 got, uint256 expected, string memory what) internal pure {
        require(got == expected, NotEqual(what, got, expected));
    }

    function assertEq(address got, address expected, string memory what) internal pure {
        require(got == expected, NotEqual(what, uint160(got), uint160(expected)));
    }

    function assertEq(bytes32 got, bytes32 expected, string memory what) internal pure {
        require(got == expected, NotEqual(what, uint256(got), uint256(expected)));
    }

    function assertTrue(bool condition, string memory what) internal pure {
        require(condition, NotTrue(what));
    }

    function bound(uint256 value, uint256 least, uint256 most) internal pure returns (uint256) {
        return value >= least && value <= most ? value : least + value % (most - least + 1);
    }
}
