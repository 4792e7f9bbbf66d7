// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AssetRegistry} from "../AssetRegistry.sol";
import {OracleCommittee} from "../OracleCommittee.sol";
import {IJobs} from "../interfaces/IJobs.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {Releases} from "../libraries/Releases.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Parameters} from "../market/MarketState.sol";
import {AssetClaim, AssetUse, Seal, Terms} from "../types/Assets.sol";
import {Epoch, Members, NodeSignature} from "../types/Committees.sol";
import {
    Bargain,
    Decision,
    DecisionCore,
    Enclave,
    FailureReport,
    Fault,
    Grade,
    JobKey,
    JobSpec,
    Outcome,
    Payout,
    SettledResult,
    Status,
    Tee
} from "../types/Jobs.sol";
import {TokenFee, Windows} from "../types/Money.sol";
import {AssetLimit, AssetOffer, AssetOrder, ComputeOrder, Match, Request} from "../types/Orders.sol";
import {Assertions} from "./Assertions.sol";
import {Hashes} from "./Hashes.sol";
import {OddToken, PlainToken} from "./Tokens.sol";
import {Vm, vm} from "./Vm.sol";

/// @title A deployed market with its parties, and the steps of a job as plain calls
/// @dev Committee: 2 of 3. Every party has a key, so that each signature is a real one.
abstract contract Fixture is Assertions {
    uint256 internal constant CONSUMER_KEY = 0xC0115;
    uint256 internal constant SPONSOR_KEY = 0x5904;
    uint256 internal constant PROVIDER_KEY = 0x9401;
    uint256 internal constant ENCLAVE_KEY = 0xE4C1;
    uint256 internal constant OWNER_KEYS = 0x04E40;
    uint256 internal constant NODE_KEYS = 0x40DE0;

    uint64 internal constant FEE = 7;
    uint16 internal constant REQUEST_FEE_FACTOR = 3;
    uint32 internal constant FINALITY = 10;
    uint32 internal constant TRANSFER = 20;
    /// A millionth of what is held, for each second.
    uint64 internal constant HOLD_RATE = 1e12;
    uint128 internal constant PRICE = 1_000;
    uint128 internal constant COMPUTE = 500;
    uint128 internal constant UNIT = 10;
    uint32 internal constant UNITS = 20;
    uint128 internal constant PENALTY = 300;
    uint128 internal constant TIMEOUT_FEE = 200;
    uint128 internal constant TIMEOUT_LIMIT = 1_100;
    uint64 internal constant EPSILON = 250_000;
    uint256 internal constant FUNDS = 1_000_000;
    bytes32 internal constant EVIDENCE = keccak256("evidence");
    bytes32 internal constant KEYS = keccak256("keys");

    Hashes internal hashes = Hashes(_create("Hashes.sol:Hashes", ""));
    IMarket internal market;
    AssetRegistry internal registry;
    OracleCommittee internal committee;
    PlainToken internal plain;
    OddToken internal odd;
    /// Token of the jobs; tests may change it before a match.
    address internal token;

    address internal consumer = vm.addr(CONSUMER_KEY);
    address internal sponsor = vm.addr(SPONSOR_KEY);
    address internal provider = vm.addr(PROVIDER_KEY);
    address internal enclaveSigner = vm.addr(ENCLAVE_KEY);
    address internal guardian = address(0x6042d);
    uint256 private _salt;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        _deploy(3, 2);
        _fund(consumer);
        _fund(sponsor);
        _fund(provider);
        _stake(provider, FUNDS / 2);
    }

    function _deploy(uint256 members, uint8 threshold) internal {
        plain = PlainToken(_create("Tokens.sol:PlainToken", ""));
        odd = OddToken(_create("Tokens.sol:OddToken", ""));
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 4);
        registry = AssetRegistry(_create("AssetRegistry.sol:AssetRegistry", abi.encode(predicted)));
        bytes memory arguments =
            abi.encode(address(this), predicted, 1 days, _signers(members), _hpkeKeyHashes(members), threshold);
        committee = OracleCommittee(_create("OracleCommittee.sol:OracleCommittee", arguments));
        TokenFee[] memory tokens = new TokenFee[](3);
        tokens[0] = TokenFee(address(0), FEE);
        tokens[1] = TokenFee(address(plain), FEE);
        tokens[2] = TokenFee(address(odd), FEE);
        address endings = _endings(predicted);
        bytes memory rest = abi.encode(_parameters(), endings, Windows(60, 60, 60, 60), tokens);
        market = IMarket(_create("Market.sol:Market", rest));
    }

    /// The rest of the code of the market at `predicted`.
    function _endings(address predicted) internal returns (address) {
        bytes memory arguments = abi.encode(predicted, _parameters());
        address extension = _create("MarketExtension.sol:MarketExtension", arguments);
        return _create("MarketEndings.sol:MarketEndings", abi.encode(predicted, _parameters(), extension));
    }

    /// As `new` does, but from the artifact: the compiler optimizes what `new` names again for each test contract.
    function _create(string memory name, bytes memory arguments) internal returns (address made) {
        bytes memory code = abi.encodePacked(vm.getCode(name), arguments);
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
            if iszero(made) {
                let reason := mload(0x40)
                returndatacopy(reason, 0, returndatasize())
                revert(reason, returndatasize())
            }
        }
    }

    function _parameters() internal view returns (Parameters memory) {
        return Parameters({
            registry: registry,
            committee: committee,
            unbondingDelay: 1 days,
            requestFeeFactor: REQUEST_FEE_FACTOR,
            finality: FINALITY,
            transferAllowance: TRANSFER,
            holdRate: HOLD_RATE,
            guardian: guardian
        });
    }

    /// A call that must revert with this error; the error's arguments are not compared.
    function _refuse(address from, address to, bytes memory data, bytes4 expected) internal {
        if (from != address(0)) vm.prank(from);
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory reason) = to.call(data);
        assertTrue(!done, "the call should have been refused");
        assertEq(bytes32(bytes4(reason)), bytes32(expected), "error");
    }

    function _refuse(bytes memory data, bytes4 expected) internal {
        _refuse(address(0), address(market), data, expected);
    }

    function _refuse(address from, bytes memory data, bytes4 expected) internal {
        _refuse(from, address(market), data, expected);
    }

    // ---- parties ----

    function _ownerKey(uint256 i) internal pure returns (uint256) {
        return OWNER_KEYS + i;
    }

    function _owner(uint256 i) internal pure returns (address) {
        return vm.addr(_ownerKey(i));
    }

    function _signers(uint256 count) internal pure returns (address[] memory signers) {
        signers = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            signers[i] = vm.addr(NODE_KEYS + i);
        }
    }

    function _hpkeKeyHashes(uint256 count) internal pure returns (bytes32[] memory keys) {
        keys = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            keys[i] = keccak256(abi.encode("hpke", i));
        }
    }

    function _members(uint256 count) internal pure returns (Members memory) {
        return Members(_signers(count), keccak256(abi.encodePacked(_hpkeKeyHashes(count))), 0);
    }

    function _members() internal view returns (Members memory members) {
        Epoch memory epoch = committee.epochOf(1);
        members = _members(epoch.members);
        members.removed = epoch.removed;
    }

    function _fund(address who) internal {
        vm.deal(address(this), FUNDS);
        market.depositFor{value: FUNDS}(address(0), who, FUNDS);
        plain.mint(address(this), FUNDS);
        plain.approve(address(market), FUNDS);
        market.depositFor(address(plain), who, FUNDS);
    }

    function _stake(address who, uint256 amount) internal {
        vm.prank(who);
        market.stake(address(0), amount);
        vm.prank(who);
        market.stake(address(plain), amount);
    }

    function _free(address who) internal view returns (uint256) {
        return market.accountOf(token, who).free;
    }

    function _staked(address who) internal view returns (uint256) {
        return market.accountOf(token, who).staked;
    }

    // ---- assets ----

    function _seal() internal pure returns (Seal memory) {
        return Seal(keccak256("content"), 1, keccak256("shares"), keccak256("policy"), 1);
    }

    function _terms() internal view returns (Terms memory) {
        return Terms({
            token: token,
            price: uint88(PRICE),
            expiry: uint40(block.timestamp + 365 days),
            maxUses: 10,
            purposes: 3,
            minGrade: uint8(Grade.Simulated),
            budget: 1_000_000,
            perJobCap: 500_000,
            allowRoot: keccak256("allowed"),
            consumerRoot: 0,
            maxHold: 10_000,
            timeoutShare: 40
        });
    }

    function _publish(uint256 owner, Terms memory terms) internal returns (bytes32 assetId) {
        return _publish(owner, _seal(), terms);
    }

    function _publish(uint256 owner, Seal memory seal, Terms memory terms) internal returns (bytes32 assetId) {
        vm.prank(_owner(owner));
        assetId = registry.publish(_nextSalt(), seal, terms, "");
    }

    // ---- signatures ----

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return TypedData.toDigest(TypedData.domainSeparator(address(market)), structHash);
    }

    function _sign(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _digest(structHash));
        return abi.encodePacked(r, s, v);
    }

    function _signCompact(uint256 key, bytes32 structHash) internal view returns (bytes32 r, bytes32 vs) {
        uint8 v;
        (v, r, vs) = vm.sign(key, _digest(structHash));
        if (v == 28) vs |= bytes32(uint256(1) << 255);
    }

    // ---- deals ----

    /// A deal over `count` fresh assets of owners 0, 1, …, each with an order of its owner.
    function _deal(uint256 count) internal returns (Match memory deal) {
        bytes32[] memory assets = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            assets[i] = _publish(i, _terms());
        }
        return _dealOver(assets);
    }

    function _dealOver(bytes32[] memory assets) internal returns (Match memory deal) {
        deal.request = _request(assets);
        deal.compute = _computeOrder();
        deal.offers = new AssetOffer[](assets.length);
        for (uint256 i = 0; i < assets.length; ++i) {
            deal.offers[i].order = AssetOrder({
                assetId: assets[i],
                version: 1,
                price: PRICE,
                volume: type(uint32).max,
                expiry: uint64(block.timestamp + 1 days),
                consumers: 0,
                providers: 0,
                salt: _nextSaltNumber()
            });
        }
        _signDeal(deal);
    }

    function _request(bytes32[] memory assets) internal returns (Request memory request) {
        request.kind = 1;
        request.consumer = consumer;
        request.payer = consumer;
        request.token = token;
        request.workloadDigest = keccak256("workload");
        request.parametersDigest = keccak256("parameters");
        request.resultKeysHash = keccak256("result key");
        request.purpose = 1;
        request.tee = uint8(Tee.Tdx);
        request.minGrade = uint8(Grade.Simulated);
        request.maxComputePrice = COMPUTE;
        request.maxUnitPrice = UNIT;
        request.maxUnits = UNITS;
        request.timeoutLimit = TIMEOUT_LIMIT;
        (request.runSeconds, request.readSeconds, request.validateSeconds) = (300, 100, 100);
        request.decodedBytes = 1 << 30;
        request.quoteWindow = 600;
        request.decideWindow = 700;
        request.settleWindow = 1_800;
        request.challengeWindow = 900;
        request.expiry = uint64(block.timestamp + 1 days);
        request.salt = _nextSaltNumber();
        request.assets = new AssetLimit[](assets.length);
        for (uint256 i = 0; i < assets.length; ++i) {
            request.assets[i] =
                AssetLimit({assetId: assets[i], version: 1, termsVersion: 1, maxPrice: PRICE, epsilon: EPSILON});
        }
    }

    function _computeOrder() internal returns (ComputeOrder memory) {
        return ComputeOrder({
            kind: 1,
            provider: provider,
            token: token,
            tee: uint8(Tee.Tdx),
            grade: uint8(Grade.Simulated),
            price: COMPUTE,
            unitPrice: UNIT,
            penalty: PENALTY,
            maxStake: uint128(FUNDS),
            timeoutFee: TIMEOUT_FEE,
            minQuoteWindow: 60,
            minSettleWindow: 60,
            maxHold: 10_000,
            maxRunSeconds: 300,
            maxReadSeconds: 100,
            maxValidateSeconds: 100,
            maxDecodedBytes: 1 << 30,
            capabilityHash: keccak256("capability"),
            volume: 5,
            expiry: uint64(block.timestamp + 1 days),
            consumers: 0,
            salt: _nextSaltNumber()
        });
    }

    /// Sign everything anew, by the fixture's keys.
    function _signDeal(Match memory deal) internal view {
        bytes32 requestHash = hashes.ofRequest(deal.request);
        deal.consumerSignature = _sign(CONSUMER_KEY, requestHash);
        if (deal.request.payer == sponsor) deal.payerSignature = _sign(SPONSOR_KEY, requestHash);
        deal.providerSignature = _sign(PROVIDER_KEY, hashes.ofCompute(deal.compute));
        for (uint256 i = 0; i < deal.offers.length; ++i) {
            deal.offers[i].signature = _sign(_ownerKey(i), hashes.ofAsset(deal.offers[i].order));
        }
    }

    // ---- steps ----

    /// Match, and read the JobSpec from the event, as other readers do.
    function _match(Match memory deal) internal returns (JobSpec memory spec, bytes32 jobId) {
        vm.recordLogs();
        jobId = market.matchJob(deal);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != IJobs.JobMatched.selector) continue;
            (spec,,) = abi.decode(logs[i].data, (JobSpec, uint256, bytes32));
        }
        assertEq(_jobId(spec), jobId, "job id");
    }

    function _jobId(JobSpec memory spec) internal view returns (bytes32) {
        return _digest(TypedData.hashNew(spec));
    }

    /// What opens the job's slot.
    function _key(JobSpec memory spec) internal view returns (JobKey memory) {
        return JobKey(spec.requestHash, _jobId(spec), spec.provider, spec.decideWindow);
    }

    function _bargain(JobSpec memory spec) internal pure returns (Bargain memory bargain) {
        (bargain.consumer, bargain.payer, bargain.token) = (spec.consumer, spec.payer, spec.token);
        (bargain.epoch, bargain.minGrade) = (spec.epoch, spec.minGrade);
        (bargain.computePrice, bargain.unitPrice, bargain.maxUnits) =
            (spec.computePrice, spec.unitPrice, spec.maxUnits);
        (bargain.penalty, bargain.holdFee) = (spec.penalty, spec.holdFee);
        (bargain.timeoutFee, bargain.timeoutLimit) = (spec.timeoutFee, spec.timeoutLimit);
        (bargain.settleWindow, bargain.challengeWindow) = (spec.settleWindow, spec.challengeWindow);
        bargain.claims = new AssetClaim[](spec.assets.length);
        for (uint256 i = 0; i < spec.assets.length; ++i) {
            AssetUse memory use = spec.assets[i];
            bargain.claims[i] = AssetClaim(
                use.assetId, use.owner, use.version, use.termsVersion, use.price, use.epsilon
            );
        }
    }

    /// What was burned since logs were last read, by the events.
    function _burned() internal returns (uint256 burned) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != IJobs.JobEnded.selector) continue;
            (,,, Payout memory payout) = abi.decode(logs[i].data, (Status, Fault, bytes32, Payout));
            burned += payout.burned;
        }
    }

    function _quote(JobSpec memory spec) internal {
        vm.prank(spec.provider);
        market.quote(_key(spec), TypedData.hashBargain(spec), EVIDENCE, "");
    }

    function _core(Outcome outcome) internal view returns (DecisionCore memory) {
        return DecisionCore({
            evidenceHash: EVIDENCE,
            enclaveSigner: enclaveSigner,
            enclaveKeyHash: KEYS,
            termsDigest: keccak256("effective terms"),
            outcome: uint8(outcome),
            grade: uint8(Grade.Simulated),
            reasons: outcome == Outcome.Accepted ? 0 : 5,
            expiry: uint64(block.timestamp + 1 hours)
        });
    }

    /// Decision signatures of nodes first, first + 1, ….
    function _decisions(bytes32 jobId, uint32 epoch, DecisionCore memory core, uint256 first, uint256 count)
        internal
        view
        returns (NodeSignature[] memory signatures)
    {
        signatures = new NodeSignature[](count);
        for (uint256 i = 0; i < count; ++i) {
            bytes32 detail = keccak256(abi.encode("detail", first + i));
            (bytes32 r, bytes32 vs) =
                _signCompact(NODE_KEYS + first + i, TypedData.hash(_decision(jobId, epoch, core, detail)));
            signatures[i] = NodeSignature(uint8(first + i), detail, r, vs);
        }
    }

    function _decision(bytes32 jobId, uint32 epoch, DecisionCore memory core, bytes32 detail)
        internal
        pure
        returns (Decision memory)
    {
        return Decision({
            jobId: jobId,
            evidenceHash: core.evidenceHash,
            enclaveSigner: core.enclaveSigner,
            enclaveKeyHash: core.enclaveKeyHash,
            termsDigest: core.termsDigest,
            epoch: epoch,
            outcome: core.outcome,
            grade: core.grade,
            reasons: core.reasons,
            expiry: core.expiry,
            detail: detail
        });
    }

    /// Signatures of the first `count` nodes over anything but a decision.
    function _nodeSignatures(bytes32 structHash, uint256 count)
        internal
        view
        returns (NodeSignature[] memory signatures)
    {
        signatures = new NodeSignature[](count);
        for (uint256 i = 0; i < count; ++i) {
            (bytes32 r, bytes32 vs) = _signCompact(NODE_KEYS + i, structHash);
            signatures[i] = NodeSignature(uint8(i), 0, r, vs);
        }
    }

    function _decide(JobSpec memory spec, Outcome outcome) internal {
        DecisionCore memory core = _core(outcome);
        bytes32 jobId = _jobId(spec);
        market.decide(_key(spec), _bargain(spec), core, _members(), _decisions(jobId, spec.epoch, core, 0, 2));
    }

    function _enclave() internal view returns (Enclave memory) {
        return Enclave(EVIDENCE, enclaveSigner, KEYS);
    }

    function _evidenceOnly() internal pure returns (Enclave memory enclave) {
        enclave.evidenceHash = EVIDENCE;
    }

    function _noEnclave() internal pure returns (Enclave memory) {
        return Enclave(0, address(0), 0);
    }

    function _result(uint32 units) internal pure returns (SettledResult memory) {
        return SettledResult(keccak256("result"), keccak256("receipt"), units);
    }

    /// Let pass what `units` of work take, since no more count.
    function _work(JobSpec memory spec, uint32 units) internal {
        (, uint40 deadline,) = market.jobOf(spec.requestHash);
        uint256 done = uint256(deadline) - spec.settleWindow + (units == 0 ? 0 : 60 * (uint256(units) - 1));
        if (done > deadline) done = deadline;
        if (block.timestamp < done) vm.warp(done);
    }

    /// The call that posts the release of node `index`.
    function _posting(JobSpec memory spec, uint8 index) internal view returns (bytes memory) {
        bytes[] memory sealed_ = new bytes[](spec.assets.length);
        bytes memory rows;
        for (uint256 i = 0; i < sealed_.length; ++i) {
            sealed_[i] = abi.encode("sealed", index, i);
            rows = abi.encodePacked(rows, spec.assets[i].assetId, keccak256(sealed_[i]));
        }
        bytes32 digest = Releases.digest(_jobId(spec), EVIDENCE, index, keccak256(rows));
        (uint8 v, bytes32 r, bytes32 vs) = vm.sign(NODE_KEYS + index, digest);
        if (v == 28) vs |= bytes32(uint256(1) << 255);
        return abi.encodeCall(
            IJobs.postRelease,
            (_key(spec), _bargain(spec), _enclave(), _members(), index, sealed_, r, vs)
        );
    }

    function _settle(JobSpec memory spec, uint32 units, bool acknowledged) internal {
        _work(spec, units);
        bytes32 jobId = _jobId(spec);
        SettledResult memory result = _result(units);
        bytes memory acknowledgement = acknowledged ? _acknowledgement(jobId) : bytes("");
        bytes memory signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(jobId, result));
        market.settle(_key(spec), _bargain(spec), _enclave(), result, signature, acknowledgement);
    }

    function _acknowledgement(bytes32 jobId) internal view returns (bytes memory) {
        return _sign(CONSUMER_KEY, TypedData.acknowledgementHash(jobId, keccak256("result")));
    }

    function _fail(JobSpec memory spec, FailureReport memory report) internal {
        _work(spec, report.units);
        bytes32 jobId = _jobId(spec);
        market.fail(
            _key(spec), _bargain(spec), _enclave(), report, _sign(ENCLAVE_KEY, TypedData.failureHash(jobId, report))
        );
    }

    // ---- jobs in each state ----

    function _matched(uint256 assets) internal returns (JobSpec memory spec) {
        (spec,) = _match(_deal(assets));
    }

    function _quoted(uint256 assets) internal returns (JobSpec memory spec) {
        spec = _matched(assets);
        _quote(spec);
    }

    function _accepted(uint256 assets) internal returns (JobSpec memory spec) {
        spec = _quoted(assets);
        _decide(spec, Outcome.Accepted);
    }

    function _settled(uint256 assets, uint32 units) internal returns (JobSpec memory spec) {
        spec = _accepted(assets);
        _settle(spec, units, false);
    }

    function _status(JobSpec memory spec) internal view returns (Status status) {
        (status,,) = market.jobOf(spec.requestHash);
    }

    function _assertStatus(JobSpec memory spec, Status expected) internal view {
        assertEq(uint256(_status(spec)), uint256(expected), "status");
    }

    function _nextSaltNumber() internal returns (uint256) {
        return ++_salt;
    }

    function _nextSalt() internal returns (bytes32) {
        return bytes32(_nextSaltNumber());
    }
}
