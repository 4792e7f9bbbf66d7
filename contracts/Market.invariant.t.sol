// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Assertions} from "./testing/Assertions.sol";
import {Handler} from "./testing/Handler.sol";

/// @title What holds under every interleaving
contract MarketInvariantTest is Assertions {
    Handler private _handler;

    function setUp() public {
        _handler = new Handler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_money_is_conserved() public view {
        (uint256 held, uint256 accounted) = _handler.books();
        assertEq(accounted, held, "accounted");
        (uint256 coins, uint256 expected) = _handler.coins();
        assertEq(coins, expected, "coins");
    }

    function invariant_uses_and_budget_stay_within_the_terms() public view {
        _handler.checkMeters();
    }

    function invariant_no_job_outlasts_its_epoch() public view {
        _handler.checkEnd();
    }

    function invariant_a_job_settles_once_and_every_job_can_end() public {
        _handler.checkSettledOnce();
        _handler.endAll();
        (uint256 held, uint256 accounted) = _handler.books();
        assertEq(accounted, held, "accounted at the end");
    }

    function test_the_random_walk_reaches_every_step() public {
        uint256 seed = 7;
        for (uint256 i = 0; i < 400; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            _step(seed % 16, seed >> 8);
        }
        string[9] memory steps =
            ["match", "no match", "quote", "decide", "settle", "fail", "challenge", "answer", "close"];
        for (uint256 i = 0; i < steps.length; ++i) {
            assertTrue(_handler.reached(bytes32(bytes(steps[i]))) > 0, steps[i]);
        }
        (uint256 held, uint256 accounted) = _handler.books();
        assertEq(accounted, held, "accounted");
        _handler.endAll();
    }

    function test_the_random_walk_matches_on_both_sides_of_the_last_moment_of_an_epoch() public {
        uint256 seed = 11;
        for (uint256 i = 0; i < 60; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            // Ever nearer to the end: from four hours on, in steps of five minutes.
            _handler.matchNearEnd(3 * (i < 48 ? 4 hours - i * 5 minutes : 0), seed, seed >> 8, seed >> 16, seed >> 24);
            _handler.checkEnd();
            _step(4 + seed % 4, seed >> 8);
            _handler.replaceAsset(i);
        }
        assertTrue(_handler.reached("match near the end") > 0, "a match");
        assertTrue(_handler.reached("no match near the end") > 0, "no match");
    }

    function _step(uint256 step, uint256 seed) private {
        if (step < 4) _handler.make(seed, seed >> 9, seed >> 17, seed >> 25, seed >> 33);
        else if (step < 6) _handler.quote(seed);
        else if (step < 8) _handler.decide(seed, seed >> 16);
        else if (step == 8) _handler.settle(seed, seed >> 16, seed % 3 == 0);
        else if (step == 9) _handler.fail(seed, seed >> 16, seed >> 24);
        else if (step == 10) _handler.challenge(seed);
        else if (step == 11) _handler.answer(seed, seed % 2 == 0);
        else if (step == 12) _handler.closeOverdue(seed);
        else if (step == 13) _handler.passTime(seed % 50);
        else if (step == 14) _handler.replaceAsset(seed);
        else _handler.deposit(seed % 3, seed >> 16);
    }
}
