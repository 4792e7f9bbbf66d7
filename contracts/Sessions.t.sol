// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "./interfaces/IJobs.sol";
import {ISessions} from "./interfaces/ISessions.sol";
import {EntryWord} from "./libraries/EntryWords.sol";
import {TabWord} from "./libraries/TabWords.sol";
import {Assertions} from "./testing/Assertions.sol";
import {packed} from "./testing/Hashes.sol";
import {SessionFixture} from "./testing/SessionFixture.sol";
import {vm} from "./testing/Vm.sol";
import {Terms} from "./types/Assets.sol";
import {NodeSignature} from "./types/Committees.sol";
import {JobSpec, Outcome, Status} from "./types/Jobs.sol";
import {Match} from "./types/Orders.sol";
import {Entry, Renewal, ServiceState, Statement, TabOpening} from "./types/Sessions.sol";

/// @title Opening a service: only an accepted job of this kind, under these terms
contract OpeningTest is SessionFixture {
    function test_a_job_that_is_not_accepted_is_no_service() public {
        bytes32[] memory ids = _assetsOf(1);
        Open memory open;
        open.terms = _sessionTerms(ids);
        (open.spec,) = _match(_serviceDeal(ids, open.terms));
        _refuseOpening(open, IJobs.UnexpectedStatus.selector);
        _quote(open.spec);
        _refuseOpening(open, IJobs.UnexpectedStatus.selector);
        _decide(open.spec, Outcome.Accepted);
        _openService(open);
    }

    function test_a_job_that_has_settled_is_no_service() public {
        Open memory open = _unopened(1);
        _settle(open.spec, 0, false);
        _refuseOpening(open, IJobs.UnexpectedStatus.selector);
    }

    function test_another_enclave_than_the_accepted_one_is_refused() public {
        Open memory open = _unopened(1);
        bytes4 expected = IJobs.WrongCommitment.selector;
        _refuseAt(
            abi.encodeCall(
                ISessions.openService, (open.spec, keccak256("x"), enclaveSigner, KEYS, open.terms)
            ),
            expected
        );
        _refuseAt(abi.encodeCall(ISessions.openService, (open.spec, EVIDENCE, provider, KEYS, open.terms)), expected);
        _refuseAt(abi.encodeCall(ISessions.openService, (open.spec, EVIDENCE, enclaveSigner, 0, open.terms)), expected);
    }

    function test_a_specification_that_is_not_the_job_s_is_refused() public {
        Open memory open = _unopened(1);
        open.spec.purpose = 2;
        _refuseOpening(open, IJobs.WrongCommitment.selector);
    }

    function test_a_batch_job_is_no_service() public {
        bytes32[] memory ids = _assetsOf(1);
        Open memory open;
        open.terms = _sessionTerms(ids);
        Match memory deal = _serviceDeal(ids, open.terms);
        (deal.request.kind, deal.compute.kind) = (1, 1);
        _signService(deal);
        open.spec = _acceptedDeal(deal);
        _refuseOpening(open, ISessions.WrongKind.selector);
    }

    function test_another_consumer_or_payer_than_the_provider_is_refused() public {
        bytes32[] memory ids = _assetsOf(1);
        Open memory open;
        open.terms = _sessionTerms(ids);
        Match memory deal = _serviceDeal(ids, open.terms);
        (deal.request.consumer, deal.request.payer) = (consumer, consumer);
        _signService(deal);
        open.spec = _acceptedDeal(deal);
        _refuseOpening(open, ISessions.PartiesDiffer.selector);
    }

    function test_a_compute_price_beside_the_terms_is_refused() public {
        bytes32[] memory ids = _assetsOf(1);
        Open memory open;
        open.terms = _sessionTerms(ids);
        Match memory deal = _serviceDeal(ids, open.terms);
        deal.compute.price = 1;
        _signService(deal);
        open.spec = _acceptedDeal(deal);
        _refuseOpening(open, ISessions.ComputePriced.selector);
    }

    function test_other_terms_than_the_request_commits_to_are_refused() public {
        Open memory open = _unopened(1);
        open.terms.unitPrice += 1;
        _refuseOpening(open, ISessions.WrongTerms.selector);
    }

    function test_terms_that_name_another_contract_are_refused() public {
        bytes32[] memory ids = _assetsOf(1);
        Open memory open;
        open.terms = _sessionTerms(ids);
        open.terms.sessions = address(0xbad);
        _refuseTerms(open, ids, ISessions.WrongSessions.selector);
    }

    function test_royalties_that_do_not_name_the_assets_in_order_are_refused() public {
        bytes32[] memory ids = _assetsOf(2);
        Open memory open;
        open.terms = _sessionTerms(ids);
        (open.terms.royalties[0], open.terms.royalties[1]) = (open.terms.royalties[1], open.terms.royalties[0]);
        _refuseTerms(open, ids, ISessions.WrongRoyalties.selector);
        bytes32[] memory one = new bytes32[](1);
        one[0] = ids[0];
        open.terms = _sessionTerms(one);
        _refuseTerms(open, ids, ISessions.WrongRoyalties.selector);
    }

    function test_each_bound_of_the_terms_is_held_and_each_edge_is_open() public {
        for (uint256 i = 0; i < 10; ++i) {
            (Open memory open, bytes32[] memory ids) = _bounded(i, true);
            _refuseTerms(open, ids, IJobs.OutOfBounds.selector);
        }
        for (uint256 i = 0; i < 10; ++i) {
            (Open memory open, bytes32[] memory ids) = _bounded(i, false);
            open.spec = _acceptedDeal(_serviceDeal(ids, open.terms));
            _openService(open);
        }
    }

    /// Terms one beyond a bound, or on it.
    function _bounded(uint256 i, bool beyond) private returns (Open memory open, bytes32[] memory ids) {
        ids = _assetsOf(1);
        uint256 by = beyond ? 1 : 0;
        open.terms = _sessionTerms(ids);
        if (i == 0) open.terms.lease = uint64(1 - by);
        if (i == 1) open.terms.leaseSeconds = uint32(1 - by);
        if (i == 2) open.terms.bucket = uint64(1 - by);
        if (i == 3) open.terms.redemptionWindow = uint32(LEASE_SECONDS + 4 * FINALITY - by);
        if (i == 4) open.terms.redemptionWindow = uint32(30 days + by);
        if (i == 5) open.terms.end = uint40(vm.getBlockTimestamp() + 1 - by);
        if (i == 6) open.terms.end = uint40(vm.getBlockTimestamp() + 1_800 + by);
        if (i == 7) open.terms.unitPrice = uint128(PER_UNIT - by);
        if (i == 8) open.terms.royalties[0].perUnit = uint128(PRICE / LEASE + by);
        if (i == 9) open.terms.renewalFee = uint128(type(uint64).max) + uint128(by);
        if (i == 8) open.terms.unitPrice = 1_000;
    }

    function test_a_service_opens_once() public {
        Open memory open = _service(1);
        _refuseOpening(open, ISessions.ServiceExists.selector);
    }

    function test_what_the_terms_say_is_recorded() public {
        Open memory open = _unopened(2);
        _openService(open);
        ServiceState memory state = _state(open);
        assertEq(state.provider, provider, "provider");
        assertEq(state.enclaveSigner, enclaveSigner, "enclave");
        assertEq(state.royalties, 2 * PER_UNIT, "royalties of both");
        assertEq(state.unitPrice, UNIT_PRICE, "unit price");
        assertEq(state.end, open.terms.end, "end");
        assertEq(state.redemptionWindow, REDEMPTION, "window");
        assertEq(state.lease, LEASE, "lease");
        assertEq(state.leaseSeconds, LEASE_SECONDS, "lease seconds");
        assertEq(state.renewalFee, RENEWAL_FEE, "renewal fee");
        assertEq(state.epoch, 1, "epoch");
    }

    function _refuseTerms(Open memory open, bytes32[] memory ids, bytes4 expected) private {
        open.spec = _acceptedDeal(_serviceDeal(ids, open.terms));
        _refuseOpening(open, expected);
    }

    function _refuseOpening(Open memory open, bytes4 expected) private {
        _refuseAt(
            abi.encodeCall(ISessions.openService, (open.spec, EVIDENCE, enclaveSigner, KEYS, open.terms)), expected
        );
    }

    function _refuseAt(bytes memory data, bytes4 expected) private {
        _refuse(address(0), address(sessions), data, expected);
    }
}

