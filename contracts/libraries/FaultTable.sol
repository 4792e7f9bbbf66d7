// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Fault, Payout, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {Escrow} from "./Escrows.sol";

/// @title The fault table: how the end of a job divides what the job holds
/// @dev The only place that decides it: market/Endings.sol carries out a row and adds nothing to it. IJobs and
/// docs/spec/contracts.md print the same rows; FaultTable.t.sol checks that each row pays out exactly what the job
/// holds. To change who pays for a fault, change its row. There is one function for each phase of a job, since a job
/// holds other money in each. O, C, U, u, P, H, F, f, B, a, T and L are as in IJobs. Sums are unchecked: each amount
/// was in an account, which holds less than 2^88.
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
        | (uint256(Status.Cancelled) << (8 * uint256(Fault.Withdrawn)))
        | (uint256(Status.Failed) << (8 * uint256(Fault.WorkloadTimedOut)))
        | (uint256(Status.Failed) << (8 * uint256(Fault.ValidatorTimedOut)))
        | (uint256(Status.Expired) << (8 * uint256(Fault.SharesMissing)))
        | (uint256(Status.Failed) << (8 * uint256(Fault.ReaderTimedOut)));
    /// Counter of the provider that each row raises, a byte each. Rows that are not named raise none.
    uint256 private constant TALLIES = (uint256(Tally.Settled) << (8 * uint256(Fault.None)))
        | (uint256(Tally.Expired) << (8 * uint256(Fault.NoQuote)))
        | (uint256(Tally.Refused) << (8 * uint256(Fault.PlatformRefused)))
        | (uint256(Tally.Refused) << (8 * uint256(Fault.EvidenceWithheld)))
        | (uint256(Tally.Failed) << (8 * uint256(Fault.WorkloadFailed)))
        | (uint256(Tally.Failed) << (8 * uint256(Fault.WorkloadTimedOut)))
        | (uint256(Tally.Failed) << (8 * uint256(Fault.ValidatorTimedOut)))
        | (uint256(Tally.Expired) << (8 * uint256(Fault.ProviderSilent)))
        | (uint256(Tally.Expired) << (8 * uint256(Fault.ResultWithheld)));
    /// Rows that give back uses and privacy budget, a bit each: those in which no workload saw the assets.
    uint256 private constant RETURNING = (1 << uint256(Fault.NoQuote)) | (1 << uint256(Fault.PlatformRefused))
        | (1 << uint256(Fault.RequestRefused)) | (1 << uint256(Fault.TermsRefused))
        | (1 << uint256(Fault.InputRefused)) | (1 << uint256(Fault.EvidenceWithheld))
        | (1 << uint256(Fault.CommitteeSilent)) | (1 << uint256(Fault.Withdrawn))
        | (1 << uint256(Fault.StoppedBeforeRelease)) | (1 << uint256(Fault.SharesMissing))
        | (1 << uint256(Fault.InputFailed)) | (1 << uint256(Fault.ReaderTimedOut));

    /// @notice The rows of a job that was not accepted: it holds O + C + U + H, `feesLeft` = F - f, and the stake
    /// O + P. @param feesUsed f.
    function beforeAcceptance(Fault fault, Escrow memory held, uint256 feesLeft, uint256 feesUsed)
        internal
        pure
        returns (Payout memory payout)
    {
        (uint256 payer, uint256 stake, uint256 burned) = _beforeAcceptance(fault, held, feesLeft, feesUsed);
        _set(payout, payer, 0, stake, burned, 0);
    }

    /// @notice The rows of a job that was accepted and did not settle, but for the next two: it holds O + C + U and the
    /// stake O + P. @param used u. @param fees f, the payer's loss at the acceptance. @param every Bit of each asset.
    function afterAcceptance(Fault fault, Escrow memory held, uint256 used, uint256 fees, uint256 every)
        internal
        pure
        returns (Payout memory payout)
    {
        (uint256 payer, uint256 provider, uint256 stake, uint256 burned, uint256 owners) =
            _afterAcceptance(fault, held, used, fees);
        _set(payout, payer, provider, stake, burned, owners);
        payout.ownersPaid = owners == 0 ? 0 : uint16(every);
    }

    /// @notice The rows `WorkloadTimedOut` and `ValidatorTimedOut`, of the same money: the provider gets T, the owners
    /// their prices, or L - T in proportion to them, the payer the rest.
    /// @param fee What the order asks. @param limit L. @param every Bit of each asset.
    function timedOut(Escrow memory held, uint256 fee, uint256 limit, uint256 every)
        internal
        pure
        returns (Payout memory payout)
    {
        uint256 work = held.compute + held.metered;
        uint256 provider = _smaller(_smaller(fee, work), limit);
        uint256 owners = _smaller(held.owners, limit - provider);
        _set(payout, held.owners + work - provider - owners, provider, held.owners + held.penalty, 0, owners);
        payout.ownersPaid = owners == 0 ? 0 : uint16(every);
    }

    /// @notice What a settlement returns to the payer and what it leaves for the provider; it pays every owner.
    function settlement(uint256 compute, uint256 metered, uint256 used)
        internal
        pure
        returns (uint256 refunded, uint256 payable_)
    {
        refunded = metered - used;
        unchecked {
            payable_ = compute + used;
        }
    }

    /// @notice Row `None`: a settled job matures. It holds `earned` = C + u, the stake O + P, and what an answered
    /// challenge left of its bond, `bondLeft` = B - a; 0 without an answer. No other party gets anything.
    function matured(uint256 owners, uint256 penalty, uint256 earned, uint256 bondLeft)
        internal
        pure
        returns (uint256 provider, uint256 stake)
    {
        unchecked {
            return (earned + bondLeft, owners + penalty);
        }
    }

    /// @notice Row `ResultWithheld`, of the same money. The penalty pays the fees of the answer, a, then those of the
    /// acceptance, f, as far as it goes.
    /// @return payout All but the bond. @return bondReturned What the challenger gets back of its bond.
    function withheld(
        uint256 owners,
        uint256 penalty,
        uint256 earned,
        uint256 bondLeft,
        uint256 answerFees,
        uint256 fees
    ) internal pure returns (Payout memory payout, uint256 bondReturned) {
        uint256 forAnswer = _smaller(answerFees, penalty);
        uint256 forPayer = _smaller(fees, penalty - forAnswer);
        _set(payout, owners + earned + forPayer, 0, 0, penalty - forAnswer - forPayer, 0);
        return (payout, bondLeft + forAnswer);
    }

    /// @notice The end state of a row.
    function statusOf(Fault fault) internal pure returns (Status) {
        return Status(uint8(STATUSES >> _at(fault)));
    }

    /// @notice The counter of the provider that a row raises.
    function tallyOf(Fault fault) internal pure returns (Tally) {
        return Tally(uint8(TALLIES >> _at(fault)));
    }

    /// @notice Whether a row gives back the uses and the privacy budget that the match took.
    function returnsUses(Fault fault) internal pure returns (bool) {
        return (RETURNING >> uint8(fault)) & 1 != 0;
    }

    function _beforeAcceptance(Fault fault, Escrow memory held, uint256 feesLeft, uint256 feesUsed)
        private
        pure
        returns (uint256 payer, uint256 stake, uint256 burned)
    {
        unchecked {
            (uint256 owners, uint256 penalty, uint256 hold) = (held.owners, held.penalty, held.hold);
            uint256 most = owners + held.compute + held.metered + feesLeft;
            uint256 all = most + hold;
            uint256 whole = owners + penalty;
            uint256 f = _smaller(feesUsed, penalty);

            //                                               payer    stake   burned
            if (fault == Fault.NoQuote)              return (all,     owners, penalty);
            if (fault == Fault.PlatformRefused)      return (all + f, owners, penalty - f);
            if (fault == Fault.RequestRefused)       return (most,    whole,  hold);
            if (fault == Fault.TermsRefused)         return (all,     whole,  0);
            if (fault == Fault.InputRefused)         return (all,     whole,  0);
            if (fault == Fault.EvidenceWithheld)     return (all + f, owners, penalty - f);
            if (fault == Fault.CommitteeSilent)      return (all,     whole,  0);
            return /* Fault.Withdrawn */                    (most,    whole,  hold);
        }
    }

    function _afterAcceptance(Fault fault, Escrow memory held, uint256 used, uint256 fees)
        private
        pure
        returns (uint256 payer, uint256 provider, uint256 stake, uint256 burned, uint256 owners)
    {
        (uint256 unused, uint256 earned) = settlement(held.compute, held.metered, used);
        unchecked {
            uint256 penalty = held.penalty;
            uint256 all = held.owners + held.compute + held.metered;
            uint256 whole = held.owners + penalty;
            uint256 f = _smaller(fees, penalty);

            //                                               payer    provider  stake   burned       owners
            if (fault == Fault.StoppedBeforeRelease) return (all,     0,        whole,  0,           0);
            if (fault == Fault.SharesMissing)        return (all,     0,        whole,  0,           0);
            if (fault == Fault.InputFailed)          return (all,     0,        whole,  0,           0);
            if (fault == Fault.ReaderTimedOut)       return (all,     0,        whole,  0,           0);
            if (fault == Fault.WorkloadFailed)       return (unused,  earned,   whole,  0,           held.owners);
            return /* Fault.ProviderSilent */               (all + f, 0,        0,      penalty - f, held.owners);
        }
    }

    function _smaller(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function _at(Fault fault) private pure returns (uint256) {
        return 8 * uint256(fault);
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
        (payout.burned, payout.ownersTotal) = (uint128(burned), uint128(owners));
    }
}
