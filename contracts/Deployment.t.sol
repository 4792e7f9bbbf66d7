// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "./interfaces/IJobs.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {Fixture} from "./testing/Fixture.sol";
import {vm} from "./testing/Vm.sol";
import {TokenFee, Windows} from "./types/Money.sol";

/// @title Deployments that are refused
contract DeploymentTest is Fixture {
    function test_parts_that_do_not_name_the_market_are_refused() public {
        address endings = _endings(address(market));
        vm.expectPartialRevert(IJobs.WrongMarket.selector);
        _deploy(endings, Windows(60, 60, 60, 60), new TokenFee[](0));
    }

    function test_a_token_that_is_none_or_stands_twice_is_refused() public {
        TokenFee[] memory tokens = new TokenFee[](2);
        tokens[1] = TokenFee(address(0xbad), 1);
        _refuseTokens(tokens);
        tokens[1] = TokenFee(address(0), 1);
        _refuseTokens(tokens);
    }

    function test_windows_that_the_chains_finality_does_not_fit_into_are_refused() public {
        uint32 shortest = 2 * FINALITY;
        Windows[4] memory each = [
            Windows(shortest - 1, 60, 60, 60),
            Windows(60, shortest - 1, 60, 60),
            Windows(60, 60, TRANSFER + 4 * FINALITY - 1, 60),
            Windows(60, 60, 60, shortest - 1)
        ];
        for (uint256 i = 0; i < 4; ++i) {
            address endings = _endings(address(market));
            vm.expectPartialRevert(IJobs.OutOfBounds.selector);
            _deploy(endings, each[i], new TokenFee[](0));
        }
    }

    /// At the place that registry and committee name, so that nothing else is wrong.
    function _refuseTokens(TokenFee[] memory tokens) private {
        address endings = _endings(address(market));
        address place = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        vm.etch(address(registry), abi.encodePacked(hex"73", place, hex"5f5260205ff3"));
        vm.etch(address(committee), abi.encodePacked(hex"73", place, hex"5f5260205ff3"));
        vm.expectPartialRevert(ILedger.BadToken.selector);
        _deploy(endings, Windows(60, 60, 60, 60), tokens);
    }

    function _deploy(address endings, Windows memory minimums, TokenFee[] memory tokens) private {
        _create("Market.sol:Market", abi.encode(_parameters(), endings, minimums, tokens));
    }
}
