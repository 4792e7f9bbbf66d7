// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {Escrows} from "../libraries/Escrows.sol";
import {FaultTable} from "../libraries/FaultTable.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {AssetClaim} from "../types/Assets.sol";
import {Bargain, Enclave, Fault, JobKey, Payout, SettledResult} from "../types/Jobs.sol";
import {JobBook} from "./JobBook.sol";

/// @title How every job ends: by one row of the fault table
/// @dev The compiler copies `_carryOut` for each constant fault, which saves gas and costs code. Only `NoQuote` passes
/// a constant; the other rows pass an Ending, through memory, and share one copy. `None` has code of its own.
abstract contract Endings is JobBook {
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
        if (payout.ownersPaid != 0) _payOwners(bargain, payout.ownersPaid);
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

    /// Credit the price of each asset in the bitmap to its owner.
    /// @return sum What they were credited.
    function _payOwners(Bargain calldata bargain, uint256 assets) internal returns (uint256 sum) {
        AssetClaim[] calldata claims = bargain.claims;
        address token = bargain.token;
        for (uint256 i = 0; i < claims.length; ++i) {
            if (assets & (1 << i) == 0) continue;
            uint128 price = claims[i].price;
            _credit(token, claims[i].owner, price);
            sum += price;
        }
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

    function _checkUnits(uint32 got, uint32 most) internal pure {
        if (got > most) revert IJobs.TooManyUnits(got, most);
    }
}
