// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {Escrow, Escrows} from "../libraries/Escrows.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {AssetClaim} from "../types/Assets.sol";
import {Bargain, Enclave, Fault, JobKey, Payout, Receipt, Status} from "../types/Jobs.sol";
import {Tally} from "../types/Money.sol";
import {JobBook} from "./JobBook.sol";

/// @title What several ways out of a job have in common
abstract contract Endings is JobBook {
    /// Pay the provider and give its stake back.
    function _mature(JobKey calldata key, Bargain calldata bargain, uint32 units) internal {
        _maturePaying(key, bargain, units, 0);
    }

    /// As `_mature`, with `extra` from a lost challenge.
    function _maturePaying(JobKey calldata key, Bargain calldata bargain, uint32 units, uint256 extra) internal {
        uint256 stake = Escrows.stake(Escrows.lockedBy(bargain), bargain);
        _endMatured(key, bargain.token, Escrows.earned(bargain, units) + extra, stake);
    }

    function _endMatured(JobKey calldata key, address token, uint256 paid, uint256 stake) internal {
        Payout memory payout;
        payout.paid = uint128(paid);
        payout.stakeReturned = uint128(stake);
        _releaseProvider(token, key.provider, paid, stake, Tally.Settled);
        _end(key, Status.Matured, Fault.None, 0, payout);
    }

    /// Before acceptance: everything goes back, but for the penalty of a provider that never quoted.
    function _undo(
        JobKey calldata key,
        Bargain calldata bargain,
        Status status,
        Fault fault,
        bytes32 evidenceHash
    ) internal {
        Escrow memory escrow = Escrows.lockedBy(bargain);
        bool providersFault = fault == Fault.NoQuote;
        Payout memory payout;
        payout.refunded = uint128(Escrows.total(escrow) + _bookOf(bargain.epoch, bargain.token).reserve());
        payout.burned = providersFault ? bargain.penalty : 0;
        payout.stakeReturned = uint128(Escrows.stake(escrow, bargain) - payout.burned);

        _registry.release(bargain.claims);
        _credit(bargain.token, bargain.payer, payout.refunded);
        Tally tally = providersFault ? Tally.Expired : Tally.None;
        _releaseProvider(bargain.token, key.provider, 0, payout.stakeReturned, tally);
        _end(key, status, fault, evidenceHash, payout);
    }

    /// Credit each owner its price, but that of asset `except`.
    /// @return paid Bitmap of the assets whose owners were credited. @return sum What they were credited.
    function _payOwners(Bargain calldata bargain, uint256 except) internal returns (uint16 paid, uint256 sum) {
        AssetClaim[] calldata claims = bargain.claims;
        address token = bargain.token;
        for (uint256 i = 0; i < claims.length; ++i) {
            if (i == except) continue;
            uint128 price = claims[i].price;
            _credit(token, claims[i].owner, price);
            paid |= uint16(1 << i);
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
        Receipt calldata receipt,
        bytes calldata signature
    ) internal view {
        bytes32 digest = _digest(TypedData.acknowledgementHash(jobId, receipt.resultHash));
        _checkSignature(consumer, digest, signature);
    }

    function _checkUnits(uint32 got, uint32 most) internal pure {
        if (got > most) revert IJobs.TooManyUnits(got, most);
    }
}