/// @title Bonds and tabs: who may lock what, and when
contract LockingTest is SessionFixture {
    function test_only_the_market_reports_transfers() public {
        Open memory open = _service(1);
        _refuse(
            provider,
            address(sessions),
            abi.encodeCall(sessions.onLedgerTransfer, (address(0), provider, 5, abi.encode(open.jobId))),
            ISessions.OnlyMarket.selector
        );
    }

    function test_a_bond_of_another_or_for_another_or_in_another_token_is_refused() public {
        Open memory open = _service(1);
        _refuse(consumer, _bonding(address(0), abi.encode(open.jobId)), ISessions.OnlyProvider.selector);
        _refuse(provider, _bonding(address(0), abi.encode(keccak256("x"))), ISessions.UnknownService.selector);
        _refuse(provider, _bonding(address(plain), abi.encode(open.jobId)), ISessions.WrongToken.selector);
        assertEq(_state(open).bond, LEASE * PER_UNIT, "unchanged");
    }

    function test_data_that_is_neither_is_refused_and_nothing_moves() public {
        _service(1);
        uint256 before = _free(provider);
        vm.prank(provider);
        vm.expectRevert();
        market.transferAndCall(address(0), address(sessions), 5, hex"00");
        assertEq(_free(provider), before, "balance");
    }

    function test_no_tab_opens_below_the_royalties_of_a_lease() public {
        Open memory open = _unopened(1);
        _openService(open);
        _bond(open, uint256(LEASE) * PER_UNIT - 1);
        _refuse(_account(0), _funding(open, _account(0), 100), ISessions.BondTooSmall.selector);
        _bond(open, 1);
        _fundTab(open, _account(0), 100);
    }

    function test_no_tab_opens_at_the_end_nor_after_the_job() public {
        Open memory open = _service(1);
        uint256 id = vm.snapshotState();
        vm.warp(open.terms.end - 1);
        _fundTab(open, _account(0), 100);
        vm.warp(open.terms.end);
        _refuse(_account(0), _funding(open, _account(0), 100), ISessions.ServiceOver.selector);
        vm.revertToState(id);
        _settle(open.spec, 0, false);
        _refuse(_account(0), _funding(open, _account(0), 100), ISessions.ServiceOver.selector);
    }

    function test_a_tab_in_another_token_or_for_an_unknown_service_or_under_other_terms_is_refused() public {
        Open memory open = _service(1);
        TabOpening memory opening = _opening(open, _account(0));
        _refuse(_account(0), _bonding(address(plain), abi.encode(opening)), ISessions.WrongToken.selector);
        opening.terms.leastTab = 1;
        _refuse(_account(0), _bonding(address(0), abi.encode(opening)), ISessions.WrongTerms.selector);
        opening.spec.purpose = 2;
        _refuse(_account(0), _bonding(address(0), abi.encode(opening)), ISessions.UnknownService.selector);
    }

    function test_an_opening_that_is_encoded_in_another_way_is_refused() public {
        Open memory open = _service(1);
        bytes memory opening = abi.encode(_opening(open, _account(0)));
        bytes memory moved = abi.encodePacked(uint256(64), opening);
        _refuse(_account(0), _bonding(address(0), moved), IJobs.Mismatch.selector);
    }

    function testFuzz_an_opening_that_is_cut_short_moves_nothing(uint256 words) public {
        Open memory open = _service(1);
        bytes memory opening = abi.encode(_opening(open, _account(0)));
        uint256 length = 32 * bound(words, 0, opening.length / 32 - 1);
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(opening, length)
        }
        bytes memory call = _bonding(address(0), opening);
        vm.prank(_account(0));
        // solhint-disable-next-line avoid-low-level-calls
        (bool done,) = address(market).call(call);
        assertTrue(!done, "half an opening");
        assertEq(_tab(open, _account(0)).limit, 0, "limit");
    }

    function test_a_tab_below_the_least_is_refused_and_more_may_be_added_in_small() public {
        Open memory open = _service(1);
        _refuse(_account(0), _funding(open, _account(0), LEAST_TAB - 1), ISessions.TabTooSmall.selector);
        _fundTab(open, _account(0), LEAST_TAB);
        _fundTab(open, _account(0), 1);
        assertEq(_tab(open, _account(0)).limit, LEAST_TAB + 1, "limit");
        assertEq(_free(_account(0)), FUNDS - LEAST_TAB - 1, "locked");
    }

    function test_an_account_outside_a_consumer_set_is_refused_and_one_inside_proves_itself() public {
        Open memory open = _service(1);
        address inside = _account(0);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(inside))));
        bytes32 other = keccak256("another leaf");
        bytes32 root = leaf < other
            ? keccak256(abi.encodePacked(leaf, other))
            : keccak256(abi.encodePacked(other, leaf));
        _tightened(open, 0, root);
        _refuse(inside, _funding(open, inside, 100), ISessions.AccountNotAllowed.selector);
        TabOpening memory opening = _opening(open, inside);
        opening.proofs[0] = new bytes32[](1);
        opening.proofs[0][0] = other;
        vm.prank(inside);
        market.transferAndCall(address(0), address(sessions), 100, abi.encode(opening));
        opening.account = _account(1);
        _refuse(_account(1), _bonding(address(0), abi.encode(opening)), ISessions.AccountNotAllowed.selector);
    }

    function test_terms_that_no_longer_allow_the_purpose_refuse_new_tabs() public {
        Open memory open = _service(1);
        _fundTab(open, _account(0), 100);
        _tightened(open, 2, 0);
        _refuse(_account(1), _funding(open, _account(1), 100), ISessions.AccountNotAllowed.selector);
        _refuse(_account(0), _funding(open, _account(0), 100), ISessions.AccountNotAllowed.selector);
        _redeem(_ofOne(open, _account(0), 5));
        assertEq(_tab(open, _account(0)).paid, 50, "what was served before is paid");
    }

    function test_a_revoked_or_expired_asset_refuses_new_tabs() public {
        Open memory open = _service(2);
        uint256 id = vm.snapshotState();
        vm.prank(_owner(1));
        registry.revoke(open.spec.assets[1].assetId, 1);
        _refuse(_account(0), _funding(open, _account(0), 100), ISessions.AccountNotAllowed.selector);
        vm.revertToState(id);
        Terms memory terms = registry.versionOf(open.spec.assets[0].assetId, 1).terms;
        terms.expiry = uint40(vm.getBlockTimestamp() + 10);
        vm.prank(_owner(0));
        registry.tighten(open.spec.assets[0].assetId, 1, terms);
        vm.warp(vm.getBlockTimestamp() + 11);
        _refuse(_account(0), _funding(open, _account(0), 100), ISessions.AccountNotAllowed.selector);
    }

    function test_one_proof_is_needed_for_each_asset() public {
        Open memory open = _service(2);
        TabOpening memory opening = _opening(open, _account(0));
        opening.proofs = new bytes32[][](1);
        _refuse(_account(0), _bonding(address(0), abi.encode(opening)), IJobs.Mismatch.selector);
    }

    function test_a_tab_may_be_opened_for_another_and_what_is_left_is_that_account_s() public {
        Open memory open = _service(1);
        bytes memory data = abi.encode(_opening(open, _account(0)));
        vm.prank(_account(1));
        market.transferAndCall(address(0), address(sessions), 100, data);
        vm.warp(open.terms.end + REDEMPTION + 1);
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS + 100, "the account");
        assertEq(_free(_account(1)), FUNDS - 100, "the giver");
    }

    function test_a_pause_of_the_market_holds_up_no_service() public {
        Open memory open = _service(1);
        vm.prank(guardian);
        market.setPaused(true);
        _fundTab(open, _account(0), 100);
        _redeem(_ofOne(open, _account(0), 5));
        vm.warp(open.terms.end + REDEMPTION + 1);
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS - 50, "the rest");
    }

    function test_a_service_in_an_erc20_token_moves_that_token_only() public {
        token = address(plain);
        Open memory open = _service(1);
        _fundTab(open, _account(0), 100);
        _redeem(_ofOne(open, _account(0), 5));
        assertEq(_free(_account(0)), FUNDS - 100, "token");
        assertEq(market.accountOf(address(0), _account(0)).free, FUNDS, "coin");
        assertEq(market.accountOf(address(0), address(sessions)).free, 0, "no coin here");
    }

    function _bonding(address token_, bytes memory data) private view returns (bytes memory) {
        return abi.encodeCall(market.transferAndCall, (token_, address(sessions), 5, data));
    }

    function _tightened(Open memory open, uint32 purposes, bytes32 consumerRoot) private {
        bytes32 id = open.spec.assets[0].assetId;
        Terms memory terms = registry.versionOf(id, 1).terms;
        if (purposes != 0) terms.purposes = purposes;
        terms.consumerRoot = consumerRoot;
        vm.prank(_owner(0));
        registry.tighten(id, 1, terms);
    }
}

