// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Escrow, Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {AccountWord} from "../libraries/AccountWords.sol";
import {AccrualWord, AccrualWords} from "../libraries/AccrualWords.sol";
import {EntryWord, EntryWords} from "../libraries/EntryWords.sol";
import {FeeBook, FeeBooks} from "../libraries/FeeBooks.sol";
import {JobSlot, JobSlots} from "../libraries/JobSlots.sol";
import {Meter} from "../libraries/Meters.sol";
import {TabWord} from "../libraries/TabWords.sol";
import {MAX_MEMBERS} from "../types/Committees.sol";
import {Bargain, Fault, Payout, Status} from "../types/Jobs.sol";
import {Account, Tally} from "../types/Money.sol";
import {Rows} from "./Rows.sol";

/// What a counter that stops at `most` shows after one more, if it counts.
function oneMore(uint256 before, uint256 most, bool counts) pure returns (uint256) {
    return counts && before != most ? before + 1 : before;
}

/// Whether two meters agree in all that only an owner sets, but for the version of the terms, and in their epoch.
function sameRules(Meter a, Meter b) pure returns (bool) {
    return a.maxUses() == b.maxUses() && a.budget() == b.budget() && a.perJobCap() == b.perJobCap()
        && a.epoch() == b.epoch() && a.maxHold() == b.maxHold() && a.timeoutShare() == b.timeoutShare();
}

