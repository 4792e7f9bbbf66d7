// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ILedgerReceiver} from "../interfaces/ILedgerReceiver.sol";
import {ISessions} from "../interfaces/ISessions.sol";
import {TabWord} from "../libraries/TabWords.sol";
import {AssetUse} from "../types/Assets.sol";
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
        else _fund(_openingIn(data), token, from, amount);
        return ILedgerReceiver.onLedgerTransfer.selector;
    }

    /// @inheritdoc ISessions
    function requestClose(bytes32 jobId) external {
        TabWord tab = _openTab(jobId, msg.sender);
        if (tab.requestedBlock() != 0) revert AlreadyRequested(jobId, msg.sender);
        _tabs[jobId][msg.sender].word = tab.requested(block.number);
        emit CloseRequested(jobId, msg.sender, block.number);
    }

    /// @inheritdoc ISessions
    function closeTab(bytes32 jobId, address account) external {
        TabWord tab = _openTab(jobId, account);
        Service storage service = _services[jobId];
        uint256 opensAt = _lastSecond(service) + 1;
        uint256 closesAt = tab.closesAt();
        if (closesAt != 0 && closesAt < opensAt) opensAt = closesAt;
        if (block.timestamp < opensAt) revert TabOpen(jobId, account, block.timestamp, opensAt);
        uint256 left = tab.limit() - tab.paid();
        _tabs[jobId][account].word = tab.returned();
        emit TabClosed(jobId, account, left);

        if (left != 0) market.transfer(service.token, account, left);
    }

    /// Lock more for an account, if service, bond and terms allow it.
    function _fund(TabOpening calldata opening, address token, address from, uint256 amount) private {
        JobSpec calldata spec = opening.spec;
        bytes32 jobId = _jobId(spec);
        Service storage service = _known(jobId);
        if (token != service.token) revert WrongToken(token, service.token);
        _checkTerms(opening.terms, spec);
        _checkServes(jobId, service, spec);
        if (opening.proofs.length != spec.assets.length) {
            revert IJobs.Mismatch("proofs", opening.proofs.length, spec.assets.length);
        }
        for (uint256 i = 0; i < spec.assets.length; ++i) {
            AssetUse calldata use = spec.assets[i];
            bool admitted =
                _registry.admits(use.assetId, use.version, spec.purpose, opening.account, opening.proofs[i]);
            if (!admitted) revert AccountNotAllowed(use.assetId, opening.account);
        }
        TabWord tab = _tabs[jobId][opening.account].word;
        if (tab.requestedBlock() != 0 || tab.closesAt() != 0) {
            revert TabCloses(jobId, opening.account, uint40(tab.closesAt()));
        }
        tab = tab.adding(amount);
        if (tab.limit() < opening.terms.leastTab) revert TabTooSmall(tab.limit(), opening.terms.leastTab);

        _tabs[jobId][opening.account].word = tab;

        emit TabFunded(jobId, opening.account, from, amount, tab.limit());
    }

    /// The tab of an account, of which something may be left.
    function _openTab(bytes32 jobId, address account) private view returns (TabWord tab) {
        tab = _tabs[jobId][account].word;
        if (tab.limit() == 0 || tab.isReturned()) revert NoTab(jobId, account);
    }

    function _checkServes(bytes32 jobId, Service storage service, JobSpec calldata spec) private view {
        if (block.timestamp >= service.end || _statusOf(spec) != Status.Accepted) {
            revert ServiceOver(jobId, block.timestamp, service.end);
        }
        (uint256 bond, uint256 least) = (service.accrued.bond(), _leastBond(service));
        if (bond < least) revert BondTooSmall(jobId, bond, least);
    }

    /// The TabOpening that `data` encodes, read where it lies: a copy of it would cost more than the tab.
    function _openingIn(bytes calldata data) private pure returns (TabOpening calldata opening) {
        uint256 offset = uint256(bytes32(data[:32]));
        if (offset != 32) revert IJobs.Mismatch("opening", offset, 32);
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            opening := add(data.offset, 0x20)
        }
    }
}
