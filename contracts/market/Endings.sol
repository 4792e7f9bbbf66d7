// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {AssetClaim} from "../types/Assets.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {Bargain, Enclave, Fault, JobKey, Payout, SettledResult, Status} from "../types/Jobs.sol";
import {Interruption} from "../types/Money.sol";
import {JobBook} from "./JobBook.sol";

/// @title How every job ends: by one row of the fault table
/// @dev The compiler copies `_carryOut` for each constant fault, which saves gas and costs code. Only `NoQuote` passes
/// a constant; the other rows pass an Ending, through memory, and share one copy. `None` has code of its own.
abstract contract Endings is JobBook {
    /// One metered unit is a minute; Python has the same number, `runtime.receipts.SECONDS_PER_UNIT`.
    uint256 internal constant SECONDS_PER_UNIT = 60;

    struct Ending {
        Fault fault;
        bytes32 evidenceHash;
    }

    /// Carry out a row: the one place where the end of a job moves money.
    function _carryOut(
        Fault fault,
        JobKey calldata key,
        Bargain calldata bargain,
        bytes32 evidenceHash,
        Payout memory payout
    ) internal {
        address token = bargain.token;
        if (FaultTable.returnsUses(fault)) _registry.release(bargain.claims);
        _credit(token, bargain.payer, payout.refunded);
        if (payout.ownersPaid != 0) {
            _payOwners(bargain, payout.ownersTotal, Escrows.lockedBy(bargain).owners);
        }
        _releaseProvider(token, key.provider, payout.paid, payout.stakeReturned, FaultTable.tallyOf(fault));
        _end(key, FaultTable.statusOf(fault), fault, evidenceHash, payout);
    }

    function _carryOut(Ending memory ending, JobKey calldata key, Bargain calldata bargain, Payout memory payout)
        internal
    {
        _carryOut(ending.fault, key, bargain, ending.evidenceHash, payout);
    }

    /// The payout of a job that ends before a decision: no signature has used the fees that were set aside.
    function _undecided(Fault fault, Bargain calldata bargain) internal view returns (Payout memory) {
        uint256 fees = _bookOf(bargain.epoch, bargain.token).reserve();
        return FaultTable.beforeAcceptance(fault, Escrows.lockedBy(bargain), fees, 0);
    }

    /// The payout of a job that ends after its acceptance, in a row whose owners get all or nothing.
    function _unsettled(Fault fault, Bargain calldata bargain, FeeBook book, uint256 used)
        internal
        pure
        returns (Payout memory)
    {
        uint256 every = Escrows.everyAsset(bargain);
        return FaultTable.afterAcceptance(fault, Escrows.lockedBy(bargain), used, book.acceptance(), every);
    }

    /// The row of an accepted job that cannot go on, or `None`: a quorum promised not to release, or the window for
    /// releases is over and fewer than the threshold are left.
    function _interruptedBy(bytes32 requestHash, FeeBook book) internal view returns (Fault) {
        Interruption storage found = _interruptions[requestHash];
        if (found.stopped) return Fault.StoppedBeforeRelease;
        uint40 sharesDeadline = found.sharesDeadline;
        if (sharesDeadline == 0 || block.timestamp <= sharesDeadline) return Fault.None;
        uint256 left = 0;
        for (uint256 bits = found.posted & ~found.excluded; bits != 0; bits &= bits - 1) ++left;
        return left < book.threshold() ? Fault.SharesMissing : Fault.None;
    }

    /// Carry out row `None`, which every job takes that goes well: as `_carryOut`, without what the row does not move.
    function _mature(JobKey calldata key, address token, uint256 provider, uint256 stake) internal {
        _releaseProvider(token, key.provider, provider, stake, FaultTable.tallyOf(Fault.None));
        Payout memory payout;
        (payout.paid, payout.stakeReturned) = (uint128(provider), uint128(stake));
        _end(key, FaultTable.statusOf(Fault.None), Fault.None, 0, payout);
    }

    /// As `_mature`, for a job whose units are `units` and of whose challenge the answer left `bondLeft`.
    function _matureMetered(JobKey calldata key, Bargain calldata bargain, uint32 units, uint256 bondLeft) internal {
        uint256 earned = Escrows.earned(bargain, units);
        (uint256 provider, uint256 stake) =
            FaultTable.matured(Escrows.lockedBy(bargain).owners, bargain.penalty, earned, bondLeft);
        _mature(key, bargain.token, provider, stake);
    }

    /// Credit the owners `total` / `owed` of their prices, in the order of the assets; the rounding of each is made up
    /// for by the next, so that they get exactly that part of the sum.
    /// @return sum Of their prices.
    function _payOwners(Bargain calldata bargain, uint256 total, uint256 owed) internal returns (uint256 sum) {
        AssetClaim[] calldata claims = bargain.claims;
        address token = bargain.token;
        uint256 paid = 0;
        for (uint256 i = 0; i < claims.length; ++i) {
            sum += claims[i].price;
            uint256 due = sum * total / owed;
            _credit(token, claims[i].owner, due - paid);
            paid = due;
        }
    }

    /// A settled job whose consumer acknowledges it.
    function _matureAcknowledged(
        JobKey calldata key,
        Bargain calldata bargain,
        SettledResult calldata result,
        bytes calldata acknowledgement
    ) internal {
        _checkTimely(key, bargain, Status.Settled, TypedData.hashStage(result));
        if (acknowledgement.length != 0 || msg.sender != bargain.consumer) {
            _checkAcknowledged(bargain.consumer, key.jobId, result, acknowledgement);
        }
        _matureMetered(key, bargain, result.units, 0);
    }

    function _checkEnclave(Enclave calldata enclave, bytes32 structHash, bytes calldata signature) internal view {
        address got = Signatures.recover(_digest(structHash), signature);
        if (got != enclave.enclaveSigner) revert IJobs.WrongEnclave(got, enclave.enclaveSigner);
    }

    function _checkAcknowledged(
        address consumer,
        bytes32 jobId,
        SettledResult calldata result,
        bytes calldata signature
    ) internal view {
        bytes32 digest = _digest(TypedData.acknowledgementHash(jobId, result.resultHash));
        _checkSignature(consumer, digest, signature);
    }

    /// Check metered units against the job's most, and against the time since its acceptance or, where missing shares
    /// were reported, since the report; the last unit may have just begun.
    function _checkUnits(JobKey calldata key, Bargain calldata bargain, uint32 got) internal view {
        if (got > bargain.maxUnits) revert IJobs.TooManyUnits(got, bargain.maxUnits);
        if (got <= 1) return;
        uint256 begun = _slots[key.requestHash].deadline() - bargain.settleWindow;
        if (_metered(begun) >= got) return;
        // A report moved the deadline by a settle window from the end of the window for releases.
        if (_interruptions[key.requestHash].sharesDeadline != 0) begun -= key.decideWindow;
        if (got > _metered(begun)) revert IJobs.TooManyUnits(got, uint32(_metered(begun)));
    }

    /// The units that may have been metered since `begun`.
    function _metered(uint256 begun) private view returns (uint256) {
        return block.timestamp < begun ? 1 : (block.timestamp - begun) / SECONDS_PER_UNIT + 1;
    }
}
