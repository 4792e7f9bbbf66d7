// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ILedger} from "../interfaces/ILedger.sol";
import {FeeBook} from "../libraries/FeeBooks.sol";
import {Releases} from "../libraries/Releases.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Bargain, Enclave, Fault, JobKey, Status} from "../types/Jobs.sol";
import {Interruption} from "../types/Money.sol";
import {Endings} from "./Endings.sol";

/// @title Jobs whose shares do not come: the committee's promise not to release, and releases posted on chain
/// @dev The record is apart from the job's slot, so that a job that goes well never touches it and a settlement stays
/// possible until the settle deadline.
abstract contract Missing is Endings {
    /// Longest ciphertext of one share; those of the hybrid HPKE take about 1,300 bytes.
    uint256 internal constant MAX_SEALED = 2_048;

    /// See {IJobs-stop}.
    function stop(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        uint256 reasons,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external {
        _checkTimely(key, bargain, Status.Accepted, TypedData.hashStage(enclave));
        Interruption storage record = _interruptions[key.requestHash];
        if (record.stopped) revert IJobs.AlreadyStopped(key.requestHash);
        bytes32 digest = _digest(TypedData.stopHash(key.jobId, enclave.evidenceHash, bargain.epoch, reasons));
        uint256 required = _bookOf(bargain.epoch, bargain.token).refusingQuorum();
        uint256 signers = _checkQuorum(bargain.epoch, members, signatures, required, digest);

        record.stopped = true;

        emit IJobs.JobStopped(key.jobId, enclave.evidenceHash, reasons, signers);
    }

    /// See {IJobs-reportMissing}.
    function reportMissing(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        uint16 excluded,
        bytes calldata enclaveSignature
    ) external {
        if (msg.sender != key.provider) revert IJobs.OnlyProvider(msg.sender, key.provider);
        bytes32 stage = TypedData.hashStage(enclave);
        bytes32 bargainHash = _checkTimely(key, bargain, Status.Accepted, stage);
        bytes32 signed = TypedData.sharesMissingHash(key.jobId, enclave.evidenceHash, excluded);
        _checkEnclave(enclave, signed, enclaveSignature);
        Interruption storage record = _interruptions[key.requestHash];
        if (excluded & record.excluded != record.excluded) {
            revert IJobs.Mismatch("excluded", excluded, record.excluded);
        }

        record.excluded = excluded;
        uint256 setAside = 0;
        uint40 settleDeadline = _slots[key.requestHash].deadline();
        if (record.sharesDeadline == 0) {
            setAside = _openWindow(record, key, bargain);
            uint32 window = key.decideWindow + bargain.settleWindow;
            settleDeadline = _enter(key, bargainHash, Status.Accepted, window, stage);
        }
        emit IJobs.SharesReportedMissing(key.jobId, excluded, record.sharesDeadline, settleDeadline, setAside);
    }

    /// See {IJobs-postRelease}.
    function postRelease(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        Members calldata members,
        uint8 index,
        bytes[] calldata sealed_,
        bytes32 r,
        bytes32 vs
    ) external {
        _checkTimely(key, bargain, Status.Accepted, TypedData.hashStage(enclave));
        Interruption storage record = _interruptions[key.requestHash];
        uint40 deadline = record.sharesDeadline;
        if (block.timestamp > deadline) revert IJobs.TooLate(key.requestHash, block.timestamp, deadline);
        _checkSealed(bargain.claims.length, sealed_);
        _checkPoster(_openedQuorum(bargain.epoch, members) | record.posted, members, index);
        bytes32 sent = Releases.sentHash(bargain.claims, sealed_);
        address got = Signatures.recover(Releases.digest(key.jobId, enclave.evidenceHash, index, sent), r, vs);
        if (got != members.signers[index]) revert IJobs.WrongNode(index, got, members.signers[index]);

        record.posted |= uint16(1) << index;
        FeeBook book = _bookOf(bargain.epoch, bargain.token);
        record.unspent -= uint88(_oweFees(bargain.epoch, bargain.token, book, 1 << uint256(index)));

        emit IJobs.ReleasePosted(key.jobId, index, sealed_, r, vs);
    }

    /// See {IJobs-endInterrupted}.
    function endInterrupted(JobKey calldata key, Bargain calldata bargain, Enclave calldata enclave) external {
        bytes32 stage = TypedData.hashStage(enclave);
        uint40 deadline = _checkOpened(key, TypedData.hash(bargain), Status.Accepted, stage);
        FeeBook book = _bookOf(bargain.epoch, bargain.token);
        Fault fault = _interruptedBy(key.requestHash, book);
        if (fault == Fault.None) revert IJobs.NotInterrupted(key.requestHash);
        // Until the deadline a settlement may still come; only its provider may give that up.
        if (fault == Fault.StoppedBeforeRelease && msg.sender != key.provider && block.timestamp <= deadline) {
            revert IJobs.TooEarly(key.requestHash, block.timestamp, deadline);
        }
        _carryOut(Ending(fault, enclave.evidenceHash), key, bargain, _unsettled(fault, bargain, book, 0));
    }

    /// See {IJobs-returnUnspent}.
    function returnUnspent(bytes32 requestHash) external {
        Interruption storage record = _interruptions[requestHash];
        (address token, address provider, uint256 amount) = (record.token, record.provider, record.unspent);
        if (amount == 0) revert ILedger.ZeroAmount();
        uint40 deadline = record.sharesDeadline;
        if (block.timestamp <= deadline) revert IJobs.TooEarly(requestHash, block.timestamp, deadline);

        record.unspent = 0;
        _credit(token, provider, amount);

        emit IJobs.UnspentReturned(requestHash, provider, token, amount);
    }

    /// Open the window in which releases may be posted, at the provider's cost.
    /// @return setAside One fee for each member of the committee.
    function _openWindow(Interruption storage record, JobKey calldata key, Bargain calldata bargain)
        private
        returns (uint256 setAside)
    {
        FeeBook book = _bookOf(bargain.epoch, bargain.token);
        setAside = uint256(book.members()) * book.fee();
        _takeWithStake(bargain.token, key.provider, setAside);
        (record.provider, record.token) = (key.provider, bargain.token);
        record.unspent = uint88(setAside);
        record.sharesDeadline = uint40(block.timestamp) + key.decideWindow;
    }

    function _checkSealed(uint256 assets, bytes[] calldata sealed_) private pure {
        if (sealed_.length != assets) revert IJobs.Mismatch("sealed", sealed_.length, assets);
        for (uint256 i = 0; i < assets; ++i) {
            _checkBounds("sealed", sealed_[i].length, 1, MAX_SEALED);
        }
    }

    function _checkPoster(uint256 barred, Members calldata members, uint8 index) private pure {
        if (index >= members.signers.length || barred & (1 << uint256(index)) != 0) {
            revert IJobs.BadSignerIndex(index, 0);
        }
    }
}