/// @title Statements: what they pay, in any order, and never more than was signed
contract RedeemingTest is SessionFixture {
    function test_a_statement_that_the_enclave_did_not_sign_is_refused() public {
        Open memory open = _served(1);
        Statement memory made = _ofOne(open, _account(0), 5);
        bytes memory signature = _sign(PROVIDER_KEY, _hashOf(made));
        _refuseAt(_redeeming(made, signature), IJobs.WrongEnclave.selector);
        signature = _signed(made);
        made.entries[0].units = 6;
        _refuseAt(_redeeming(made, signature), IJobs.WrongEnclave.selector);
        made.jobId = keccak256("x");
        _refuseAt(_redeeming(made, signature), ISessions.UnknownService.selector);
    }

    /// The packed form has more bits than the signed types: what they could hold beside was never signed.
    function test_an_entry_outside_its_types_is_not_the_signed_one() public {
        Open memory open = _served(1);
        Statement memory made = _ofOne(open, _account(0), 5);
        bytes memory signature = _signed(made);
        EntryWord[] memory entries = packed(made.entries);
        bytes32 word = EntryWord.unwrap(entries[0]);
        for (uint256 bit = 0; bit < 96; ++bit) {
            entries[0] = EntryWord.wrap(word ^ bytes32(1 << bit));
            _refuseAt(
                abi.encodeCall(ISessions.redeem, (open.jobId, made.total, made.last, entries, signature)),
                IJobs.WrongEnclave.selector
            );
        }
        _redeem(made, signature);
    }

    function test_a_shorter_list_under_the_same_signature_is_refused() public {
        Open memory open = _served(2);
        Statement memory made = _ofTwo(open, 4, 6);
        bytes memory signature = _signed(made);
        Statement memory shorter = _statement(open, 10, 1);
        shorter.entries[0] = made.entries[0];
        _refuseAt(_redeeming(shorter, signature), IJobs.WrongEnclave.selector);
        _redeem(made, signature);
    }

    function test_a_statement_after_the_redemption_window_is_refused() public {
        Open memory open = _served(1);
        vm.warp(open.terms.end + REDEMPTION + 1);
        _refuseAt(_redeeming(_ofOne(open, _account(0), 5)), ISessions.ServiceOver.selector);
        vm.warp(open.terms.end + REDEMPTION);
        _redeem(_ofOne(open, _account(0), 5));
    }

    function test_a_statement_by_which_nothing_changes_is_refused() public {
        Open memory open = _served(1);
        Statement memory made = _ofOne(open, _account(0), 5);
        _redeem(made);
        _refuseAt(_redeeming(made), ISessions.NothingToDo.selector);
        _refuseAt(_redeeming(_ofOne(open, _account(0), 4)), ISessions.NothingToDo.selector);
    }

    function test_a_bond_that_does_not_reach_holds_up_the_statement_until_it_does() public {
        Open memory open = _served(1);
        _refuseAt(_redeeming(_statement(open, LEASE + 1, 0)), ISessions.BondTooSmall.selector);
        assertEq(_state(open).redeemed, 0, "redeemed");
        _bond(open, PER_UNIT);
        _redeem(_statement(open, LEASE + 1, 0));
        assertEq(_state(open).bond, 0, "bond");
        assertEq(_state(open).redeemed, LEASE + 1, "redeemed");
    }

    function test_entries_of_unknown_accounts_and_of_closed_tabs_are_skipped() public {
        Open memory open = _served(2);
        Statement memory first = _ofTwo(open, 4, 6);
        first.entries[0].last = true;
        _redeem(first);
        sessions.closeTab(open.jobId, _account(0));
        Statement memory made = _statement(open, 30, 3);
        made.entries[0] = Entry(_account(0), 9, true);
        made.entries[1] = Entry(_account(1), 8, false);
        made.entries[2] = Entry(_account(3), 8, true);
        _redeem(made);
        assertEq(_tab(open, _account(0)).paid, 40, "closed");
        assertEq(_tab(open, _account(1)).paid, 80, "open");
        assertEq(_tab(open, _account(3)).closesAt, 0, "unknown");
        assertEq(_state(open).redeemed, 30, "redeemed");
    }

    function test_a_tab_that_has_returned_pays_nothing_ever_again() public {
        Open memory open = _served(2);
        Statement memory first = _ofTwo(open, 4, 6);
        first.entries[0].last = true;
        _redeem(first);
        sessions.closeTab(open.jobId, _account(0));
        _refuseAt(_redeeming(_ofOne(open, _account(0), 9)), ISessions.NothingToDo.selector);
        assertEq(_tab(open, _account(0)).paid, 40, "paid");
        assertEq(_free(_account(0)), FUNDS - 40, "returned");
    }

    function test_an_account_pays_no_more_than_its_limit_and_the_owners_get_all() public {
        Open memory open = _served(1);
        uint256 bond = _state(open).bond;
        _redeem(_ofOne(open, _account(0), 100));
        assertEq(_tab(open, _account(0)).paid, 500, "the limit");
        assertEq(_state(open).bond, bond + 500 - 200, "bond");
        sessions.payRoyalties(open.spec, open.terms);
        assertEq(_free(_owner(0)), 200, "the owner");
    }

    function test_an_account_that_stands_twice_in_a_statement_pays_the_higher_entry() public {
        Open memory open = _served(1);
        Statement memory made = _statement(open, 20, 2);
        made.entries[0] = Entry(_account(0), 7, false);
        made.entries[1] = Entry(_account(0), 12, false);
        _redeem(made);
        assertEq(_tab(open, _account(0)).paid, 120, "paid");
    }

    /// In any order of statements each account pays the same.
    function testFuzz_statements_in_any_order_pay_the_same(uint8[6] memory units, uint256 order) public {
        Open memory open = _served(2);
        uint256 id = vm.snapshotState();
        (uint256[2] memory paid, uint256 bond) = _redeemThree(open, units, 0);
        vm.revertToState(id);
        (uint256[2] memory paidToo, uint256 bondToo) = _redeemThree(open, units, order);
        assertEq(paid[0], paidToo[0], "first account");
        assertEq(paid[1], paidToo[1], "second account");
        assertEq(bond, bondToo, "bond");
    }

    function _redeemThree(Open memory open, uint8[6] memory units, uint256 order)
        private
        returns (uint256[2] memory paid, uint256 bond)
    {
        order %= 6;
        (uint64 a, uint64 b) = (0, 0);
        Statement[3] memory made;
        for (uint256 i = 0; i < 3; ++i) {
            a += units[2 * i] % 25;
            b += units[2 * i + 1] % 25;
            made[i] = i == 1 ? _ofOne(open, _account(0), a) : _ofTwo(open, a, b);
            made[i].total = a + b;
        }
        bool redeemed = a + b == 0;
        for (uint256 i = 0; i < 3; ++i) {
            uint256 place = (order % 2 == 0) ? (i + order) % 3 : (order + 2 - i) % 3;
            // Refused if nothing changes by it, which is no failure.
            // solhint-disable-next-line avoid-low-level-calls
            (bool done,) = address(sessions).call(_redeeming(made[place]));
            redeemed = redeemed || done;
        }
        assertTrue(redeemed, "one of them at least");
        paid = [uint256(_tab(open, _account(0)).paid), _tab(open, _account(1)).paid];
        bond = _state(open).bond;
    }

    function testFuzz_a_statement_pays_the_units_that_it_names_within_the_limit(uint64 units, uint64 total) public {
        Open memory open = _served(1);
        uint256 bond = _state(open).bond;
        Statement memory made = _ofOne(open, _account(0), units);
        made.total = uint64(bound(total, 1, bond / PER_UNIT));
        _redeem(made);
        uint256 owed = uint256(units) * UNIT_PRICE;
        uint256 expected = owed < 500 ? owed : 500;
        assertEq(_tab(open, _account(0)).paid, expected, "paid");
        assertEq(_state(open).bond, bond + expected - uint256(made.total) * PER_UNIT, "bond");
    }

    function test_the_last_statement_ends_the_service_and_frees_the_bond() public {
        Open memory open = _served(1);
        Statement memory made = _ofOne(open, _account(0), 5);
        made.last = true;
        _redeem(made);
        assertEq(_state(open).end, vm.getBlockTimestamp(), "end");
        _refuse(_account(1), _funding(open, _account(1), 100), ISessions.ServiceOver.selector);
        uint256 bond = _state(open).bond;
        vm.prank(provider);
        sessions.takeBond(open.jobId, bond);
        vm.warp(vm.getBlockTimestamp() + REDEMPTION + 1);
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS - 50, "what was served");
    }

    function test_royalties_are_paid_once_to_each_owner() public {
        Open memory open = _service(2);
        _fundTab(open, _account(0), 500);
        _refuseAt(
            abi.encodeCall(ISessions.payRoyalties, (open.spec, open.terms)), ISessions.NothingToDo.selector
        );
        _redeem(_ofOne(open, _account(0), 10));
        sessions.payRoyalties(open.spec, open.terms);
        _refuseAt(
            abi.encodeCall(ISessions.payRoyalties, (open.spec, open.terms)), ISessions.NothingToDo.selector
        );
        _redeem(_ofOne(open, _account(0), 15));
        sessions.payRoyalties(open.spec, open.terms);
        assertEq(_free(_owner(0)), 15 * PER_UNIT, "first owner");
        assertEq(_free(_owner(1)), 15 * PER_UNIT, "second owner");
        open.terms.royalties[0].perUnit = 1;
        _refuseAt(abi.encodeCall(ISessions.payRoyalties, (open.spec, open.terms)), ISessions.WrongTerms.selector);
    }

    function test_the_provider_takes_what_is_above_the_lease_and_no_more() public {
        Open memory open = _served(1);
        _redeem(_ofOne(open, _account(0), 20));
        uint256 above = 20 * (UNIT_PRICE - PER_UNIT);
        _refuse(
            consumer,
            address(sessions),
            abi.encodeCall(ISessions.takeBond, (open.jobId, above)),
            ISessions.OnlyProvider.selector
        );
        _refuse(
            provider,
            address(sessions),
            abi.encodeCall(ISessions.takeBond, (open.jobId, above + 1)),
            ISessions.BondTooSmall.selector
        );
        uint256 before = _free(provider);
        vm.prank(provider);
        sessions.takeBond(open.jobId, above);
        assertEq(_free(provider), before + above, "earned");
        vm.warp(open.terms.end + REDEMPTION);
        _refuse(
            provider,
            address(sessions),
            abi.encodeCall(ISessions.takeBond, (open.jobId, 1)),
            ISessions.BondTooSmall.selector
        );
        vm.warp(open.terms.end + REDEMPTION + 1);
        vm.prank(provider);
        sessions.takeBond(open.jobId, LEASE * PER_UNIT);
        assertEq(_state(open).bond, 0, "all");
    }

    /// A service with tabs of the first accounts.
    function _served(uint256 accounts) private returns (Open memory open) {
        open = _service(1);
        for (uint256 i = 0; i < accounts; ++i) {
            _fundTab(open, _account(i), 500);
        }
    }

    function _ofTwo(Open memory open, uint64 a, uint64 b) private pure returns (Statement memory made) {
        made = _statement(open, a + b, 2);
        made.entries[0] = Entry(_account(0), a, false);
        made.entries[1] = Entry(_account(1), b, false);
    }

    function _refuseAt(bytes memory data, bytes4 expected) private {
        _refuse(address(0), address(sessions), data, expected);
    }
}

