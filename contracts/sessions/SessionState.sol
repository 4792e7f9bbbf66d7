// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "../interfaces/IAssetRegistry.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {IOracleCommittee} from "../interfaces/IOracleCommittee.sol";
import {ISessions} from "../interfaces/ISessions.sol";
import {AccrualWord} from "../libraries/AccrualWords.sol";
import {SessionData} from "../libraries/SessionData.sol";
import {TabWord} from "../libraries/TabWords.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {JobSpec} from "../types/Jobs.sol";
import {ServiceState, SessionTerms, Tab} from "../types/Sessions.sol";

/// @title The storage of sessions, and what every part reads of it
abstract contract SessionState is ISessions {
    /// One slot a line: what a statement changes, and what it reads, are three of them.
    struct Service {
        AccrualWord accrued;
        address enclaveSigner; uint40 end; uint32 redemptionWindow; uint16 epoch;
        uint88 unitPrice; uint88 royalties; uint64 lease;
        address provider; uint40 renewedAt; uint48 renewedBlock;
        address token; uint64 renewalFee; uint32 leaseSeconds;
    }

    /// A packed tab, of which a storage pointer can be kept.
    struct TabSlot {
        TabWord word;
    }

    /// @inheritdoc ISessions
    IMarket public immutable market;
    IAssetRegistry internal immutable _registry;
    IOracleCommittee internal immutable _committee;
    uint32 internal immutable _finality;
    uint256 private immutable _chainId;
    bytes32 private immutable _separator;

    mapping(bytes32 jobId => Service) internal _services;
    mapping(bytes32 jobId => mapping(address account => TabSlot)) internal _tabs;

    constructor(IMarket market_) {
        market = market_;
        _registry = market_.registry();
        _committee = market_.committee();
        _finality = market_.finality();
        _chainId = block.chainid;
        _separator = TypedData.domainSeparator(address(market_));
    }

    /// @inheritdoc ISessions
    function serviceOf(bytes32 jobId) external view returns (ServiceState memory) {
        Service storage service = _services[jobId];
        AccrualWord accrued = service.accrued;
        return ServiceState({
            provider: service.provider,
            enclaveSigner: service.enclaveSigner,
            token: service.token,
            lease: service.lease,
            leaseSeconds: service.leaseSeconds,
            redemptionWindow: service.redemptionWindow,
            end: service.end,
            epoch: service.epoch,
            unitPrice: service.unitPrice,
            royalties: service.royalties,
            renewalFee: service.renewalFee,
            renewedAt: service.renewedAt,
            renewedBlock: service.renewedBlock,
            redeemed: accrued.redeemed(),
            credited: accrued.credited(),
            bond: uint88(accrued.bond()),
            last: accrued.last()
        });
    }

    /// @inheritdoc ISessions
    function tabOf(bytes32 jobId, address account) external view returns (Tab memory) {
        return _tabs[jobId][account].word.unpack();
    }

    /// Make now the end, unless it has passed.
    function _endNow(bytes32 jobId, Service storage service) internal {
        if (service.end <= block.timestamp) return;
        service.end = uint40(block.timestamp);
        emit ServiceEnded(jobId, uint40(block.timestamp));
    }

    /// The service of an account that is known, or an error.
    function _known(bytes32 jobId) internal view returns (Service storage service) {
        service = _services[jobId];
        if (service.enclaveSigner == address(0)) revert UnknownService(jobId);
    }

    /// The last second at which statements count.
    function _lastSecond(Service storage service) internal view returns (uint256) {
        return uint256(service.end) + service.redemptionWindow;
    }

    /// What the bond has to hold while tabs may open: the royalties of a lease.
    function _leastBond(Service storage service) internal view returns (uint256) {
        return uint256(service.lease) * service.royalties;
    }

    function _jobId(JobSpec calldata spec) internal view returns (bytes32) {
        return _digest(TypedData.hash(spec));
    }

    /// The digest that is signed, in the market's domain. After a fork of the chain, signatures made for the other
    /// branch are invalid here.
    function _digest(bytes32 structHash) internal view returns (bytes32) {
        bytes32 separator = block.chainid == _chainId ? _separator : TypedData.domainSeparator(address(market));
        return TypedData.toDigest(separator, structHash);
    }

    function _checkTerms(SessionTerms calldata terms, JobSpec calldata spec) internal pure {
        bytes32 got = SessionData.hash(terms);
        if (got != spec.extensionHash) revert WrongTerms(got, spec.extensionHash);
    }
}
