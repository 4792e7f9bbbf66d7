// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Escrow} from "./libraries/Escrows.sol";
import {FaultTable} from "./libraries/FaultTable.sol";
import {Assertions} from "./testing/Assertions.sol";
import {Ending, Rows} from "./testing/Rows.sol";
import {vm} from "./testing/Vm.sol";
import {Fault, Payout, Status} from "./types/Jobs.sol";
import {Tally} from "./types/Money.sol";

/// @title The fault table by itself: each row's amounts, and that each row pays out exactly what the job holds
contract FaultTableTest is Assertions {
    uint256 private constant FAULTS = uint256(type(Fault).max) + 1;
    uint256 private constant ASSETS = 3;

    /// What an external call gives for a row that reverts.
    function rowOf(Ending calldata ending) external pure returns (Payout memory) {
        return Rows.rowOf(ending);
    }

    // ---- refusals ----

    function test_a_row_that_pays_more_than_the_job_holds_reverts() public {
        Ending memory ending = _example(Fault.WorkloadFailed);
        ending.used = ending.escrow.metered + 1;
        vm.expectRevert();
        this.rowOf(ending);
    }

    // ---- conservation ----

    function testFuzz_every_row_pays_out_what_the_job_holds(
        uint80[3] memory prices,
        uint80[11] memory amounts
    ) public pure {
        for (uint256 i = 0; i < FAULTS; ++i) {
            Fault fault = Fault(i);
            Ending memory ending = _ending(fault, prices, amounts);
            Payout memory row = Rows.rowOf(ending);
            assertEq(Rows.moneyOut(ending, row), Rows.moneyIn(ending), "money out of a row");
        }
    }

    function testFuzz_a_settlement_divides_the_compute_price(uint80 compute, uint80 metered, uint80 used) public pure {
        (uint256 refunded, uint256 payable_) = FaultTable.settlement(compute, metered, bound(used, 0, metered));
        assertEq(refunded + payable_, uint256(compute) + metered, "money out of a settlement");
    }

    // ---- the rows ----

    /// O = 600, C = 50, U = 40, u = 15, P = 70, H = 8; F - f = 9 and f = 6; bond 30, answer fees 11; T = 30, L = 330.
    function test_each_row_pays_what_the_documentation_says() public pure {
        _assertRow(Fault.None, [uint256(0), 65 + 19, 670, 0, 0, 0]);
        _assertRow(Fault.NoQuote, [uint256(707), 0, 600, 70, 0, 0]);
        _assertRow(Fault.PlatformRefused, [uint256(707) + 6, 0, 600, 64, 0, 0]);
        _assertRow(Fault.RequestRefused, [uint256(699), 0, 670, 8, 0, 0]);
        _assertRow(Fault.TermsRefused, [uint256(707), 0, 670, 0, 0, 0]);
        _assertRow(Fault.InputRefused, [uint256(707), 0, 670, 0, 0, 0]);
        _assertRow(Fault.EvidenceWithheld, [uint256(707) + 6, 0, 600, 64, 0, 0]);
        _assertRow(Fault.CommitteeSilent, [uint256(707), 0, 670, 0, 0, 0]);
        _assertRow(Fault.Withdrawn, [uint256(699), 0, 670, 8, 0, 0]);
        _assertRow(Fault.StoppedBeforeRelease, [uint256(690), 0, 670, 0, 0, 0]);
        _assertRow(Fault.SharesMissing, [uint256(690), 0, 670, 0, 0, 0]);
        _assertRow(Fault.InputFailed, [uint256(690), 0, 670, 0, 0, 0]);
        _assertRow(Fault.WorkloadFailed, [uint256(25), 65, 670, 0, 7, 600]);
        _assertRow(Fault.WorkloadTimedOut, [uint256(360), 30, 670, 0, 7, 300]);
        _assertRow(Fault.ValidatorTimedOut, [uint256(360), 30, 670, 0, 7, 300]);
        _assertRow(Fault.ReaderTimedOut, [uint256(690), 0, 670, 0, 0, 0]);
        _assertRow(Fault.ProviderSilent, [uint256(696), 0, 0, 64, 7, 600]);
        _assertRow(Fault.ResultWithheld, [uint256(671), 0, 0, 70 - 11 - 6, 0, 0]);
    }

    function test_owners_and_provider_get_their_prices_where_the_timeout_limit_allows() public pure {
        Ending memory ending = _example(Fault.WorkloadTimedOut);
        ending.timeoutLimit = 1_000;
        Payout memory row = Rows.rowOf(ending);
        assertEq(row.ownersTotal, 600, "owners");
        assertEq(row.refunded, 60, "payer");
        ending.timeoutFee = 91;
        assertEq(Rows.rowOf(ending).paid, 90, "no more than the payer locked for the work");
        ending.timeoutLimit = 20;
        row = Rows.rowOf(ending);
        assertEq(row.paid, 20, "the limit covers the provider first");
        assertEq(row.ownersPaid, 0, "owners");
    }

    function test_each_row_names_its_end_state_its_counter_and_whether_uses_return() public pure {
        _assertEffects(Fault.None, Status.Matured, Tally.Settled, false);
        _assertEffects(Fault.NoQuote, Status.Expired, Tally.Expired, true);
        _assertEffects(Fault.PlatformRefused, Status.Refused, Tally.Refused, true);
        _assertEffects(Fault.RequestRefused, Status.Refused, Tally.None, true);
        _assertEffects(Fault.TermsRefused, Status.Refused, Tally.None, true);
        _assertEffects(Fault.InputRefused, Status.Refused, Tally.None, true);
        _assertEffects(Fault.EvidenceWithheld, Status.Refused, Tally.Refused, true);
        _assertEffects(Fault.CommitteeSilent, Status.Expired, Tally.None, true);
        _assertEffects(Fault.StoppedBeforeRelease, Status.Stopped, Tally.None, true);
        _assertEffects(Fault.SharesMissing, Status.Expired, Tally.None, true);
        _assertEffects(Fault.InputFailed, Status.Failed, Tally.None, true);
        _assertEffects(Fault.WorkloadTimedOut, Status.Failed, Tally.Failed, false);
        _assertEffects(Fault.ValidatorTimedOut, Status.Failed, Tally.Failed, false);
        _assertEffects(Fault.ReaderTimedOut, Status.Failed, Tally.None, true);
        _assertEffects(Fault.WorkloadFailed, Status.Failed, Tally.Failed, false);
        _assertEffects(Fault.ProviderSilent, Status.Expired, Tally.Expired, false);
        _assertEffects(Fault.ResultWithheld, Status.Expired, Tally.Expired, false);
        _assertEffects(Fault.Withdrawn, Status.Cancelled, Tally.None, true);
    }

    function test_the_challenger_pays_for_an_answer_what_the_penalty_does_not_cover() public pure {
        Ending memory ending = _example(Fault.ResultWithheld);
        assertEq(Rows.bondReturned(ending), 30, "bond, covered penalty");
        ending.escrow.penalty = 4;
        assertEq(Rows.bondReturned(ending), 30 - 7, "bond, uncovered penalty");
        Payout memory row = Rows.rowOf(ending);
        assertEq(row.burned, 0, "burned");
    }

    /// @param expected Payer, provider, stake returned, burned, bitmap of the owners paid, and what they got.
    function _assertRow(Fault fault, uint256[6] memory expected) private pure {
        Payout memory got = Rows.rowOf(_example(fault));
        assertEq(got.refunded, expected[0], "payer");
        assertEq(got.paid, expected[1], "provider");
        assertEq(got.stakeReturned, expected[2], "stake");
        assertEq(got.burned, expected[3], "burned");
        assertEq(got.ownersPaid, expected[4], "owners");
        assertEq(got.ownersTotal, expected[5], "owners' sum");
    }

    function _assertEffects(Fault fault, Status status, Tally tally, bool usesReturn) private pure {
        assertEq(uint256(FaultTable.statusOf(fault)), uint256(status), "status");
        assertEq(uint256(FaultTable.tallyOf(fault)), uint256(tally), "counter");
        assertTrue(FaultTable.returnsUses(fault) == usesReturn, "uses");
        assertTrue(Rows.returnsUses(fault) == usesReturn, "uses return where no workload saw the assets");
    }

    function _example(Fault fault) private pure returns (Ending memory) {
        return _ending(fault, [uint80(100), 200, 300], [uint80(50), 40, 15, 70, 9, 6, 19, 11, 8, 30, 330]);
    }

    /// What a job of three assets holds when it reaches a row, within what the market guarantees there.
    function _ending(Fault fault, uint80[3] memory prices, uint80[11] memory amounts)
        private
        pure
        returns (Ending memory ending)
    {
        ending.fault = fault;
        uint256 owners = uint256(prices[0]) + prices[1] + prices[2];
        ending.escrow = Escrow(owners, amounts[0], amounts[1], amounts[3], amounts[8]);
        ending.every = (1 << ASSETS) - 1;
        (ending.timeoutFee, ending.timeoutLimit) = (amounts[9], amounts[10]);
        ending.feesUsed = amounts[5];
        if (Rows.reportsUnits(fault)) ending.used = bound(amounts[2], 0, amounts[1]);
        if (Rows.beforeAcceptance(fault)) ending.feesLeft = amounts[4];
        if (Rows.afterSettlement(fault)) (ending.bondLeft, ending.answerFees) = (amounts[6], amounts[7]);
    }
}
