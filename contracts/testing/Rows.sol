// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Escrow} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {Fault, Payout} from "../types/Jobs.sol";

/// @notice A job at its end: the row, what the job holds, and what the row depends on.
struct Ending {
    Fault fault;
    Escrow escrow;
    uint256 used;
    /// Before acceptance what is left of the fees set aside and what the decision took; afterwards what that was.
    uint256 feesLeft;
    uint256 feesUsed;
    /// Bit of each asset.
    uint256 every;
    uint256 timeoutFee;
    uint256 timeoutLimit;
    uint256 bondLeft;
    uint256 answerFees;
}

/// @title When each row of the fault table applies, and the money on both sides of it
/// @dev Written apart from the table, so that fuzzing compares two statements of the same rule.
library Rows {
    function afterSettlement(Fault fault) internal pure returns (bool) {
        return fault == Fault.None || fault == Fault.ResultWithheld;
    }

    function beforeAcceptance(Fault fault) internal pure returns (bool) {
        return !afterSettlement(fault) && !timedOut(fault) && fault != Fault.StoppedBeforeRelease
            && fault != Fault.SharesMissing && fault != Fault.InputFailed && fault != Fault.WorkloadFailed
            && fault != Fault.ReaderTimedOut && fault != Fault.ProviderSilent;
    }

    function timedOut(Fault fault) internal pure returns (bool) {
        return fault == Fault.WorkloadTimedOut || fault == Fault.ValidatorTimedOut;
    }

    /// Whether uses and budgets return: no workload saw the assets.
    function returnsUses(Fault fault) internal pure returns (bool) {
        return beforeAcceptance(fault) || fault == Fault.StoppedBeforeRelease || fault == Fault.SharesMissing
            || fault == Fault.InputFailed || fault == Fault.ReaderTimedOut;
    }

    /// Whether the enclave has reported units when the row applies.
    function reportsUnits(Fault fault) internal pure returns (bool) {
        return afterSettlement(fault) || fault == Fault.WorkloadFailed;
    }

    /// The row, by the function of its phase.
    function rowOf(Ending memory end) internal pure returns (Payout memory) {
        Escrow memory held = end.escrow;
        if (beforeAcceptance(end.fault)) {
            return FaultTable.beforeAcceptance(end.fault, held, end.feesLeft, end.feesUsed);
        }
        if (timedOut(end.fault)) {
            return FaultTable.timedOut(held, end.timeoutFee, end.timeoutLimit, end.every);
        }
        if (!afterSettlement(end.fault)) {
            return FaultTable.afterAcceptance(end.fault, held, end.used, end.feesUsed, end.every);
        }
        if (end.fault == Fault.ResultWithheld) return withheld(end);
        (uint256 provider, uint256 stake) =
            FaultTable.matured(held.owners, held.penalty, held.compute + end.used, end.bondLeft);
        return Payout(0, uint128(provider), uint128(stake), 0, 0, 0);
    }

    function withheld(Ending memory end) internal pure returns (Payout memory row) {
        uint256 earned = end.escrow.compute + end.used;
        (row,) = FaultTable.withheld(
            end.escrow.owners, end.escrow.penalty, earned, end.bondLeft, end.answerFees, end.feesUsed
        );
    }

    /// What the challenger gets back of its bond.
    function bondReturned(Ending memory end) internal pure returns (uint256 returned) {
        (, returned) = FaultTable.withheld(0, end.escrow.penalty, 0, end.bondLeft, end.answerFees, 0);
    }

    /// Everything that the job holds when the row applies.
    function moneyIn(Ending memory end) internal pure returns (uint256) {
        Escrow memory held = end.escrow;
        uint256 stake = held.owners + held.penalty;
        if (afterSettlement(end.fault)) return held.compute + end.used + stake + end.bondLeft + end.answerFees;
        uint256 locked = held.owners + held.compute + held.metered + stake;
        return beforeAcceptance(end.fault) ? locked + end.feesLeft + held.hold : locked;
    }

    /// Everything that the row pays out, burns or returns, the signers and the challenger of an answered challenge
    /// included.
    function moneyOut(Ending memory end, Payout memory row) internal pure returns (uint256) {
        uint256 out = uint256(row.refunded) + row.paid + row.stakeReturned + row.burned + row.ownersTotal;
        if (afterSettlement(end.fault)) out += end.answerFees;
        if (end.fault != Fault.ResultWithheld) return out;
        return out + bondReturned(end);
    }
}
