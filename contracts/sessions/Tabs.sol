// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ILedgerReceiver} from "../interfaces/ILedgerReceiver.sol";
import {ISessions} from "../interfaces/ISessions.sol";
import {Counterparts} from "../libraries/Counterparts.sol";
import {TabWord} from "../libraries/TabWords.sol";
import {AssetUse, VersionState} from "../types/Assets.sol";
import {JobSpec, Status} from "../types/Jobs.sol";
import {TabOpening} from "../types/Sessions.sol";
import {Services} from "./Services.sol";

/// @title What accounts lock for a service, and what returns to them
abstract contract Tabs is Services {
    /// @inheritdoc ILedgerReceiver
    function onLedgerTransfer(address token, address from, uint256 amount, bytes calldata data)
        external
        returns (bytes4)
    {
        if (msg.sender != address(market)) revert OnlyMarket(msg.sender, address(market));
        if (data.length == 32) _addBond(bytes32(data), token, from, amount);
        else _fund(abi.decode(data, (TabOpening)), token, from, amount);
        return ILedgerReceiver.onLedgerTransfer.selector;
    }

    /// @inheritdoc ISessions
    function requestClose(bytes32 jobId) external {
        TabWord tab = _openTab(jobId, msg.sender);
        if (tab.requestedBlock() != 0) revert AlreadyRequested(jobId, msg.sender);
        _tabs[jobId][msg.sender] = tab.requested(block.number);
        emit CloseRequested(jobId, msg.sender, block.number);
    }

    /// @inheritdoc ISessions
    function closeTab(bytes32 jobId, address account) external {
        TabWord tab = _openTab(jobId, account);
        Service storage service = _services[jobId];
        uint256 over = _lastSecond(service) + 1;
        if (!tab.isClosed(block.timestamp) && block.timestamp < over) {
            uint256 closesAt = tab.closesAt();
            revert TabOpen(jobId, account, block.timestamp, closesAt == 0 || over < closesAt ? over : closesAt);
        }
        uint256 left = tab.limit() - tab.paid();
        _tabs[jobId][account] = tab.returned();
        emit TabClosed(jobId, account, left);

        if (left != 0) market.transfer(service.token, account, left);
    }

    /// Lock more for an account, if service, bond and terms allow it.
    function _fund(TabOpening memory opening, address token, address from, uint256 amount) private {
        JobSpec memory spec = opening.spec;
        bytes32 jobId = _jobId(spec);
        Service storage service = _known(jobId);
        if (token != service.token) revert WrongToken(token, service.token);
        _checkTerms(opening.terms, spec);
        _checkServes(jobId, service, spec);
        if (opening.proofs.length != spec.assets.length) {
            revert IJobs.Mismatch("proofs", opening.proofs.length, spec.assets.length);
        }
        for (uint256 i = 0; i < spec.assets.length; ++i) {
            _checkAllowed(spec.assets[i], spec.purpose, opening.account, opening.proofs[i]);
        }
        TabWord tab = _tabs[jobId][opening.account];
        if (tab.requestedBlock() != 0 || tab.closesAt() != 0) {
            revert TabCloses(jobId, opening.account, uint40(tab.closesAt()));
        }
        tab = tab.adding(amount);
        if (tab.limit() < opening.terms.leastTab) revert TabTooSmall(tab.limit(), opening.terms.leastTab);

        _tabs[jobId][opening.account] = tab;

        emit TabFunded(jobId, opening.account, from, amount, tab.limit());
    }

    /// The tab of an account, of which something may be left.
    function _openTab(bytes32 jobId, address account) private view returns (TabWord tab) {
        tab = _tabs[jobId][account];
        if (tab.limit() == 0 || tab.isReturned()) revert NoTab(jobId, account);
    }

    function _checkServes(bytes32 jobId, Service storage service, JobSpec memory spec) private view {
        if (block.timestamp >= service.end || _statusOf(spec) != Status.Accepted) {
            revert ServiceOver(jobId, block.timestamp, service.end);
        }
        (uint256 bond, uint256 least) = (service.accrued.bond(), _leastBond(service));
        if (bond < least) revert BondTooSmall(jobId, bond, least);
    }

    /// Check what an asset's terms in force say of an account; the nodes check the rest of them at each renewal.
    function _checkAllowed(AssetUse memory use, uint32 purpose, address account, bytes32[] memory proof) private view {
        VersionState memory state = _registry.versionOf(use.assetId, use.version);
        bool allowed = !state.revoked && block.timestamp <= state.terms.expiry && purpose & ~state.terms.purposes == 0
            && Counterparts.includesProven(state.terms.consumerRoot, account, proof);
        if (!allowed) revert AccountNotAllowed(use.assetId, account);
    }
}
