// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {EntryWord, EntryWords} from "../libraries/EntryWords.sol";
import {SessionData} from "../libraries/SessionData.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Bargain, Decision, FailureReport, JobSpec, SettledResult} from "../types/Jobs.sol";
import {AssetOrder, ComputeOrder, Request} from "../types/Orders.sol";
import {Entry, Renewal, SessionTerms, Statement} from "../types/Sessions.sol";

/// The entries of a statement as calls carry them.
function packed(Entry[] memory entries) pure returns (EntryWord[] memory words) {
    words = new EntryWord[](entries.length);
    for (uint256 i = 0; i < words.length; ++i) {
        words[i] = EntryWords.make(entries[i].account, entries[i].units, entries[i].last);
    }
}

/// @title The hashes of documents, to be called with what tests hold in memory
contract Hashes {
    function ofRequest(Request calldata request) external pure returns (bytes32) {
        return TypedData.hash(request);
    }

    function ofSpec(JobSpec calldata spec) external pure returns (bytes32) {
        return TypedData.hash(spec);
    }

    function ofBargain(Bargain calldata bargain) external pure returns (bytes32) {
        return TypedData.hash(bargain);
    }

    function ofCompute(ComputeOrder calldata order) external pure returns (bytes32) {
        return TypedData.hash(order);
    }

    function ofAsset(AssetOrder calldata order) external pure returns (bytes32) {
        return TypedData.hash(order);
    }

    function ofSessionTerms(SessionTerms calldata terms) external pure returns (bytes32) {
        return SessionData.hash(terms);
    }

    function ofStatement(Statement calldata statement) external view returns (bytes32) {
        return this.ofPacked(statement.jobId, statement.total, statement.last, packed(statement.entries));
    }

    function ofPacked(bytes32 jobId, uint64 total, bool last, EntryWord[] calldata entries)
        external
        pure
        returns (bytes32)
    {
        return SessionData.hashStatement(jobId, total, last, entries);
    }

    function ofRenewal(Renewal calldata renewal) external pure returns (bytes32) {
        return SessionData.hash(renewal);
    }

    function ofDecision(Decision calldata decision) external pure returns (bytes32) {
        return TypedData.hash(decision);
    }

    function ofSharesMissing(bytes32 jobId, bytes32 evidenceHash, uint16 excluded) external pure returns (bytes32) {
        return TypedData.sharesMissingHash(jobId, evidenceHash, excluded);
    }

    function ofQuote(bytes32 jobId, bytes32 evidenceHash) external pure returns (bytes32) {
        return TypedData.quoteHash(jobId, evidenceHash);
    }

    function ofStop(bytes32 jobId, bytes32 evidenceHash, uint32 epoch, uint256 reasons)
        external
        pure
        returns (bytes32)
    {
        return TypedData.stopHash(jobId, evidenceHash, epoch, reasons);
    }

    function ofSettlement(bytes32 jobId, SettledResult calldata result) external pure returns (bytes32) {
        return TypedData.settlementHash(jobId, result);
    }

    function ofFailure(bytes32 jobId, FailureReport calldata report) external pure returns (bytes32) {
        return TypedData.failureHash(jobId, report);
    }

    function ofAcknowledgement(bytes32 jobId, bytes32 resultHash) external pure returns (bytes32) {
        return TypedData.acknowledgementHash(jobId, resultHash);
    }

    function ofChallengeAnswer(bytes32 jobId, bytes32 resultHash, bool available) external pure returns (bytes32) {
        return TypedData.challengeAnswerHash(jobId, resultHash, available);
    }

    function domainSeparator(address market) external view returns (bytes32) {
        return TypedData.domainSeparator(market);
    }
}
