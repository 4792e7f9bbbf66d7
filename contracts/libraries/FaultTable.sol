// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Fault, Payout, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {Escrow} from "./Escrows.sol";

/// @title The fault table: how the end of a job divides what the job holds
/// @dev The only place that decides it: `Endings._carryOut` carries out a row and adds nothing to it. IJobs and
/// docs/spec/contracts.md print the same rows; FaultTable.t.sol checks that each row pays out exactly what the job
/// holds. To change who pays for a fault, change its row. One function for each of the three phases, since a job holds
/// other money in each; O, C, U, u, P, F and f are as in IJobs.
library FaultTable {
    /// End state of each row, a byte each; a constant costs a job less than a chain of comparisons.
    uint256 private constant STATUSES = (uint256(Status.Matured) << (8 * uint256(Fault.None)))
        | (uint256(Status.Expired) << (8 * uint256(Fault.NoQuote)))
        | (uint256(Status.Refused) << (8 * uint256(Fault.PlatformRefused)))
        | (uint256(Status.Refused) << (8 * uint256(Fault.RequestRefused)))
        | (uint256(Status.Refused) << (8 * uint256(Fault.TermsRefused)))
        | (uint256(Status.Refused) << (8 * uint256(Fault.InputRefused)))
        | (uint256(Status.Refused) << (8 * uint256(Fault.EvidenceWithheld)))
        | (uint256(Status.Expired) << (8 * uint256(Fault.CommitteeSilent)))
        | (uint256(Status.Stopped) << (8 * uint256(Fault.StoppedBeforeRelease)))
        | (uint256(Status.Failed) << (8 * uint256(Fault.InputFailed)))
        | (uint256(Status.Failed) << (8 * uint256(Fault.WorkloadFailed)))
        | (uint256(Status.Expired) << (8 * uint256(Fault.ProviderSilent)))
        | (uint256(Status.Expired) << (8 * uint256(Fault.ResultWithheld)))
        | (uint256(Status.Cancelled) << (8 * uint256(Fault.Withdrawn)));
    /// Counter of the provider that each row raises, a byte each. Rows that are not named raise none.
    uint256 private constant TALLIES = (uint256(Tally.Settled) << (8 * uint256(Fault.None)))
        | (uint256(Tally.Expired) << (8 * uint256(Fault.NoQuote)))
        | (uint256(Tally.Refused) << (8 * uint256(Fault.PlatformRefused)))
        | (uint256(Tally.Refused) << (8 * uint256(Fault.EvidenceWithheld)))
        | (uint256(Tally.Failed) << (8 * uint256(Fault.InputFailed)))
        | (uint256(Tally.Failed) << (8 * uint256(Fault.WorkloadFailed)))
        | (uint256(Tally.Expired) << (8 * uint256(Fault.ProviderSilent)))
        | (uint256(Tally.Expired) << (8 * uint256(Fault.ResultWithheld)));

    /// @notice The rows of a job that was not accepted: it holds O + C + U, `feesLeft` = F - f, and the stake O + P.
    /// @param requestFee What `RequestRefused` pays to the provider, if the payer locked that much.
    function beforeAcceptance(Fault fault, Escrow memory held, uint256 feesLeft, uint256 requestFee)
        internal
        pure
        returns (Payout memory payout)
    {
        (uint256 payer, uint256 provider, uint256 stake, uint256 burned) =
            _beforeAcceptance(fault, held, feesLeft, requestFee);
        _set(payout, payer, provider, stake, burned, 0);
    }

    /// @notice The rows of a job that was accepted and did not settle: it holds O + C + U and the stake O + P.
    /// @param used u. @param failedOwner Bit of the asset that failed; 0 if none did. @param failedPrice Its price.
    function afterAcceptance(
        Fault fault,
        Escrow memory held,
        uint256 used,
        uint256 failedOwner,
        uint256 failedPrice
    ) internal pure returns (Payout memory payout) {
        (uint256 payer, uint256 provider, uint256 stake, uint256 burned, uint256 owners) =
            _afterAcceptance(fault, held, used, held.everyOwner & ~failedOwner, failedPrice);
        _set(payout, payer, provider, stake, burned, owners);
    }

    /// @notice What a settlement returns to the payer and what it leaves for the provider; it pays every owner.
    function settlement(uint256 compute, uint256 metered, uint256 used)
        internal
        pure
        returns (uint256 refunded, uint256 payable_)
    {
        return (metered - used, compute + used);
    }

    /// @notice The rows of a job that settled: it holds `earned` = C + u, the stake O + P, and what an answered
    /// challenge left of its bond, `bondLeft` = B - a; 0 without an answer.
    /// @param answerFees a
    function afterSettlement(
        Fault fault,
        uint256 owners,
        uint256 penalty,
        uint256 earned,
        uint256 bondLeft,
        uint256 answerFees
    ) internal pure returns (Payout memory payout) {
        (uint256 payer, uint256 provider, uint256 stake, uint256 burned) =
            _afterSettlement(fault, owners, penalty, earned, bondLeft, answerFees);
        _set(payout, payer, provider, stake, burned, 0);
    }

    /// @notice What the challenger gets back under `ResultWithheld`: the bond, less the fees of the answer that the
    /// penalty does not cover.
    function bondReturned(uint256 penalty, uint256 bondLeft, uint256 answerFees) internal pure returns (uint256) {
        return bondLeft + _feesFromPenalty(penalty, answerFees);
    }

    /// @notice The end state of a row.
    function statusOf(Fault fault) internal pure returns (Status) {
        return Status(uint8(STATUSES >> _at(fault)));
    }

    /// @notice The counter of the provider that a row raises.
    function tallyOf(Fault fault) internal pure returns (Tally) {
        return Tally(uint8(TALLIES >> _at(fault)));
    }

    /// @notice Whether a row gives back the uses and the privacy budget that the match took: the rows before acceptance.
    function returnsUses(Fault fault) internal pure returns (bool) {
        return (fault >= Fault.NoQuote && fault <= Fault.CommitteeSilent) || fault == Fault.Withdrawn;
    }

    // Unchecked sums: each amount was in an account, which holds less than 2^88. The differences are of a smaller and a
    // larger amount in each row. FaultTable.t.sol and testing/Arithmetic.sol hold both.

    function _beforeAcceptance(Fault fault, Escrow memory held, uint256 feesLeft, uint256 requestFee)
        private
        pure
        returns (uint256 payer, uint256 provider, uint256 stake, uint256 burned)
    {
        unchecked {
            (uint256 owners, uint256 penalty) = (held.owners, held.penalty);
            uint256 locked = owners + held.compute + held.metered;
            uint256 all = locked + feesLeft;
            uint256 whole = owners + penalty;
            uint256 fee = requestFee < locked ? requestFee : locked;

            //                                               payer      provider  stake   burned
            if (fault == Fault.NoQuote)              return (all,       0,        owners, penalty);
            if (fault == Fault.PlatformRefused)      return (all,       0,        owners, penalty);
            if (fault == Fault.RequestRefused)       return (all - fee, fee,      whole,  0);
            if (fault == Fault.TermsRefused)         return (all,       0,        whole,  0);
            if (fault == Fault.InputRefused)         return (all,       0,        whole,  0);
            if (fault == Fault.EvidenceWithheld)     return (all,       0,        owners, penalty);
            if (fault == Fault.CommitteeSilent)      return (all,       0,        whole,  0);
            return /* Fault.Withdrawn */                    (all,       0,        whole,  0);
        }
    }

    /// `paid` are the owners of the assets that did not fail.
    function _afterAcceptance(Fault fault, Escrow memory held, uint256 used, uint256 paid, uint256 failedPrice)
        private
        pure
        returns (uint256 payer, uint256 provider, uint256 stake, uint256 burned, uint256 owners)
    {
        (uint256 unused, uint256 earned) = settlement(held.compute, held.metered, used);
        unchecked {
            uint256 work = held.compute + held.metered;
            uint256 all = held.owners + work;
            uint256 penalty = held.penalty;
            uint256 whole = held.owners + penalty;

            //                                               payer               provider  stake   burned   owners
            if (fault == Fault.StoppedBeforeRelease) return (all,                0,        whole,  0,       0);
            if (fault == Fault.InputFailed)          return (work + failedPrice, 0,        whole,  0,       paid);
            if (fault == Fault.WorkloadFailed)       return (unused,             earned,   whole,  0,       paid);
            return /* Fault.ProviderSilent */               (all,                0,        0,      penalty, paid);
        }
    }

    function _afterSettlement(
        Fault fault,
        uint256 owners,
        uint256 penalty,
        uint256 earned,
        uint256 bondLeft,
        uint256 answerFees
    ) private pure returns (uint256 payer, uint256 provider, uint256 stake, uint256 burned) {
        unchecked {
            uint256 whole = owners + penalty;
            uint256 rest = penalty - _feesFromPenalty(penalty, answerFees);

            //                                               payer            provider           stake   burned
            if (fault == Fault.None)                 return (0,               earned + bondLeft, whole,  0);
            return /* Fault.ResultWithheld */               (owners + earned, 0,                 0,      rest);
        }
    }

    function _at(Fault fault) private pure returns (uint256) {
        return 8 * uint256(fault);
    }

    /// The penalty pays the answer of a challenge as far as it goes.
    function _feesFromPenalty(uint256 penalty, uint256 answerFees) private pure returns (uint256) {
        return answerFees < penalty ? answerFees : penalty;
    }

    /// No cast truncates: each amount was in an account, which holds less than 2^88.
    function _set(
        Payout memory payout,
        uint256 payer,
        uint256 provider,
        uint256 stake,
        uint256 burned,
        uint256 owners
    ) private pure {
        (payout.refunded, payout.paid, payout.stakeReturned) = (uint128(payer), uint128(provider), uint128(stake));
        (payout.burned, payout.ownersPaid) = (uint128(burned), uint16(owners));
    }
}
