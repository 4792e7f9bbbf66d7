// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Adversary} from "./testing/Adversary.sol";
import {Assertions} from "./testing/Assertions.sol";
import {HonestParty} from "./testing/HonestParty.sol";
import {vm} from "./testing/Vm.sol";
import {Fault} from "./types/Jobs.sol";

/// @title An honest party against all others: it loses no more than the fault table and its own limits allow
abstract contract EconomicsInvariant is Assertions {
    /// Short walks, since each step looks at every job of its walk.
    uint256 private constant WALKS = 40;

    Adversary internal _adversary;
    Adversary[WALKS] private _walks;
    uint256 private _plays;

    function setUp() public {
        _adversary = _against(_honest());
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_adversary);
    }

    function invariant_an_honest_party_loses_no_more_than_it_signed() public view {
        _check();
    }

    function test_the_random_walk_reaches_every_step_and_row() public {
        for (uint256 i = 0; i < WALKS; ++i) {
            _walks[i] = _adversary = _against(_honest());
            _walk(50);
            _adversary.endAll();
            _check();
        }
        bytes32[] memory steps = _steps();
        for (uint256 i = 0; i < steps.length; ++i) {
            _assertReached(steps[i], string(abi.encodePacked(steps[i])));
        }
        for (uint256 fault = 0; fault <= uint256(type(Fault).max); ++fault) {
            if (_isAccusation(Fault(fault))) continue;
            _assertReached(bytes32(fault), string.concat("row ", vm.toString(fault)));
        }
    }

    function _assertReached(bytes32 step, string memory name) private view {
        uint256 count = 0;
        for (uint256 i = 0; i < WALKS; ++i) {
            count += _walks[i].reached(step);
        }
        assertTrue(count > 0, name);
    }

    function test_the_model_notices_a_party_that_gives_its_money_away() public {
        _walk(150);
        _adversary.endAll();
        _check();
        _adversary.squander();
        assertTrue(_losesTooMuch(), "noticed");
    }

    /// The honest party of this walk.
    function _honest() internal pure virtual returns (HonestParty.Party);

    /// The steps that only this walk has, beside those of every walk.
    function _own() internal pure virtual returns (bytes32[] memory);

    /// Rows that end no job of an honest party.
    function _isAccusation(Fault fault) internal pure virtual returns (bool);

    function _check() internal view {
        assertTrue(bytes(_adversary.broken()).length == 0, _adversary.broken());
        assertTrue(!_adversary.losesTooMuch() && !_losesTooMuch(), "lost more than its limits and the table allow");
        _adversary.checkUses();
        _adversary.checkHeld();
    }

    function _losesTooMuch() internal view returns (bool) {
        (int256 lost, int256 allowed) = _adversary.loss();
        return lost > allowed;
    }

    function _walk(uint256 plays) internal {
        for (uint256 i = 0; i < plays; ++i) {
            _adversary.play(++_plays);
        }
    }

    function _steps() private pure returns (bytes32[] memory steps) {
        bytes32[11] memory all = [
            bytes32("match"),
            "no match",
            "quote",
            "decide",
            "settle",
            "fail",
            "post",
            "stop",
            "minority",
            "tighten",
            "batch"
        ];
        bytes32[] memory own = _own();
        steps = new bytes32[](all.length + own.length);
        for (uint256 i = 0; i < steps.length; ++i) {
            steps[i] = i < all.length ? all[i] : own[i - all.length];
        }
    }

    /// From the artifact, as the fixture makes its contracts.
    function _against(HonestParty.Party honest) private returns (Adversary made) {
        bytes memory code = abi.encodePacked(vm.getCode("Adversary.sol:Adversary"), abi.encode(honest));
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
        assertTrue(address(made) != address(0), "made");
    }
}

contract HonestConsumerInvariantTest is EconomicsInvariant {
    function test_the_model_notices_a_consumer_that_does_not_challenge() public {
        _adversary.fallAsleep();
        _walk(150);
        assertTrue(_adversary.losesTooMuch(), "noticed");
    }

    function _honest() internal pure override returns (HonestParty.Party) {
        return HonestParty.Party.Consumer;
    }

    function _own() internal pure override returns (bytes32[] memory own) {
        own = new bytes32[](7);
        (own[0], own[1], own[2], own[3]) = ("acknowledge", "challenge", "answer", "report");
        (own[4], own[5], own[6]) = ("interrupted", "revoke", "cancel");
    }

    function _isAccusation(Fault) internal pure override returns (bool) {
        return false;
    }
}

contract HonestProviderInvariantTest is EconomicsInvariant {
    function test_the_model_notices_a_provider_that_does_not_settle() public {
        _adversary.fallAsleep();
        _walk(150);
        assertTrue(_adversary.losesTooMuch(), "noticed");
    }

    function _honest() internal pure override returns (HonestParty.Party) {
        return HonestParty.Party.Provider;
    }

    function _own() internal pure override returns (bytes32[] memory own) {
        own = new bytes32[](6);
        (own[0], own[1], own[2]) = ("report", "complain", "end without shares");
        (own[3], own[4], own[5]) = ("end after a stop", "challenge", "unspent");
    }

    function _isAccusation(Fault fault) internal pure override returns (bool) {
        return fault == Fault.NoQuote || fault == Fault.PlatformRefused || fault == Fault.EvidenceWithheld
            || fault == Fault.ProviderSilent || fault == Fault.ResultWithheld;
    }
}

contract HonestOwnerInvariantTest is EconomicsInvariant {
    function _honest() internal pure override returns (HonestParty.Party) {
        return HonestParty.Party.Owner;
    }

    function _own() internal pure override returns (bytes32[] memory own) {
        own = new bytes32[](5);
        (own[0], own[1], own[2]) = ("challenge", "answer", "report");
        (own[3], own[4]) = ("interrupted", "cancel");
    }

    function _isAccusation(Fault) internal pure override returns (bool) {
        return false;
    }
}
