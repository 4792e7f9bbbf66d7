// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ISessions} from "../interfaces/ISessions.sol";
import {NodeSignature} from "../types/Committees.sol";
import {JobSpec, Outcome} from "../types/Jobs.sol";
import {Match} from "../types/Orders.sol";
import {
    Entry,
    Renewal,
    Royalty,
    ServiceState,
    SessionTerms,
    Statement,
    Tab,
    TabOpening,
    TabState
} from "../types/Sessions.sol";
import {Fixture} from "./Fixture.sol";
import {packed} from "./Hashes.sol";
import {vm} from "./Vm.sol";

/// @title A market with sessions, and the steps of a service as plain calls
/// @dev Hashes of statements and renewals are made here by plain encoding, apart from the contract's.
abstract contract SessionFixture is Fixture {
    uint256 internal constant ACCOUNT_KEYS = 0xACC0;
    uint64 internal constant LEASE = 100;
    uint32 internal constant LEASE_SECONDS = 60;
    uint32 internal constant REDEMPTION = 200;
    uint128 internal constant UNIT_PRICE = 10;
    uint128 internal constant PER_UNIT = 2;
    uint128 internal constant LEAST_TAB = 50;
    uint128 internal constant RENEWAL_FEE = 3;
    bytes32 private constant ENTRY = keccak256("Entry(address account,uint64 units,bool last)");
    bytes32 private constant STATEMENT = keccak256(
        "Statement(bytes32 jobId,uint64 total,bool last,Entry[] entries)Entry(address account,uint64 units,bool last)"
    );
    bytes32 private constant TAB_STATE = keccak256("TabState(address account,uint64 units,bool closing)");
    bytes32 private constant RENEWAL = keccak256(
        "Renewal(bytes32 jobId,bytes32 nonce,uint64 blockNumber,uint40 blockTime,uint64 redeemed,TabState[] tabs)TabState(address account,uint64 units,bool closing)" // solhint-disable-line max-line-length
    );

    /// A service: its job and its terms.
    struct Open {
        JobSpec spec;
        SessionTerms terms;
        bytes32 jobId;
    }

    ISessions internal sessions;

    function setUp() public virtual override {
        super.setUp();
        vm.roll(1_000);
        sessions = ISessions(_create("Sessions.sol:Sessions", abi.encode(market)));
        for (uint256 i = 0; i < 4; ++i) {
            _fund(_account(i));
        }
    }

    function _account(uint256 i) internal pure returns (address) {
        return vm.addr(ACCOUNT_KEYS + i);
    }

    // ---- services ----

    function _sessionTerms(bytes32[] memory assets) internal view returns (SessionTerms memory terms) {
        terms.sessions = address(sessions);
        (terms.lease, terms.leaseSeconds, terms.redemptionWindow) = (LEASE, LEASE_SECONDS, REDEMPTION);
        (terms.end, terms.bucket) = (uint40(vm.getBlockTimestamp() + 1_500), 4);
        (terms.unitPrice, terms.leastTab, terms.renewalFee) = (UNIT_PRICE, LEAST_TAB, RENEWAL_FEE);
        terms.royalties = new Royalty[](assets.length);
        for (uint256 i = 0; i < assets.length; ++i) {
            terms.royalties[i] = Royalty(assets[i], PER_UNIT);
        }
    }

    function _assetsOf(uint256 count) internal returns (bytes32[] memory assets) {
        assets = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            assets[i] = _publish(i, _terms());
        }
    }

    /// The deal of a service under these terms, signed.
    function _serviceDeal(bytes32[] memory assets, SessionTerms memory terms) internal returns (Match memory deal) {
        deal = _dealOver(assets);
        (deal.request.kind, deal.compute.kind) = (2, 2);
        (deal.request.consumer, deal.request.payer) = (provider, provider);
        (deal.compute.price, deal.compute.unitPrice) = (0, 0);
        deal.request.extensionHash = hashes.ofSessionTerms(terms);
        _signService(deal);
    }

    function _signService(Match memory deal) internal view {
        _signDeal(deal);
        if (deal.request.consumer == provider) {
            deal.consumerSignature = _sign(PROVIDER_KEY, hashes.ofRequest(deal.request));
        }
    }

    function _acceptedDeal(Match memory deal) internal returns (JobSpec memory spec) {
        (spec,) = _match(deal);
        _quote(spec);
        _decide(spec, Outcome.Accepted);
    }

    /// An accepted job of kind 2, not opened yet.
    function _unopened(uint256 assets) internal returns (Open memory open) {
        bytes32[] memory ids = _assetsOf(assets);
        open.terms = _sessionTerms(ids);
        open.spec = _acceptedDeal(_serviceDeal(ids, open.terms));
        open.jobId = _jobId(open.spec);
    }

    function _openService(Open memory open) internal {
        sessions.openService(open.spec, EVIDENCE, enclaveSigner, KEYS, open.terms);
    }

    /// A service with its bond.
    function _service(uint256 assets) internal returns (Open memory open) {
        open = _unopened(assets);
        _openService(open);
        _bond(open, uint256(LEASE) * PER_UNIT * assets);
    }

    function _bond(Open memory open, uint256 amount) internal {
        vm.prank(provider);
        market.transferAndCall(open.spec.token, address(sessions), amount, abi.encode(open.jobId));
    }

    function _state(Open memory open) internal view returns (ServiceState memory) {
        return sessions.serviceOf(open.jobId);
    }

    function _tab(Open memory open, address account) internal view returns (Tab memory) {
        return sessions.tabOf(open.jobId, account);
    }

    // ---- tabs ----

    function _opening(Open memory open, address account) internal pure returns (TabOpening memory opening) {
        (opening.spec, opening.terms, opening.account) = (open.spec, open.terms, account);
        opening.proofs = new bytes32[][](open.spec.assets.length);
    }

    function _funding(Open memory open, address account, uint256 amount) internal view returns (bytes memory) {
        return abi.encodeCall(
            market.transferAndCall,
            (open.spec.token, address(sessions), amount, abi.encode(_opening(open, account)))
        );
    }

    function _fundTab(Open memory open, address account, uint256 amount) internal {
        bytes memory data = abi.encode(_opening(open, account));
        vm.prank(account);
        market.transferAndCall(open.spec.token, address(sessions), amount, data);
    }

    // ---- documents ----

    function _statement(Open memory open, uint64 total, uint256 entries) internal pure returns (Statement memory) {
        return Statement(open.jobId, total, false, new Entry[](entries));
    }

    /// A statement of one account that was served `units`, and no one else.
    function _ofOne(Open memory open, address account, uint64 units) internal pure returns (Statement memory made) {
        made = _statement(open, units, 1);
        made.entries[0] = Entry(account, units, false);
    }

    function _hashOf(Statement memory statement) internal pure returns (bytes32) {
        bytes32[] memory items = new bytes32[](statement.entries.length);
        for (uint256 i = 0; i < items.length; ++i) {
            Entry memory entry = statement.entries[i];
            items[i] = keccak256(abi.encode(ENTRY, entry.account, entry.units, entry.last));
        }
        bytes32 list = keccak256(abi.encodePacked(items));
        return keccak256(abi.encode(STATEMENT, statement.jobId, statement.total, statement.last, list));
    }

    function _hashOf(Renewal memory renewal) internal pure returns (bytes32) {
        bytes32[] memory items = new bytes32[](renewal.tabs.length);
        for (uint256 i = 0; i < items.length; ++i) {
            TabState memory state = renewal.tabs[i];
            items[i] = keccak256(abi.encode(TAB_STATE, state.account, state.units, state.closing));
        }
        bytes32 list = keccak256(abi.encodePacked(items));
        return keccak256(
            abi.encode(
                RENEWAL,
                renewal.jobId,
                renewal.nonce,
                renewal.blockNumber,
                renewal.blockTime,
                renewal.redeemed,
                list
            )
        );
    }

    function _signed(Statement memory statement) internal view returns (bytes memory) {
        return _sign(ENCLAVE_KEY, _hashOf(statement));
    }

    function _redeem(Statement memory statement) internal {
        _redeem(statement, _signed(statement));
    }

    function _redeem(Statement memory made, bytes memory signature) internal {
        sessions.redeem(made.jobId, made.total, made.last, packed(made.entries), signature);
    }

    function _redeeming(Statement memory statement) internal view returns (bytes memory) {
        return _redeeming(statement, _signed(statement));
    }

    function _redeeming(Statement memory made, bytes memory signature) internal pure returns (bytes memory) {
        return abi.encodeCall(
            ISessions.redeem, (made.jobId, made.total, made.last, packed(made.entries), signature)
        );
    }

    function _renewal(Open memory open, address account, bool closing) internal view returns (Renewal memory made) {
        TabState[] memory tabs = new TabState[](1);
        tabs[0] = TabState(account, 0, closing);
        return Renewal({
            jobId: open.jobId,
            nonce: keccak256("nonce"),
            blockNumber: uint64(block.number),
            blockTime: uint40(vm.getBlockTimestamp()),
            redeemed: 0,
            tabs: tabs
        });
    }

    function _nodes(Renewal memory renewal, uint256 count) internal view returns (NodeSignature[] memory) {
        return _nodeSignatures(_hashOf(renewal), count);
    }
}
