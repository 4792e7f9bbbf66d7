// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {ILedger} from "./interfaces/ILedger.sol";
import {IJobs} from "./interfaces/IJobs.sol";
import {Fixture} from "./testing/Fixture.sol";
import {Receiver} from "./testing/Receivers.sol";
import {Accomplice, OddToken} from "./testing/Tokens.sol";
import {vm} from "./testing/Vm.sol";
import {Refuser} from "./testing/Wallets.sol";
import {JobSpec, Outcome} from "./types/Jobs.sol";
import {Account} from "./types/Money.sol";

/// @title Money in, money out, and tokens that do not behave
contract LedgerTest is Fixture {
    function test_amounts_that_do_not_add_up_are_refused() public {
        vm.deal(address(this), 100);
        _refuse(abi.encodeCall(ILedger.deposit, (address(0), 5)), ILedger.WrongValue.selector);
        _refuse(abi.encodeCall(ILedger.deposit, (address(0), 0)), ILedger.ZeroAmount.selector);
        _refuse(abi.encodeCall(ILedger.deposit, (address(0xbad), 5)), ILedger.TokenNotAdmitted.selector);
        _refuse(
            abi.encodeCall(ILedger.depositFor, (address(0), address(0), 5)), ILedger.ZeroAddress.selector
        );
        _refuse(
            abi.encodeCall(ILedger.withdraw, (address(0), 1, address(this))), ILedger.InsufficientBalance.selector
        );
        _refuse(
            consumer, abi.encodeCall(ILedger.withdraw, (address(0), 1, address(0))), ILedger.ZeroAddress.selector
        );
        _refuse(
            consumer, abi.encodeCall(ILedger.withdraw, (address(0), 0, consumer)), ILedger.ZeroAmount.selector
        );
        _refuse(
            consumer, abi.encodeCall(ILedger.stake, (address(0), FUNDS + 1)), ILedger.InsufficientBalance.selector
        );
        _refuse(consumer, abi.encodeCall(ILedger.unstake, (address(0), 1)), ILedger.InsufficientStake.selector);
        _refuse(consumer, abi.encodeCall(ILedger.finishUnstake, (address(0))), ILedger.NotUnbonded.selector);
        _refuse(
            abi.encodeCall(ILedger.depositWithPermit, (address(0), 1, 0, 0, 0, 0)), ILedger.TokenNotAdmitted.selector
        );
        vm.expectRevert();
        market.deposit{value: 5}(address(plain), 5);
    }

    function test_coin_that_comes_without_a_call_is_refused() public {
        vm.deal(address(this), 5);
        // solhint-disable-next-line avoid-low-level-calls
        (bool sent, bytes memory reason) = address(market).call{value: 5}("");
        assertTrue(!sent, "refused");
        assertEq(bytes32(bytes4(reason)), bytes32(ILedger.WrongValue.selector), "error");
        _refuse(hex"deadbeef", bytes4(0));
    }

    function test_more_than_an_account_can_hold_is_refused() public {
        plain.mint(address(this), type(uint128).max);
        plain.approve(address(market), type(uint256).max);
        _refuse(
            abi.encodeCall(ILedger.deposit, (address(plain), uint256(type(uint88).max) + 1)),
            ILedger.AmountTooLarge.selector
        );
    }

    function test_a_receiver_that_refuses_coin_keeps_its_balance() public {
        address refuser = address(new Refuser());
        vm.prank(consumer);
        vm.expectPartialRevert(ILedger.CoinTransferFailed.selector);
        market.withdraw(address(0), 10, refuser);
        assertEq(market.accountOf(address(0), consumer).free, FUNDS, "balance");
    }

    function test_a_token_that_charges_on_transfer_is_refused() public {
        _give(OddToken.Way.Charging, address(0));
        _refuse(abi.encodeCall(ILedger.deposit, (address(odd), 1_000)), ILedger.WrongAmountReceived.selector);
    }

    function test_a_token_that_enters_again_while_it_pays_in_is_refused() public {
        Accomplice accomplice = new Accomplice(odd);
        odd.mint(address(accomplice), 1_000);
        accomplice.prepare(market, 500);
        _give(OddToken.Way.Depositing, address(accomplice));
        _refuse(abi.encodeCall(ILedger.deposit, (address(odd), 1_000)), ILedger.WrongAmountReceived.selector);
        _give(OddToken.Way.Withdrawing, address(accomplice));
        _refuse(abi.encodeCall(ILedger.deposit, (address(odd), 1_000)), ILedger.WrongAmountReceived.selector);
    }

    function test_a_token_that_reverts_holds_up_its_own_withdrawals_only() public {
        _give(OddToken.Way.Plain, address(0));
        market.deposit(address(odd), 1_000);
        odd.behave(OddToken.Way.Reverting, market, address(0));
        vm.expectRevert();
        market.withdraw(address(odd), 1_000, address(this));
        vm.prank(consumer);
        market.withdraw(address(0), FUNDS, consumer);
        assertEq(market.accountOf(address(odd), address(this)).free, 1_000, "the odd token's balance stands");
    }

    function test_a_token_that_returns_nothing_moves_all_the_same() public {
        _give(OddToken.Way.Silent, address(0));
        market.deposit(address(odd), 5_000);
        market.withdraw(address(odd), 2_000, address(0xd00d));
        assertEq(odd.balanceOf(address(0xd00d)), 2_000, "withdrawn");
        assertEq(market.accountOf(address(odd), address(this)).free, 3_000, "left");
    }

    function test_a_token_that_returns_false_is_not_taken_at_its_word_for_anything() public {
        _give(OddToken.Way.Plain, address(0));
        market.deposit(address(odd), 1_000);
        odd.behave(OddToken.Way.Denying, market, address(0));
        _refuse(abi.encodeCall(ILedger.deposit, (address(odd), 1_000)), SafeERC20.SafeERC20FailedOperation.selector);
        _refuse(
            abi.encodeCall(ILedger.withdraw, (address(odd), 1_000, address(this))),
            SafeERC20.SafeERC20FailedOperation.selector
        );
        assertEq(market.accountOf(address(odd), address(this)).free, 1_000, "the balance stands");
    }

    function test_a_charge_that_begins_later_strands_nothing() public {
        _give(OddToken.Way.Plain, address(0));
        market.deposit(address(odd), 3_000);
        odd.behave(OddToken.Way.Charging, market, address(0));
        _refuse(abi.encodeCall(ILedger.deposit, (address(odd), 1_000)), ILedger.WrongAmountReceived.selector);
        market.withdraw(address(odd), 3_000, address(0xd00d));
        assertEq(odd.balanceOf(address(0xd00d)), 2_970, "less the token's charge");
        assertEq(odd.balanceOf(address(market)), 0, "nothing stays behind");
    }

    function test_a_holder_that_the_token_blocks_withdraws_to_another_address() public {
        _give(OddToken.Way.Plain, address(0));
        market.deposit(address(odd), 3_000);
        odd.behave(OddToken.Way.Blocking, market, address(this));
        _refuse(
            abi.encodeCall(ILedger.withdraw, (address(odd), 3_000, address(this))), OddToken.Blocked.selector
        );
        market.withdraw(address(odd), 3_000, address(0xbeef));
        assertEq(odd.balanceOf(address(0xbeef)), 3_000, "went elsewhere");
    }

    /// What a job credits is a number in the ledger: a blocked party holds up no end of a job.
    function test_a_blocked_party_holds_up_no_job() public {
        token = address(odd);
        for (uint256 i = 0; i < 2; ++i) {
            odd.mint(address(this), FUNDS);
            odd.approve(address(market), FUNDS);
            market.depositFor(address(odd), i == 0 ? consumer : provider, FUNDS);
        }
        vm.prank(provider);
        market.stake(address(odd), FUNDS / 2);
        JobSpec memory spec = _accepted(1);
        odd.behave(OddToken.Way.Blocking, market, provider);
        _settle(spec, 1, true);
        assertEq(_free(provider), FUNDS / 2 + COMPUTE + UNIT, "provider");
        vm.prank(provider);
        market.withdraw(address(odd), COMPUTE, address(0xbeef));
    }

    function test_a_permit_that_fails_pays_in_by_the_allowance_that_stands() public {
        _give(OddToken.Way.Silent, address(0));
        market.depositWithPermit(address(odd), 1_000, block.timestamp, 27, bytes32(uint256(1)), bytes32(uint256(2)));
        assertEq(market.accountOf(address(odd), address(this)).free, 1_000, "free");
    }

    function _give(OddToken.Way way, address accomplice) private {
        odd.behave(OddToken.Way.Plain, market, address(0));
        odd.mint(address(this), 10_000);
        odd.approve(address(market), type(uint256).max);
        odd.behave(way, market, accomplice);
    }

    function test_stake_unbonds_after_the_delay_and_not_before() public {
        vm.prank(provider);
        market.unstake(address(0), 100);
        vm.warp(block.timestamp + 1 days - 1);
        _refuse(provider, abi.encodeCall(ILedger.finishUnstake, (address(0))), ILedger.NotUnbonded.selector);
        vm.warp(block.timestamp + 1);
        vm.prank(provider);
        market.finishUnstake(address(0));
        assertEq(market.accountOf(address(0), provider).free, FUNDS / 2 + 100, "free");
        _refuse(provider, abi.encodeCall(ILedger.finishUnstake, (address(0))), ILedger.NotUnbonded.selector);
    }

    function test_a_permit_pays_in_even_if_somebody_submitted_it_first() public {
        address holder = vm.addr(0x77);
        plain.mint(holder, 500);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                holder,
                address(market),
                uint256(500),
                uint256(0),
                type(uint256).max
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(0x77, keccak256(abi.encodePacked(hex"1901", plain.DOMAIN_SEPARATOR(), structHash)));
        plain.permit(holder, address(market), 500, type(uint256).max, v, r, s);
        vm.prank(holder);
        market.depositWithPermit(address(plain), 500, type(uint256).max, v, r, s);
        assertEq(market.accountOf(address(plain), holder).free, 500, "free");
    }

    function test_a_job_in_an_erc20_token_moves_that_token_only() public {
        token = address(plain);
        _decide(_quoted(1), Outcome.TermsRefused);
        assertEq(_free(consumer), FUNDS - 2 * FEE, "token");
        assertEq(market.accountOf(address(0), consumer).free, FUNDS, "coin");
    }

    function test_fees_are_claimed_once_and_by_the_right_member() public {
        _decide(_quoted(1), Outcome.TermsRefused);
        market.claimFees(1, address(0), _members(), 2);
        market.claimFees(1, address(0), _members(), 1);
        market.claimFees(1, address(0), _members(), 1);
        assertEq(_free(_signers(3)[1]), FEE, "signed once");
        assertEq(_free(_signers(3)[2]), 0, "did not sign");
        _refuse(
            abi.encodeCall(ILedger.claimFees, (1, address(0), _members(2), 0)), IJobs.WrongCommittee.selector
        );
        _refuse(
            abi.encodeCall(ILedger.claimFees, (1, address(plain), _members(), 0)), ILedger.FeeBookNotOpened.selector
        );
    }

    function test_a_transfer_that_does_not_add_up_is_refused() public {
        _refuse(consumer, _moving(address(0), 1), ILedger.ZeroAddress.selector);
        _refuse(consumer, _moving(sponsor, 0), ILedger.ZeroAmount.selector);
        _refuse(consumer, _moving(sponsor, FUNDS + 1), ILedger.InsufficientBalance.selector);
        _refuse(provider, _moving(sponsor, FUNDS / 2 + 1), ILedger.InsufficientBalance.selector);
        assertEq(_free(sponsor), FUNDS, "sponsor");
    }

    function test_a_transfer_moves_one_token_between_two_accounts_and_nothing_else() public {
        JobSpec memory spec = _accepted(1);
        (uint256 before, uint256 coins) = (_free(consumer), address(market).balance);
        vm.prank(consumer);
        market.transfer(address(0), sponsor, 400);
        assertEq(_free(consumer), before - 400, "from");
        assertEq(_free(sponsor), FUNDS + 400, "to");
        assertEq(market.accountOf(address(plain), sponsor).free, FUNDS, "another token");
        assertEq(address(market).balance, coins, "no coin moved");
        _settle(spec, 1, true);
    }

    function test_a_transfer_to_oneself_changes_nothing() public {
        vm.prank(consumer);
        market.transfer(address(0), consumer, FUNDS);
        assertEq(_free(consumer), FUNDS, "balance");
    }

    function test_a_receiver_that_does_not_take_a_transfer_has_none() public {
        Receiver receiver = new Receiver();
        _refuse(consumer, _calling(sponsor), ILedger.TransferNotTaken.selector);
        receiver.become(Receiver.Way.Refuse);
        _refuse(consumer, _calling(address(receiver)), Receiver.Refused.selector);
        receiver.become(Receiver.Way.Answer);
        _refuse(consumer, _calling(address(receiver)), ILedger.TransferNotTaken.selector);
        receiver.become(Receiver.Way.Overdraw);
        _refuse(consumer, _calling(address(receiver)), ILedger.InsufficientBalance.selector);
        assertEq(_free(consumer), FUNDS, "balance");
        assertEq(_free(address(receiver)), 0, "nothing");
    }

    function test_a_receiver_learns_of_a_transfer_that_it_has_already() public {
        Receiver receiver = new Receiver();
        vm.prank(consumer);
        market.transferAndCall(address(0), address(receiver), 300, hex"c0ffee");
        assertEq(receiver.held(), 300, "while it was called");
        assertEq(receiver.seen(), keccak256(abi.encode(address(0), consumer, 300, hex"c0ffee")), "what it learned");
        receiver.become(Receiver.Way.Forward);
        vm.prank(consumer);
        market.transferAndCall(address(0), address(receiver), 200, "");
        assertEq(_free(consumer), FUNDS - 300, "came back");
        assertEq(_free(address(receiver)), 300, "kept");
    }

    function testFuzz_transfers_keep_the_sum(uint88 first, uint88 second) public {
        uint256 there = bound(first, 1, FUNDS);
        uint256 back = bound(second, 1, there + FUNDS);
        vm.prank(consumer);
        market.transfer(address(0), sponsor, there);
        vm.prank(sponsor);
        market.transfer(address(0), consumer, back);
        assertEq(_free(consumer), FUNDS - there + back, "first");
        assertEq(_free(sponsor), FUNDS + there - back, "second");
    }

    function _moving(address to, uint256 amount) private pure returns (bytes memory) {
        return abi.encodeCall(ILedger.transfer, (address(0), to, amount));
    }

    function _calling(address to) private pure returns (bytes memory) {
        return abi.encodeCall(ILedger.transferAndCall, (address(0), to, 300, ""));
    }

    function testFuzz_what_comes_in_is_what_goes_out(uint96 paidIn, uint96 staked, uint96 out) public {
        uint256 amount = bound(paidIn, 1, type(uint80).max);
        uint256 part = bound(staked, 0, amount);
        address holder = address(0x4017);
        vm.deal(address(this), amount);
        market.depositFor{value: amount}(address(0), holder, amount);
        if (part != 0) {
            vm.prank(holder);
            market.stake(address(0), part);
        }
        uint256 taken = bound(out, 0, amount - part);
        if (taken != 0) {
            vm.prank(holder);
            market.withdraw(address(0), taken, holder);
        }
        Account memory account = market.accountOf(address(0), holder);
        assertEq(account.free, amount - part - taken, "free");
        assertEq(account.staked, part, "staked");
        assertEq(holder.balance, taken, "out");
    }
}