/// @title Properties of packed words and unchecked sums, proven for all values
/// @dev Run by Halmos (`python -m scripts.symbolic`); a violated assertion is a counterexample. A check
/// returns early on values outside its precondition.
contract Arithmetic {
    function check_a_slot_tells_what_it_was_made_of(uint8 status, uint40 deadline, uint208 commitment) external pure {
        if (status > uint8(type(Status).max)) return;
        JobSlot slot = JobSlots.make(Status(status), deadline, commitment);
        assert(uint8(slot.status()) == status);
        assert(slot.deadline() == deadline);
        assert(slot.commitment() == commitment);
    }

    function check_a_slot_changes_its_status_and_nothing_else(uint256 word, uint8 status) external pure {
        if (status > uint8(type(Status).max)) return;
        JobSlot slot = JobSlot.wrap(word);
        JobSlot changed = slot.withStatus(Status(status));
        assert(uint8(changed.status()) == status);
        assert(changed.deadline() == slot.deadline());
        assert(changed.commitment() == slot.commitment());
    }

    function check_a_fee_book_tells_what_it_was_opened_with(uint64 fee, uint8 members, uint8 threshold) external pure {
        FeeBook book = FeeBooks.open(fee, members, threshold);
        assert(book.fee() == fee && book.members() == members && book.threshold() == threshold);
        assert(book.isOpen() == (members != 0));
        for (uint256 i = 0; i < MAX_MEMBERS; ++i) {
            assert(book.unclaimed(i) == 0);
        }
    }

    /// Three signers at most: every further one is the same step of the same loop.
    function check_each_signature_counts_for_its_member_alone(uint256 word, uint256 signers) external pure {
        if (signers > 7) return;
        FeeBook book = FeeBook.wrap(word);
        (FeeBook updated, uint256 counted) = book.count(signers);
        uint256 expected;
        for (uint256 i = 0; i < MAX_MEMBERS; ++i) {
            uint256 before = book.unclaimed(i);
            bool counts = signers & (1 << i) != 0 && before != type(uint16).max;
            assert(updated.unclaimed(i) == (counts ? before + 1 : before));
            if (counts) ++expected;
        }
        assert(counted == expected);
        assert(updated.fee() == book.fee());
        assert(updated.members() == book.members() && updated.threshold() == book.threshold());
    }

    /// A posted release is paid as one signature is, to a node in any place.
    function check_a_posted_release_counts_for_its_node_alone(uint256 word, uint256 index) external pure {
        if (index >= MAX_MEMBERS) return;
        FeeBook book = FeeBook.wrap(word);
        (FeeBook updated, uint256 counted) = book.count(1 << index);
        assert(counted == (book.unclaimed(index) == type(uint16).max ? 0 : 1));
        for (uint256 i = 0; i < MAX_MEMBERS; ++i) {
            assert(updated.unclaimed(i) == (i == index ? book.unclaimed(i) + counted : book.unclaimed(i)));
        }
        assert(updated.fee() == book.fee());
        assert(updated.members() == book.members() && updated.threshold() == book.threshold());
    }

    function check_a_claim_empties_one_counter(uint256 word, uint256 index) external pure {
        if (index >= MAX_MEMBERS) return;
        FeeBook book = FeeBook.wrap(word);
        (FeeBook updated, uint256 counted) = book.claim(index);
        assert(counted == book.unclaimed(index));
        for (uint256 i = 0; i < MAX_MEMBERS; ++i) {
            assert(updated.unclaimed(i) == (i == index ? 0 : book.unclaimed(i)));
        }
        assert(updated.fee() == book.fee());
        assert(updated.members() == book.members() && updated.threshold() == book.threshold());
    }

    function check_an_account_changes_by_what_is_moved_and_in_nothing_else(uint256 word, uint88 more, uint88 stake)
        external
        pure
    {
        AccountWord account = AccountWord.wrap(word);
        Account memory before = account.unpack();
        if (uint256(before.free) + more > type(uint88).max || uint256(before.staked) + stake > type(uint88).max) return;
        AccountWord changed = account.plus(more, stake);
        assert(changed.free() == uint256(before.free) + more && changed.staked() == uint256(before.staked) + stake);
        assert(AccountWord.unwrap(changed) >> 176 == word >> 176);
        assert(AccountWord.unwrap(changed.minus(more, stake)) == word);
    }

    function check_a_tally_raises_one_counter_up_to_its_most(uint256 word, uint8 tally) external pure {
        if (tally > uint8(type(Tally).max)) return;
        Account memory a = AccountWord.wrap(word).unpack();
        Account memory b = AccountWord.wrap(word).counted(Tally(tally)).unpack();
        assert(a.free == b.free && a.staked == b.staked && a.generation == b.generation);
        assert(b.settled == oneMore(a.settled, type(uint24).max, tally == uint8(Tally.Settled)));
        assert(b.refused == oneMore(a.refused, type(uint16).max, tally == uint8(Tally.Refused)));
        assert(b.expired == oneMore(a.expired, type(uint16).max, tally == uint8(Tally.Expired)));
        assert(b.failed == oneMore(a.failed, type(uint8).max, tally == uint8(Tally.Failed)));
    }

    function check_a_generation_ends_and_nothing_else_changes(uint256 word) external pure {
        AccountWord account = AccountWord.wrap(word);
        if (account.generation() == type(uint16).max) return;
        Account memory a = account.unpack();
        Account memory b = account.nextGeneration().unpack();
        assert(b.generation == a.generation + 1 && a.free == b.free && a.staked == b.staked);
        assert(a.settled == b.settled && a.refused == b.refused && a.expired == b.expired && a.failed == b.failed);
    }

    /// What a match takes of a version is what a return gives back, and neither touches its rules.
    function check_a_meter_takes_and_returns_one_use(uint256 word, uint256 epsilon) external pure {
        Meter meter = Meter.wrap(word);
        if (meter.usesTaken() >= meter.maxUses()) return;
        if (epsilon > type(uint40).max || meter.budgetTaken() + epsilon > meter.budget()) return;
        Meter taken = meter.taking(epsilon);
        assert(taken.usesTaken() == meter.usesTaken() + 1);
        assert(taken.budgetTaken() == meter.budgetTaken() + epsilon);
        assert(sameRules(meter, taken) && taken.termsVersion() == meter.termsVersion());
        assert(Meter.unwrap(taken.returning(epsilon)) == word);
    }

    function check_new_terms_keep_what_was_taken(
        uint256 word,
        uint32 maxUses,
        uint40 budget,
        uint32 perJobCap,
        uint32 maxHold,
        uint8 share,
        uint16 version
    ) external pure {
        Meter meter = Meter.wrap(word);
        Meter changed = meter.under(maxUses, budget, perJobCap, maxHold, share, version);
        assert(changed.maxUses() == maxUses && changed.budget() == budget && changed.perJobCap() == perJobCap);
        assert(changed.maxHold() == maxHold && changed.timeoutShare() == share && changed.termsVersion() == version);
        assert(changed.usesTaken() == meter.usesTaken() && changed.budgetTaken() == meter.budgetTaken());
        assert(changed.epoch() == meter.epoch() && changed.suspended() == meter.suspended());
    }

    function check_a_meter_is_renumbered_and_suspended_alone(uint256 word, uint16 version, bool suspended)
        external
        pure
    {
        Meter meter = Meter.wrap(word);
        Meter changed = meter.renumbered(version).withSuspended(suspended);
        assert(changed.termsVersion() == version && changed.suspended() == suspended);
        assert(sameRules(meter, changed));
        assert(changed.usesTaken() == meter.usesTaken() && changed.budgetTaken() == meter.budgetTaken());
    }

    /// A statement makes a tab pay what is owed within its limit, never less than before, and changes nothing else.
    function check_a_tab_pays_what_is_owed_within_its_limit(uint256 word, uint256 owed) external pure {
        TabWord tab = TabWord.wrap(word);
        (uint256 most, uint256 before) = (tab.limit(), tab.paid());
        if (before > most) return;
        uint256 due = tab.due(owed);
        TabWord paying = tab.paying(due);
        assert(due == 0 ? owed <= before || before == most : paying.paid() == (owed < most ? owed : most));
        assert(paying.paid() == before + due && paying.paid() <= most);
        assert(TabWord.unwrap(paying) >> 176 == word >> 176 && paying.limit() == most);
    }

    function check_a_tab_is_asked_to_close_and_closes_alone(uint256 word, uint40 number, uint40 time) external pure {
        TabWord tab = TabWord.wrap(word);
        TabWord closing = tab.closing(time);
        assert(closing.closesAt() == time && TabWord.unwrap(closing) << 40 == word << 40);
        assert(tab.returned().isReturned() && tab.returned().isClosed(time));
        if (tab.requestedBlock() != 0) return;
        TabWord asked = tab.requested(number);
        assert(asked.requestedBlock() == number && asked.closesAt() == tab.closesAt());
        assert(TabWord.unwrap(asked) << 80 == word << 80);
    }

    function check_a_tab_takes_more_and_keeps_what_it_paid(uint256 word, uint88 more) external pure {
        TabWord tab = TabWord.wrap(word);
        if (tab.limit() + more > type(uint88).max) return;
        TabWord added = tab.adding(more);
        assert(added.limit() == tab.limit() + more && TabWord.unwrap(added) >> 88 == word >> 88);
    }

    /// Statements come in any order, and twice: a tab pays the most that one of them says, and then nothing more.
    function check_two_statements_pay_the_same_in_either_order(uint256 word, uint256 first, uint256 second)
        external
        pure
    {
        TabWord tab = TabWord.wrap(word);
        if (tab.paid() > tab.limit()) return;
        TabWord one = tab.paying(tab.due(first));
        one = one.paying(one.due(second));
        TabWord other = tab.paying(tab.due(second));
        other = other.paying(other.due(first));
        assert(TabWord.unwrap(one) == TabWord.unwrap(other));
        assert(one.due(first) == 0 && one.due(second) == 0);
    }

    /// What a statement multiplies and adds without a check: any word's units are below 2^88, as a price is.
    function check_the_units_of_any_word_stay_within_their_field(uint256 word, uint88 paid) external pure {
        EntryWord entry = EntryWord.wrap(bytes32(word));
        assert(entry.units() < 1 << 88);
        EntryWord payment = entry.withUnits(paid);
        assert(payment.account() == entry.account() && payment.last() == entry.last() && payment.units() == paid);
    }

    function check_an_entry_tells_what_it_was_made_of(address account, uint88 units, uint88 paid, bool last)
        external
        pure
    {
        EntryWord entry = EntryWords.make(account, units, last);
        assert(entry.account() == account && entry.units() == units && entry.last() == last);
        EntryWord payment = entry.withUnits(paid);
        assert(payment.account() == account && payment.units() == paid && payment.last() == last);
    }

    function check_an_accrual_tells_what_it_was_made_of(uint64 redeemed, uint64 credited, uint88 bond, bool last)
        external
        pure
    {
        AccrualWord accrued = AccrualWords.make(redeemed, credited, bond, last);
        assert(accrued.redeemed() == redeemed && accrued.credited() == credited);
        assert(accrued.bond() == bond && accrued.last() == last);
        AccrualWord paid = accrued.allCredited();
        assert(paid.redeemed() == redeemed && paid.credited() == redeemed);
        assert(paid.bond() == bond && paid.last() == last);
    }

    function check_a_bond_changes_alone(uint64 redeemed, uint64 credited, uint88 bond, uint88 other, bool last)
        external
        pure
    {
        AccrualWord changed = AccrualWords.make(redeemed, credited, bond, last).withBond(other);
        assert(changed.redeemed() == redeemed && changed.credited() == credited);
        assert(changed.bond() == other && changed.last() == last);
    }

    /// An accepting and a refusing quorum share a member, which would have signed both.
    function check_no_two_quorums_decide_differently(uint64 fee, uint8 members, uint8 threshold) external pure {
        if (members == 0 || members > MAX_MEMBERS || threshold == 0 || threshold > members) return;
        FeeBook book = FeeBooks.open(fee, members, threshold);
        uint256 refusing = book.refusingQuorum();
        assert(refusing + threshold > members);
        assert(refusing >= threshold && refusing <= members);
        assert(book.reserve() == refusing * fee && book.reserve() >= uint256(threshold) * fee);
    }

    /// The least penalty pays the acceptance, the answer to a challenge and a posted release of every member, so that
    /// no row of the fault table is cut off by it.
    function check_the_least_penalty_pays_every_fee(uint64 fee, uint8 members, uint8 threshold) external pure {
        if (members == 0 || members > MAX_MEMBERS || threshold == 0 || threshold > members) return;
        FeeBook book = FeeBooks.open(fee, members, threshold);
        uint256 posted = uint256(book.members()) * book.fee();
        uint256 least = 2 * book.reserve() + book.members() * uint256(book.fee());
        assert(least >= book.acceptance() + book.reserve() + posted);
        assert(posted <= type(uint88).max);
    }

    /// The packed words of the table give each row an end state, and uses back where no workload saw the assets.
    function check_each_row_reads_its_own_byte(uint8 row) external pure {
        if (row > uint8(type(Fault).max)) return;
        Fault fault = Fault(row);
        Status status = FaultTable.statusOf(fault);
        assert(status == Status.Matured || status >= Status.Refused);
        assert((status == Status.Matured) == (fault == Fault.None));
        assert((FaultTable.tallyOf(fault) == Tally.Settled) == (fault == Fault.None));
        assert(FaultTable.returnsUses(fault) == Rows.returnsUses(fault));
    }

    /// A time-out divides what the job holds; provider and owners together get no more than the limit.
    function check_a_timeout_stays_within_its_limit(Escrow calldata held, uint256 fee, uint256 limit)
        external
        pure
    {
        uint256 most = type(uint80).max;
        if (held.owners > most || held.compute > most || held.metered > most || held.penalty > most) return;
        if (fee > most || limit > most) return;
        Payout memory row = FaultTable.timedOut(held, fee, limit, 1);
        assert(uint256(row.paid) + row.ownersTotal <= limit);
        assert(row.paid <= fee && row.ownersTotal <= held.owners);
        assert(row.stakeReturned == held.owners + held.penalty && row.burned == 0);
        assert(
            uint256(row.refunded) + row.paid + row.ownersTotal == held.owners + held.compute + held.metered
        );
    }

    /// An escrow holds what the bargain names, and a settlement divides the compute price.
    function check_an_escrow_is_what_the_bargain_locks(Bargain calldata bargain, uint32 units) external pure {
        if (units > bargain.maxUnits) return;
        Escrow memory escrow = Escrows.lockedBy(bargain);
        uint256 owners;
        for (uint256 i = 0; i < bargain.claims.length; ++i) {
            owners += bargain.claims[i].price;
        }
        assert(escrow.owners == owners && escrow.penalty == bargain.penalty && escrow.hold == bargain.holdFee);
        assert(Escrows.everyAsset(bargain) == (1 << bargain.claims.length) - 1);
        (uint256 refunded, uint256 payable_) =
            FaultTable.settlement(escrow.compute, escrow.metered, Escrows.priceOf(bargain, units));
        assert(refunded == uint256(bargain.unitPrice) * (bargain.maxUnits - units));
        assert(payable_ == Escrows.earned(bargain, units));
        assert(refunded + payable_ == escrow.compute + escrow.metered);
    }
}