/// @title Closing tabs, ends of services, and what nodes are paid
contract ClosingTest is SessionFixture {
    function test_who_has_no_tab_closes_none() public {
        Open memory open = _service(1);
        bytes memory ask = abi.encodeCall(ISessions.requestClose, (open.jobId));
        _refuse(_account(0), address(sessions), ask, ISessions.NoTab.selector);
        _refuseAt(abi.encodeCall(ISessions.closeTab, (open.jobId, _account(0))), ISessions.NoTab.selector);
    }

    function test_an_open_tab_is_not_closed_before_its_time() public {
        Open memory open = _served();
        bytes memory close = abi.encodeCall(ISessions.closeTab, (open.jobId, _account(0)));
        _refuseAt(close, ISessions.TabOpen.selector);
        vm.prank(_account(0));
        sessions.requestClose(open.jobId);
        _refuseAt(close, ISessions.TabOpen.selector);
        _confirm(open, _renewal(open, _account(0), true));
        vm.warp(vm.getBlockTimestamp() + REDEMPTION - 1);
        _refuseAt(close, ISessions.TabOpen.selector);
        vm.warp(vm.getBlockTimestamp() + 1);
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS, "all back");
        _refuseAt(close, ISessions.NoTab.selector);
        _refuse(_account(0), _funding(open, _account(0), 100), ISessions.TabCloses.selector);
    }

    function test_a_second_request_and_more_money_after_one_are_refused() public {
        Open memory open = _served();
        vm.prank(_account(0));
        sessions.requestClose(open.jobId);
        bytes memory ask = abi.encodeCall(ISessions.requestClose, (open.jobId));
        _refuse(_account(0), address(sessions), ask, ISessions.AlreadyRequested.selector);
        _refuse(_account(0), _funding(open, _account(0), 100), ISessions.TabCloses.selector);
    }

    function test_a_renewal_that_says_nothing_of_the_request_closes_nothing() public {
        Open memory open = _served();
        _refuseConfirming(open, _renewal(open, _account(0), true), 2, ISessions.NothingToDo.selector);
        vm.prank(_account(0));
        sessions.requestClose(open.jobId);
        _refuseConfirming(open, _renewal(open, _account(0), false), 2, ISessions.NothingToDo.selector);
        _refuseConfirming(open, _renewal(open, _account(1), true), 2, ISessions.NothingToDo.selector);
        Renewal memory before = _renewal(open, _account(0), true);
        before.blockNumber -= 1;
        _refuseConfirming(open, before, 2, ISessions.NothingToDo.selector);
    }

    function test_a_renewal_takes_exactly_a_threshold_of_the_job_s_committee() public {
        Open memory open = _served();
        vm.prank(_account(0));
        sessions.requestClose(open.jobId);
        Renewal memory renewal = _renewal(open, _account(0), true);
        _refuseConfirming(open, renewal, 1, IJobs.WrongSignatureCount.selector);
        _refuseConfirming(open, renewal, 3, IJobs.WrongSignatureCount.selector);
        NodeSignature[] memory twice = _nodes(renewal, 2);
        twice[1] = twice[0];
        _refuseAt(
            abi.encodeCall(ISessions.confirmClose, (renewal, _members(), twice)), IJobs.BadSignerIndex.selector
        );
        NodeSignature[] memory signatures = _nodes(renewal, 2);
        _refuseAt(
            abi.encodeCall(ISessions.confirmClose, (renewal, _members(2), signatures)), IJobs.WrongCommittee.selector
        );
        renewal.nonce = 0;
        _refuseAt(
            abi.encodeCall(ISessions.confirmClose, (renewal, _members(), signatures)), IJobs.WrongNode.selector
        );
        renewal.jobId = 0;
        _refuseAt(
            abi.encodeCall(ISessions.confirmClose, (renewal, _members(), signatures)),
            ISessions.UnknownService.selector
        );
    }

    function test_a_tab_pays_until_it_closes_and_not_a_second_longer() public {
        Open memory open = _served();
        vm.prank(_account(0));
        sessions.requestClose(open.jobId);
        _confirm(open, _renewal(open, _account(0), true));
        vm.warp(vm.getBlockTimestamp() + REDEMPTION - 1);
        _redeem(_ofOne(open, _account(0), 5));
        vm.warp(vm.getBlockTimestamp() + 1);
        Statement memory late = _ofOne(open, _account(0), 9);
        _redeem(late);
        assertEq(_tab(open, _account(0)).paid, 50, "paid");
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS - 50, "the rest");
    }

    function test_a_confirmed_close_is_not_put_off_by_another_renewal() public {
        Open memory open = _served();
        vm.prank(_account(0));
        sessions.requestClose(open.jobId);
        _confirm(open, _renewal(open, _account(0), true));
        uint256 closesAt = _tab(open, _account(0)).closesAt;
        vm.warp(vm.getBlockTimestamp() + 10);
        _refuseConfirming(open, _renewal(open, _account(0), true), 2, ISessions.NothingToDo.selector);
        assertEq(_tab(open, _account(0)).closesAt, closesAt, "time");
    }

    function test_an_entry_that_is_last_closes_the_tab_at_once() public {
        Open memory open = _served();
        Statement memory made = _ofOne(open, _account(0), 5);
        made.entries[0].last = true;
        _redeem(made);
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS - 50, "the rest");
    }

    function test_a_tab_that_has_paid_all_closes_too() public {
        Open memory open = _served();
        _redeem(_ofOne(open, _account(0), 50));
        vm.warp(open.terms.end + REDEMPTION + 1);
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS - 500, "nothing left");
    }

    function test_a_service_whose_job_runs_does_not_end() public {
        Open memory open = _served();
        _refuseAt(abi.encodeCall(ISessions.endService, (open.spec)), ISessions.ServiceStands.selector);
        open.spec.purpose = 2;
        _refuseAt(abi.encodeCall(ISessions.endService, (open.spec)), ISessions.UnknownService.selector);
    }

    function test_a_service_whose_job_is_over_ends_and_returns_its_tabs_a_window_later() public {
        Open memory open = _served();
        _settle(open.spec, 0, false);
        sessions.endService(open.spec);
        _refuseAt(abi.encodeCall(ISessions.endService, (open.spec)), ISessions.NothingToDo.selector);
        _redeem(_ofOne(open, _account(0), 5));
        vm.warp(vm.getBlockTimestamp() + REDEMPTION + 1);
        assertTrue(vm.getBlockTimestamp() < open.terms.end, "before the end of the terms");
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS - 50, "the rest");
    }

    function test_a_stopped_job_costs_its_provider_the_prices_and_no_account_a_unit_that_was_not_served() public {
        Open memory open = _served();
        vm.warp(_deadline(open.spec) + 1);
        market.close(_key(open.spec), _bargain(open.spec), _enclave());
        _assertStatus(open.spec, Status.Expired);
        vm.warp(open.terms.end + REDEMPTION + 1);
        sessions.closeTab(open.jobId, _account(0));
        assertEq(_free(_account(0)), FUNDS, "the account");
        assertEq(_free(_owner(0)), PRICE, "the owner has the opening price");
    }

    function test_a_renewal_is_paid_to_its_signers_once() public {
        Open memory open = _served();
        uint256 bond = _state(open).bond;
        Renewal memory renewal = _renewal(open, _account(0), false);
        _claim(renewal);
        assertEq(_free(_signers(3)[0]), RENEWAL_FEE, "node 0");
        assertEq(_free(_signers(3)[1]), RENEWAL_FEE, "node 1");
        assertEq(_free(_signers(3)[2]), 0, "node 2");
        assertEq(_state(open).bond, bond - 2 * RENEWAL_FEE, "bond");
        vm.warp(vm.getBlockTimestamp() + LEASE_SECONDS);
        _refuseClaiming(renewal, ISessions.WrongRenewalBlock.selector);
        renewal.blockNumber += 1;
        _claim(renewal);
        renewal.blockNumber += 1;
        vm.warp(vm.getBlockTimestamp() + LEASE_SECONDS / 2 - 1);
        _refuseClaiming(renewal, ISessions.RenewalTooEarly.selector);
        vm.warp(vm.getBlockTimestamp() + 1);
        _claim(renewal);
    }

    function test_a_renewal_is_not_paid_without_quorum_nor_bond_nor_after_the_service() public {
        Open memory open = _served();
        Renewal memory renewal = _renewal(open, _account(0), false);
        NodeSignature[] memory one = _nodes(renewal, 1);
        _refuseAt(
            abi.encodeCall(ISessions.claimRenewal, (renewal, _members(), one)), IJobs.WrongSignatureCount.selector
        );
        renewal.blockNumber = type(uint64).max;
        _refuseClaiming(renewal, ISessions.WrongRenewalBlock.selector);
        renewal.blockNumber = uint64(block.number);
        uint256 id = vm.snapshotState();
        _redeem(_statement(open, LEASE - 2, 0));
        _refuseClaiming(renewal, ISessions.BondTooSmall.selector);
        vm.revertToState(id);
        vm.warp(open.terms.end + REDEMPTION + 1);
        _refuseClaiming(renewal, ISessions.ServiceOver.selector);
    }

    function _served() private returns (Open memory open) {
        open = _service(1);
        _fundTab(open, _account(0), 500);
    }

    function _confirm(Open memory, Renewal memory renewal) private {
        sessions.confirmClose(renewal, _members(), _nodes(renewal, 2));
    }

    function _refuseConfirming(Open memory, Renewal memory renewal, uint256 count, bytes4 expected) private {
        NodeSignature[] memory signatures = _nodes(renewal, count);
        _refuseAt(abi.encodeCall(ISessions.confirmClose, (renewal, _members(), signatures)), expected);
    }

    function _claim(Renewal memory renewal) private {
        sessions.claimRenewal(renewal, _members(), _nodes(renewal, 2));
    }

    function _refuseClaiming(Renewal memory renewal, bytes4 expected) private {
        NodeSignature[] memory signatures = _nodes(renewal, 2);
        _refuseAt(abi.encodeCall(ISessions.claimRenewal, (renewal, _members(), signatures)), expected);
    }

    function _deadline(JobSpec memory spec) private view returns (uint256 deadline) {
        (, deadline,) = market.jobOf(spec.requestHash);
    }

    function _refuseAt(bytes memory data, bytes4 expected) private {
        _refuse(address(0), address(sessions), data, expected);
    }
}

/// @title The packed word of a tab
contract TabWordsTest is Assertions {
    function testFuzz_a_limit_that_does_not_fit_its_field_is_refused(uint88 limit, uint256 amount) public {
        TabWord tab = TabWord.wrap(0).adding(limit);
        amount = bound(amount, uint256(type(uint88).max) - limit + 1, type(uint256).max - limit);
        try this.add(tab, amount) {
            assertTrue(false, "a limit runs into what is paid");
        } catch (bytes memory reason) {
            assertTrue(bytes4(reason) == IJobs.OutOfBounds.selector, "the reason");
        }
    }

    function testFuzz_a_limit_up_to_its_field_s_end_leaves_what_is_paid(uint88 limit, uint88 paid, uint88 more) public {
        more = uint88(bound(more, 0, type(uint88).max - limit));
        TabWord tab = TabWord.wrap(0).adding(limit).paying(paid).adding(more);
        assertEq(tab.limit(), uint256(limit) + more, "limit");
        assertEq(tab.paid(), paid, "paid");
    }

    function add(TabWord tab, uint256 amount) external pure returns (TabWord) {
        return tab.adding(amount);
    }
}
