// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Escrow, Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {FeeBook, FeeBooks} from "../libraries/FeeBooks.sol";
import {JobSlot, JobSlots} from "../libraries/JobSlots.sol";
import {MAX_MEMBERS} from "../types/Committees.sol";
import {Bargain, Status} from "../types/Jobs.sol";

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

    /// An accepting and a refusing quorum share a member, which would have signed both.
    function check_no_two_quorums_decide_differently(uint64 fee, uint8 members, uint8 threshold) external pure {
        if (members == 0 || members > MAX_MEMBERS || threshold == 0 || threshold > members) return;
        FeeBook book = FeeBooks.open(fee, members, threshold);
        uint256 refusing = book.refusingQuorum();
        assert(refusing + threshold > members);
        assert(refusing >= threshold && refusing <= members);
        assert(book.reserve() == refusing * fee && book.reserve() >= uint256(threshold) * fee);
    }

    /// An escrow holds what the bargain names, and a settlement divides the compute price.
    function check_an_escrow_is_what_the_bargain_locks(Bargain calldata bargain, uint32 units) external pure {
        if (units > bargain.maxUnits) return;
        Escrow memory escrow = Escrows.lockedBy(bargain);
        uint256 owners;
        for (uint256 i = 0; i < bargain.claims.length; ++i) {
            owners += bargain.claims[i].price;
        }
        assert(escrow.owners == owners && escrow.penalty == bargain.penalty);
        assert(Escrows.everyAsset(bargain) == (1 << bargain.claims.length) - 1);
        (uint256 refunded, uint256 payable_) =
            FaultTable.settlement(escrow.compute, escrow.metered, Escrows.priceOf(bargain, units));
        assert(refunded == uint256(bargain.unitPrice) * (bargain.maxUnits - units));
        assert(payable_ == Escrows.earned(bargain, units));
        assert(refunded + payable_ == escrow.compute + escrow.metered);
    }
}
