// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Assertions} from "./testing/Assertions.sol";
import {SessionHandler} from "./testing/SessionHandler.sol";

/// @title What holds of services under every interleaving, beside batch jobs
contract SessionsInvariantTest is Assertions {
    SessionHandler private _handler;

    function setUp() public {
        _handler = new SessionHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_sessions_hold_what_bonds_tabs_and_royalties_are() public view {
        _check();
    }

    function invariant_everyone_can_take_what_is_theirs() public {
        _handler.endAll();
        _check();
    }

    function test_the_random_walk_reaches_every_step() public {
        uint256 seed = 5;
        for (uint256 i = 0; i < 400; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            _step(seed % 18, seed >> 8);
            if (i == 0) _closeAsked();
            if (i != 20) continue;
            // A job that ends without a last statement, which few walks have.
            _handler.endJob(1, 4);
            _handler.endService(1);
        }
        string[14] memory steps = [
            "fund",
            "take",
            "royalties",
            "redeem",
            "no redeem",
            "forged",
            "request",
            "confirm",
            "renewal",
            "close",
            "job end",
            "end",
            "batch",
            "slash"
        ];
        for (uint256 i = 0; i < steps.length; ++i) {
            assertTrue(_handler.reached(bytes32(bytes(steps[i]))) > 0, steps[i]);
        }
        _check();
        _handler.endAll();
        _check();
    }

    /// A request that nodes confirm while the tab is open, which few walks have.
    function _closeAsked() private {
        _handler.fund(0, 3, 100);
        _handler.requestClose(0, 3);
        _handler.confirmClose(0, 3, true);
    }

    function _check() private view {
        (uint256 got, uint256 expected) = _handler.held();
        assertEq(got, expected, "held by sessions");
        (uint256 deposited, uint256 accounted) = _handler.books();
        assertEq(accounted, deposited, "accounted");
        _handler.checkAccounts();
        _handler.checkProvider();
        _handler.checkOwners();
    }

    function _step(uint256 step, uint256 seed) private {
        if (step < 4) _handler.fund(seed, seed >> 8, seed >> 16);
        else if (step < 7) _handler.serve(seed, seed >> 8);
        else if (step < 9) _handler.redeem(seed, seed >> 8);
        else if (step == 9) _handler.redeemForged(seed, seed >> 8);
        else if (step == 10) _handler.requestClose(seed, seed >> 8);
        else if (step == 11) _handler.confirmClose(seed, seed >> 8, seed % 3 != 0);
        else if (step == 12) _handler.claimRenewal(seed);
        else if (step == 13) _handler.closeTab(seed, seed >> 8);
        else if (step == 14) _handler.takeBond(seed, seed % 100);
        else if (step == 15) _handler.payRoyalties(seed);
        else if (step == 16) _seldom(seed);
        else _handler.passTime(seed % 10);
    }

    function _seldom(uint256 seed) private {
        if (seed % 6 == 0) _handler.endJob(seed >> 8, seed >> 16);
        else if (seed % 6 == 1) _handler.endService(seed >> 8);
        else if (seed % 6 == 2) _handler.batchJob(seed >> 8);
        else if (seed % 6 == 3) _handler.slashBatch();
        else _handler.addBond(seed >> 8, seed >> 16);
    }
}
