// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ISessions} from "../interfaces/ISessions.sol";
import {AccrualWord} from "../libraries/AccrualWords.sol";
import {Quorums} from "../libraries/Quorums.sol";
import {SessionData} from "../libraries/SessionData.sol";
import {TabWord} from "../libraries/TabWords.sol";
import {Epoch, Members, NodeSignature} from "../types/Committees.sol";
import {Renewal, TabState} from "../types/Sessions.sol";
import {SessionState} from "./SessionState.sol";

/// @title What t nodes say of a service: that accounts asked to close, and that it may go on, for which they are paid
abstract contract Renewals is SessionState {
    /// @inheritdoc ISessions
    function confirmClose(Renewal calldata renewal, Members calldata members, NodeSignature[] calldata signatures)
        external
    {
        bytes32 jobId = renewal.jobId;
        Service storage service = _known(jobId);
        _checkQuorum(service.epoch, renewal, members, signatures);
        uint40 closesAt = uint40(block.timestamp) + service.redemptionWindow;
        uint256 confirmed = 0;
        for (uint256 i = 0; i < renewal.tabs.length; ++i) {
            TabState calldata state = renewal.tabs[i];
            TabWord tab = _tabs[jobId][state.account].word;
            uint256 requested = tab.requestedBlock();
            bool seen = state.closing && requested != 0 && requested <= renewal.blockNumber;
            if (!seen || tab.closesAt() != 0) continue;
            ++confirmed;
            _tabs[jobId][state.account].word = tab.closing(closesAt);
            emit CloseConfirmed(jobId, state.account, closesAt);
        }
        if (confirmed == 0) revert NothingToDo(jobId);
    }

    /// @inheritdoc ISessions
    function claimRenewal(Renewal calldata renewal, Members calldata members, NodeSignature[] calldata signatures)
        external
    {
        bytes32 jobId = renewal.jobId;
        Service storage service = _known(jobId);
        (uint64 blockNumber, uint256 least) = (renewal.blockNumber, uint256(service.renewedBlock) + 1);
        if (blockNumber < least || blockNumber > type(uint48).max) {
            revert WrongRenewalBlock(blockNumber, least, type(uint48).max);
        }
        uint256 payableFrom = uint256(service.renewedAt) + service.leaseSeconds / 2;
        if (block.timestamp < payableFrom) revert RenewalTooEarly(block.timestamp, payableFrom);
        if (block.timestamp > _lastSecond(service)) revert ServiceOver(jobId, block.timestamp, service.end);
        uint256 signers = _checkQuorum(service.epoch, renewal, members, signatures);
        (AccrualWord accrued, uint256 fee) = (service.accrued, service.renewalFee);
        if (fee == 0) revert NothingToDo(jobId);
        uint256 fees = fee * signatures.length;
        if (fees > accrued.bond()) revert BondTooSmall(jobId, accrued.bond(), fees);

        service.accrued = accrued.withBond(accrued.bond() - fees);
        (service.renewedAt, service.renewedBlock) = (uint40(block.timestamp), uint48(blockNumber));
        emit RenewalPaid(jobId, blockNumber, signers, fee);

        for (uint256 i = 0; i < signatures.length; ++i) {
            market.transfer(service.token, members.signers[signatures[i].index], fee);
        }
    }

    /// Check that exactly a threshold of the committee's members signed the renewal.
    /// @return signers Bitmap of their indices.
    function _checkQuorum(
        uint32 epoch,
        Renewal calldata renewal,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) private view returns (uint256 signers) {
        Epoch memory found = _committee.epochOf(epoch);
        bytes32 got = keccak256(abi.encode(members.signers, members.keysDigest, members.removed));
        if (got != found.membersHash) revert IJobs.WrongCommittee(epoch, got, found.membersHash);
        if (signatures.length != found.threshold) {
            revert IJobs.WrongSignatureCount(signatures.length, found.threshold);
        }
        bytes32 digest = _digest(SessionData.hash(renewal));
        for (uint256 i = 0; i < signatures.length; ++i) {
            signers |= Quorums.checkNode(members.removed, members, signatures[i], digest, i, signers);
        }
    }
}
