// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {Fixture} from "./testing/Fixture.sol";
import {vm} from "./testing/Vm.sol";
import {AssetClaim, Seal, Terms, VersionState} from "./types/Assets.sol";
import {AssetLimit} from "./types/Orders.sol";

/// @title Terms that only tighten, and a meter that only the market moves
contract AssetRegistryTest is Fixture {
    function _refuseTighten(bytes32 asset, Terms memory terms, bytes4 expected) private {
        _refuse(_owner(0), address(registry), abi.encodeCall(registry.tighten, (asset, 1, terms)), expected);
    }

    function test_incomplete_seals_and_terms_are_refused() public {
        for (uint256 field = 0; field < 5; ++field) {
            Terms memory terms = _terms();
            if (field == 0) terms.expiry = 0;
            if (field == 1) terms.maxUses = 0;
            if (field == 2) terms.purposes = 0;
            if (field == 3) terms.allowRoot = 0;
            if (field == 4) terms.maxHold = 0;
            _refusePublish(_seal(), terms, IAssetRegistry.FieldMissing.selector);
        }
        for (uint256 field = 0; field < 3; ++field) {
            Seal memory seal = _seal();
            if (field == 0) seal.contentRoot = 0;
            if (field == 1) seal.shareRoot = 0;
            if (field == 2) seal.policyHash = 0;
            _refusePublish(seal, _terms(), IAssetRegistry.FieldMissing.selector);
        }
        Terms memory graded = _terms();
        graded.minGrade = 0;
        _refusePublish(_seal(), graded, IAssetRegistry.UnknownGrade.selector);
        graded.minGrade = 3;
        _refusePublish(_seal(), graded, IAssetRegistry.UnknownGrade.selector);
        (graded.minGrade, graded.timeoutShare) = (1, 101);
        _refusePublish(_seal(), graded, IAssetRegistry.NotAPercentage.selector);
        Seal memory unepoched = _seal();
        unepoched.epoch = 0;
        _refusePublish(unepoched, _terms(), IAssetRegistry.BadEpoch.selector);
        unepoched.epoch = 65_536;
        _refusePublish(unepoched, _terms(), IAssetRegistry.BadEpoch.selector);
    }

    function _refusePublish(Seal memory seal, Terms memory terms, bytes4 expected) private {
        _refuse(
            address(0), address(registry), abi.encodeCall(registry.publish, (bytes32(0), seal, terms, "")), expected
        );
    }

    function test_nothing_loosens_within_a_version() public {
        bytes32 asset = _publish(0, _terms());
        for (uint256 field = 0; field < 10; ++field) {
            Terms memory terms = _terms();
            if (field == 0) terms.price -= 1;
            if (field == 1) terms.expiry += 1;
            if (field == 2) terms.maxUses += 1;
            if (field == 3) terms.purposes = 4;
            if (field == 4) terms.token = address(plain);
            if (field == 5) terms.budget += 1;
            if (field == 6) terms.perJobCap += 1;
            if (field == 7) terms.maxHold += 1;
            if (field == 8) terms.purposes |= 8;
            if (field == 9) terms.timeoutShare -= 1;
            _refuseTighten(asset, terms, IAssetRegistry.LooserTerms.selector);
        }
        Terms memory tight = _terms();
        tight.minGrade = 2;
        tight.consumerRoot = keccak256("some");
        vm.prank(_owner(0));
        registry.tighten(asset, 1, tight);
        Terms memory loose = tight;
        loose.consumerRoot = 0;
        _refuseTighten(asset, loose, IAssetRegistry.LooserTerms.selector);
        loose = tight;
        loose.minGrade = 1;
        _refuseTighten(asset, loose, IAssetRegistry.LooserTerms.selector);
    }

    function testFuzz_tightened_terms_are_never_looser(Terms memory wanted) public {
        bytes32 asset = _publish(0, _terms());
        Terms memory before = registry.versionOf(asset, 1).terms;
        vm.prank(_owner(0));
        // solhint-disable-next-line avoid-low-level-calls
        (bool done,) = address(registry).call(abi.encodeCall(registry.tighten, (asset, 1, wanted)));
        VersionState memory state = registry.versionOf(asset, 1);
        Terms memory next = state.terms;
        assertEq(state.termsVersion, done ? 2 : 1, "terms version");
        assertTrue(next.price >= before.price && next.expiry <= before.expiry, "price, expiry");
        assertTrue(next.maxUses <= before.maxUses && next.purposes & ~before.purposes == 0, "uses, purposes");
        assertTrue(next.minGrade >= before.minGrade && next.budget <= before.budget, "grade, budget");
        assertTrue(next.perJobCap <= before.perJobCap && next.token == before.token, "cap, token");
        assertTrue(next.maxHold <= before.maxHold && next.allowRoot != 0, "hold, allow-list");
        assertTrue(next.timeoutShare >= before.timeoutShare, "timeout share");
    }

    function test_a_tightening_that_changes_nothing_is_refused() public {
        bytes32 asset = _publish(0, _terms());
        _refuseTighten(asset, _terms(), IAssetRegistry.NothingTightened.selector);
        bytes memory same = abi.encodeCall(registry.replaceAllowList, (asset, 1, _terms().allowRoot));
        _refuse(_owner(0), address(registry), same, IAssetRegistry.NothingTightened.selector);
    }

    function test_content_may_be_that_of_an_earlier_version_and_of_none_to_come() public {
        bytes32 asset = _publish(0, _terms());
        Seal memory seal = _seal();
        for (uint256 i = 0; i < 2; ++i) {
            seal.contentVersion = i == 0 ? 0 : 3;
            bytes memory bad = abi.encodeCall(registry.addVersion, (asset, 2, seal, _terms(), ""));
            _refuse(_owner(0), address(registry), bad, IAssetRegistry.BadContentVersion.selector);
        }
        (seal.contentVersion, seal.shareRoot) = (1, keccak256("other shares"));
        vm.prank(_owner(0));
        registry.addVersion(asset, 2, seal, _terms(), "");
        bytes32 expected = keccak256(abi.encode(seal.contentRoot, uint32(1), seal.shareRoot, seal.policyHash));
        assertEq(registry.versionOf(asset, 2).sealHash, expected, "seal hash");
    }

    function test_only_the_owner_touches_an_asset() public {
        bytes32 asset = _publish(0, _terms());
        bytes[4] memory calls = [
            abi.encodeCall(registry.tighten, (asset, 1, _terms())),
            abi.encodeCall(registry.replaceAllowList, (asset, 1, keccak256("x"))),
            abi.encodeCall(registry.revoke, (asset, 1)),
            abi.encodeCall(registry.addVersion, (asset, 2, _seal(), _terms(), ""))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            _refuse(_owner(1), address(registry), calls[i], IAssetRegistry.NotOwner.selector);
        }
    }

    function test_a_revoked_version_stays_revoked() public {
        bytes32 asset = _publish(0, _terms());
        vm.prank(_owner(0));
        registry.revoke(asset, 1);
        Terms memory terms = _terms();
        terms.consumerRoot = keccak256("some");
        _refuseTighten(asset, terms, IAssetRegistry.Revoked.selector);
        bytes memory again = abi.encodeCall(registry.replaceAllowList, (asset, 1, keccak256("x")));
        _refuse(_owner(0), address(registry), again, IAssetRegistry.Revoked.selector);
        assertTrue(registry.versionOf(asset, 1).revoked, "revoked");
    }

    function test_versions_follow_each_other_and_are_written_once() public {
        bytes32 asset = _publish(0, _terms());
        bytes memory skipping = abi.encodeCall(registry.addVersion, (asset, 3, _seal(), _terms(), ""));
        _refuse(_owner(0), address(registry), skipping, IAssetRegistry.NotOwner.selector);
        bytes memory first = abi.encodeCall(registry.addVersion, (asset, 1, _seal(), _terms(), ""));
        _refuse(_owner(0), address(registry), first, IAssetRegistry.UnknownVersion.selector);
        bytes memory second = abi.encodeCall(registry.addVersion, (asset, 2, _seal(), _terms(), ""));
        vm.prank(_owner(0));
        registry.addVersion(asset, 2, _seal(), _terms(), "");
        _refuse(_owner(0), address(registry), second, IAssetRegistry.VersionExists.selector);
    }

    function test_only_the_market_moves_uses_and_budget() public {
        bytes32 asset = _publish(0, _terms());
        AssetLimit memory limit = AssetLimit(asset, 1, 1, PRICE, 1);
        AssetClaim[] memory claims = new AssetClaim[](1);
        bytes32[] memory none;
        bytes4 refused = IAssetRegistry.OnlyMarket.selector;
        bytes memory reserve = abi.encodeCall(registry.reserve, (limit, consumer, address(0), 1, none));
        _refuse(_owner(0), address(registry), reserve, refused);
        _refuse(_owner(0), address(registry), abi.encodeCall(registry.release, (claims)), refused);
    }

    function test_an_asset_id_commits_to_creator_salt_registry_and_chain() public {
        bytes32 id = registry.assetIdOf(consumer, bytes32(uint256(1)));
        assertTrue(id != registry.assetIdOf(provider, bytes32(uint256(1))), "creator");
        assertTrue(id != registry.assetIdOf(consumer, bytes32(uint256(2))), "salt");
        vm.chainId(1);
        assertTrue(id != registry.assetIdOf(consumer, bytes32(uint256(1))), "chain");
    }
}
