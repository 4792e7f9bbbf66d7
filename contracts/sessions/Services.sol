// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ISessions} from "../interfaces/ISessions.sol";
import {AccrualWord} from "../libraries/AccrualWords.sol";
import {JobSlots} from "../libraries/JobSlots.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {AssetUse} from "../types/Assets.sol";
import {JobSpec, Status} from "../types/Jobs.sol";
import {Royalty, SessionTerms} from "../types/Sessions.sol";
import {SessionState} from "./SessionState.sol";

/// @title Opening and ending services, and the provider's bond
abstract contract Services is SessionState {
    /// The kind of job that is a service. Python has the same number, `protocol.session.KIND`.
    uint8 internal constant KIND = 2;
    uint32 internal constant MAX_REDEMPTION = 30 days;

    /// @inheritdoc ISessions
    function openService(
        JobSpec calldata spec,
        bytes32 evidenceHash,
        address enclaveSigner,
        bytes32 enclaveKeyHash,
        SessionTerms calldata terms
    ) external {
        bytes32 jobId = _jobId(spec);
        Service storage service = _services[jobId];
        if (service.enclaveSigner != address(0)) revert ServiceExists(jobId);
        bytes32 stage = keccak256(abi.encode(evidenceHash, enclaveSigner, enclaveKeyHash));
        uint40 deadline = _checkAccepted(spec, jobId, stage);
        _checkJob(spec);
        _checkTerms(terms, spec);
        uint256 royalties = _checkRoyalties(spec.assets, terms);
        _checkBounds(terms, royalties, deadline);

        service.enclaveSigner = enclaveSigner;
        service.end = terms.end;
        service.redemptionWindow = terms.redemptionWindow;
        // The registry knows no epoch above 2^16 - 1; the bounds hold the rest.
        service.epoch = uint16(spec.epoch);
        (service.unitPrice, service.royalties) = (uint88(terms.unitPrice), uint88(royalties));
        service.lease = terms.lease;
        (service.provider, service.token) = (spec.provider, spec.token);
        (service.renewalFee, service.leaseSeconds) = (uint64(terms.renewalFee), terms.leaseSeconds);

        emit ServiceOpened(jobId, spec.provider, spec.token, enclaveSigner, uint16(spec.epoch), terms);
    }

    /// @inheritdoc ISessions
    function endService(JobSpec calldata spec) external {
        bytes32 jobId = _jobId(spec);
        Service storage service = _known(jobId);
        if (_statusOf(spec) == Status.Accepted) revert ServiceStands(jobId);
        if (service.end <= block.timestamp) revert NothingToDo(jobId);
        _endNow(jobId, service);
    }

    /// @inheritdoc ISessions
    function takeBond(bytes32 jobId, uint256 amount) external {
        Service storage service = _known(jobId);
        if (msg.sender != service.provider) revert OnlyProvider(msg.sender, service.provider);
        AccrualWord accrued = service.accrued;
        bool over = accrued.last() || block.timestamp > _lastSecond(service);
        uint256 stays = over ? 0 : _leastBond(service);
        if (amount + stays > accrued.bond()) revert BondTooSmall(jobId, accrued.bond(), amount + stays);
        service.accrued = accrued.withBond(accrued.bond() - amount);
        emit BondTaken(jobId, amount);

        market.transfer(service.token, msg.sender, amount);
    }

    /// @inheritdoc ISessions
    function payRoyalties(JobSpec calldata spec, SessionTerms calldata terms) external {
        bytes32 jobId = _jobId(spec);
        Service storage service = _known(jobId);
        _checkTerms(terms, spec);
        AccrualWord accrued = service.accrued;
        uint64 units = accrued.redeemed() - accrued.credited();
        if (units == 0) revert NothingToDo(jobId);
        service.accrued = accrued.allCredited();
        emit RoyaltiesPaid(jobId, units);

        for (uint256 i = 0; i < spec.assets.length; ++i) {
            uint256 amount = uint256(units) * terms.royalties[i].perUnit;
            if (amount != 0) market.transfer(spec.token, spec.assets[i].owner, amount);
        }
    }

    function _addBond(bytes32 jobId, address token, address from, uint256 amount) internal {
        Service storage service = _known(jobId);
        if (token != service.token) revert WrongToken(token, service.token);
        if (from != service.provider) revert OnlyProvider(from, service.provider);
        AccrualWord accrued = service.accrued;
        service.accrued = accrued.withBond(accrued.bond() + amount);
        emit BondAdded(jobId, amount);
    }

    function _statusOf(JobSpec calldata spec) internal view returns (Status status) {
        (status,,) = market.jobOf(spec.requestHash);
    }

    /// Check that the market's slot shows this very job, accepted with this enclave.
    function _checkAccepted(JobSpec calldata spec, bytes32 jobId, bytes32 stage)
        private
        view
        returns (uint40 deadline)
    {
        Status status;
        uint208 commitment;
        (status, deadline, commitment) = market.jobOf(spec.requestHash);
        if (status != Status.Accepted) revert IJobs.UnexpectedStatus(spec.requestHash, status, Status.Accepted);
        uint208 got =
            JobSlots.commit(jobId, spec.provider, spec.decideWindow, TypedData.hashBargain(spec), stage);
        if (got != commitment) revert IJobs.WrongCommitment(spec.requestHash, got, commitment);
    }

    /// Check the bounds of the terms; docs/spec/session.md has the table.
    function _checkBounds(SessionTerms calldata terms, uint256 royalties, uint40 deadline) private view {
        if (terms.sessions != address(this)) revert WrongSessions(terms.sessions, address(this));
        _checkBound("lease", terms.lease, 1, type(uint64).max);
        _checkBound("leaseSeconds", terms.leaseSeconds, 1, type(uint32).max);
        _checkBound("bucket", terms.bucket, 1, type(uint64).max);
        uint256 shortest = uint256(terms.leaseSeconds) + 4 * uint256(_finality);
        _checkBound("redemptionWindow", terms.redemptionWindow, shortest, MAX_REDEMPTION);
        _checkBound("end", terms.end, block.timestamp + 1, deadline);
        _checkBound("unitPrice", terms.unitPrice, royalties == 0 ? 1 : royalties, type(uint88).max);
        _checkBound("renewalFee", terms.renewalFee, 0, type(uint64).max);
    }

    function _checkJob(JobSpec calldata spec) private pure {
        if (spec.kind != KIND) revert WrongKind(spec.kind, KIND);
        if (spec.consumer != spec.provider || spec.payer != spec.provider) {
            revert PartiesDiffer(spec.consumer, spec.payer, spec.provider);
        }
        if (spec.computePrice != 0 || spec.unitPrice != 0) revert ComputePriced(spec.computePrice, spec.unitPrice);
    }

    /// Check that each royalty is the asset's at its place, and that the asset's price covers a lease of it.
    /// @return royalties Their sum.
    function _checkRoyalties(AssetUse[] calldata uses, SessionTerms calldata terms)
        private
        pure
        returns (uint256 royalties)
    {
        if (terms.royalties.length != uses.length) revert WrongRoyalties(terms.royalties.length);
        for (uint256 i = 0; i < uses.length; ++i) {
            Royalty calldata royalty = terms.royalties[i];
            if (royalty.assetId != uses[i].assetId) revert WrongRoyalties(i);
            _checkBound("price of a lease", uses[i].price, uint256(terms.lease) * royalty.perUnit, type(uint128).max);
            royalties += royalty.perUnit;
        }
    }

    function _checkBound(bytes32 field, uint256 got, uint256 least, uint256 most) private pure {
        if (got < least || got > most) revert IJobs.OutOfBounds(field, got, least, most);
    }
}
