// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ILedger} from "../interfaces/ILedger.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {AssetUse, Terms, VersionState} from "../types/Assets.sol";
import {NodeSignature} from "../types/Committees.sol";
import {DecisionCore, FailureReport, JobSpec, Outcome, Status} from "../types/Jobs.sol";
import {Account, Interruption, Unbonding} from "../types/Money.sol";
import {AssetLimit, Match} from "../types/Orders.sol";
import {Fixture} from "./Fixture.sol";
import {vm} from "./Vm.sol";

/// @title Random steps of random jobs by all parties, and the sums that must hold
/// @dev Keeps what a reader of the events knows of each job, and no balance: balances are compared.
contract Handler is Fixture {
    uint256 private constant ASSETS = 3;
    uint32 private constant MAX_USES = 6;
    uint40 private constant BUDGET = 1_200_000;

    struct Job {
        JobSpec spec;
        uint32 units;
        address challenger;
        uint256 settled;
        bool accepted;
    }

    Job[] private _jobs;
    bytes32[] private _assets;
    uint256 private _deposited;
    uint256 private _withdrawn;
    uint256 private _gone;
    uint256 private _endsAt;
    uint256 private _jobsBeforeEnd;
    mapping(bytes32 step => uint256 count) public reached;

    constructor() {
        setUp();
        Terms memory terms = _terms();
        (terms.maxUses, terms.budget) = (MAX_USES, BUDGET);
        for (uint256 i = 0; i < ASSETS; ++i) {
            _assets.push(_publish(i, terms));
        }
        _deposited = 3 * FUNDS;
    }

    /// Once: the random walk may call this too.
    function setUp() public override {
        if (address(market) == address(0)) super.setUp();
    }

    // ---- money ----

    function deposit(uint256 who, uint256 amount) external {
        amount = bound(amount, 1, FUNDS);
        vm.deal(address(this), amount);
        market.depositFor{value: amount}(address(0), _party(who), amount);
        _deposited += amount;
    }

    function withdraw(uint256 who, uint256 amount) external {
        address party = _party(who);
        amount = bound(amount, 0, _free(party));
        if (amount == 0) return;
        vm.prank(party);
        market.withdraw(address(0), amount, party);
        _withdrawn += amount;
    }

    function stake(uint256 who, uint256 amount) external {
        address party = _party(who);
        amount = bound(amount, 0, _free(party) / 2);
        if (amount == 0) return;
        vm.prank(party);
        market.stake(address(0), amount);
    }

    function unstake(uint256 who, uint256 amount) external {
        address party = _party(who);
        amount = bound(amount, 0, _staked(party) / 4);
        if (amount == 0) return;
        vm.prank(party);
        market.unstake(address(0), amount);
    }

    function transfer(uint256 who, uint256 to, uint256 amount) external {
        address party = _party(who);
        amount = bound(amount, 0, _free(party) / 4);
        if (amount == 0) return;
        vm.prank(party);
        market.transfer(address(0), _party(to), amount);
        ++reached["transfer"];
    }

    function finishUnstake(uint256 who) external {
        address party = _party(who);
        Unbonding memory leaving = market.unbondingOf(address(0), party);
        if (leaving.amount == 0) return;
        vm.warp(leaving.readyAt > block.timestamp ? leaving.readyAt : block.timestamp);
        vm.prank(party);
        market.finishUnstake(address(0));
    }

    function claim(uint256 index) external {
        _does(address(this), abi.encodeCall(ILedger.claimFees, (1, address(0), _members(), uint8(index % 3))));
    }

    // ---- terms ----

    function tighten(uint256 asset, uint256 what) external {
        bytes32 id = _assets[asset % ASSETS];
        Terms memory terms = registry.versionOf(id, 1).terms;
        if (what % 4 == 0 && terms.maxUses > 1) terms.maxUses -= 1;
        else if (what % 4 == 1 && terms.budget > 100) terms.budget -= 100;
        else if (what % 4 == 2) terms.consumerRoot = 0;
        else terms.price += 1;
        if (what % 4 == 2) terms.allowRoot = keccak256(abi.encode(terms.allowRoot));
        vm.prank(_owner(asset % ASSETS));
        registry.tighten(id, 1, terms);
    }

    function replaceAsset(uint256 asset) external {
        uint256 i = asset % ASSETS;
        Terms memory terms = _terms();
        (terms.maxUses, terms.budget) = (MAX_USES, BUDGET);
        vm.prank(_owner(i));
        registry.revoke(_assets[i], 1);
        _assets[i] = _publish(i, terms);
    }

    // ---- the committee ----

    /// In some runs: all jobs are of one epoch.
    function endEpoch(uint256 ahead) external {
        if (ahead % 4 == 0) _endEpoch(ahead);
    }

    /// In some runs: a match when about as much is left as its windows take together, which are two hours.
    function matchNearEnd(uint256 left, uint256 units, uint256 price, uint256 penalty, uint256 epsilon) external {
        if (left % 3 != 0) return;
        _endEpoch(left);
        uint256 then = _endsAt - bound(left / 3, 0, 4 hours);
        if (then > block.timestamp) vm.warp(then);
        uint256 before = _jobs.length;
        this.make(left, units, price, penalty, epsilon);
        ++reached[_jobs.length > before ? bytes32("match near the end") : bytes32("no match near the end")];
    }

    function _endEpoch(uint256 ahead) private {
        if (_endsAt != 0) return;
        _endsAt = block.timestamp + committee.notice() + bound(ahead, 0, 30 days);
        _jobsBeforeEnd = _jobs.length;
        committee.end(1, uint40(_endsAt));
    }

    // ---- jobs ----

    function make(uint256 sponsored, uint256 units, uint256 price, uint256 penalty, uint256 epsilon) external {
        bytes32[] memory two = new bytes32[](2);
        uint256 first = price % ASSETS;
        (two[0], two[1]) = (_assets[first], _assets[(first + 1) % ASSETS]);
        Match memory deal = _dealOver(two);
        if (sponsored % 2 == 1) deal.request.payer = sponsor;
        deal.request.maxUnits = uint32(bound(units, 0, 50));
        deal.compute.price = uint128(bound(price, 0, COMPUTE));
        deal.compute.penalty = uint128(bound(penalty, 0, PENALTY));
        for (uint256 i = 0; i < 2; ++i) {
            AssetLimit memory limit = deal.request.assets[i];
            limit.epsilon = uint64(bound(epsilon, 0, 300_000));
            limit.termsVersion = registry.versionOf(limit.assetId, 1).termsVersion;
            deal.offers[i].order.price = uint128(bound(price >> 8, 0, PRICE));
        }
        _signAs(deal, first);
        try market.matchJob(deal) returns (bytes32 jobId) {
            JobSpec memory spec = _specOf(deal, jobId);
            _jobs.push();
            _store(_jobs[_jobs.length - 1].spec, spec);
            ++reached["match"];
        } catch {
            ++reached["no match"];
        }
    }

    function quote(uint256 which) external {
        (bool found, Job storage job) = _pick(which, Status.Matched);
        if (!found) return;
        JobSpec memory spec = job.spec;
        bytes memory call =
            abi.encodeCall(IJobs.quote, (_key(spec), TypedData.hashBargain(spec), EVIDENCE, ""));
        if (_does(provider, call)) ++reached["quote"];
    }

    function decide(uint256 which, uint256 outcome) external {
        (bool found, Job storage job) = _pick(which, Status.Quoted);
        if (!found) return;
        JobSpec memory spec = job.spec;
        DecisionCore memory core = _core(outcome % 3 == 0 ? Outcome(1 + outcome % 6) : Outcome.Accepted);
        bytes32 jobId = _jobId(spec);
        NodeSignature[] memory signatures = _decisions(jobId, 1, core, outcome % 2, 2);
        bytes memory call = abi.encodeCall(IJobs.decide, (_key(spec), _bargain(spec), core, _members(), signatures));
        if (!_does(provider, call)) return;
        job.accepted = _status(spec) == Status.Accepted;
        ++reached["decide"];
    }

    function stop(uint256 which) external {
        (bool found, Job storage job) = _pick(which, Status.Accepted);
        if (!found || which % 4 != 0) return;
        JobSpec memory spec = job.spec;
        bytes32 jobId = _jobId(spec);
        bytes32 promised = TypedData.stopHash(jobId, EVIDENCE, 1, which);
        NodeSignature[] memory signatures = _nodeSignatures(promised, 2);
        bytes memory call = abi.encodeCall(
            IJobs.stop, (_key(spec), _bargain(spec), _enclave(), which, _members(), signatures)
        );
        if (_does(provider, call)) ++reached["stop"];
    }

    function reportMissing(uint256 which, uint16 excluded) external {
        (bool found, Job storage job) = _pick(which, Status.Accepted);
        if (!found || which % 4 != 1) return;
        JobSpec memory spec = job.spec;
        bytes32 signed = TypedData.sharesMissingHash(_jobId(spec), EVIDENCE, excluded);
        bytes memory call = abi.encodeCall(
            IJobs.reportMissing, (_key(spec), _bargain(spec), _enclave(), excluded, _sign(ENCLAVE_KEY, signed))
        );
        if (_does(provider, call)) ++reached["report"];
    }

    function postRelease(uint256 which, uint8 index) external {
        (bool found, Job storage job) = _pick(which, Status.Accepted);
        if (!found) return;
        if (_does(consumer, _posting(job.spec, index % 3))) ++reached["post"];
    }

    function endInterrupted(uint256 which, bool byProvider) external {
        (bool found, Job storage job) = _pick(which, Status.Accepted);
        if (!found) return;
        JobSpec memory spec = job.spec;
        bytes memory call = abi.encodeCall(IJobs.endInterrupted, (_key(spec), _bargain(spec), _enclave()));
        if (!_does(byProvider ? provider : consumer, call)) return;
        job.accepted = false;
        ++reached["interrupted"];
    }

    function returnUnspent(uint256 which) external {
        if (_jobs.length == 0) return;
        _does(consumer, abi.encodeCall(IJobs.returnUnspent, (_jobs[which % _jobs.length].spec.requestHash)));
    }

    function settle(uint256 which, uint256 units, bool acknowledged) external {
        (bool found, Job storage job) = _pick(which, Status.Accepted);
        if (!found) return;
        JobSpec memory spec = job.spec;
        uint32 used = uint32(bound(units, 0, spec.maxUnits));
        if (block.timestamp > _deadline(spec)) return;
        _settle(spec, used, acknowledged);
        (job.units, job.settled) = (used, job.settled + 1);
        ++reached["settle"];
    }

    function fail(uint256 which, uint256 cause, uint256 units) external {
        (bool found, Job storage job) = _pick(which, Status.Accepted);
        if (!found || which % 3 != 0) return;
        JobSpec memory spec = job.spec;
        if (block.timestamp > _deadline(spec)) return;
        uint32 used = uint32(bound(units, 0, spec.maxUnits));
        uint8 index = uint8(units % 2);
        _fail(spec, FailureReport(uint8(1 + cause % 5), index, used, keccak256("receipt")));
        if (cause % 5 == 0) _lift(spec.assets[index].assetId);
        // No workload has seen anything: cause 1 and cause 5.
        if (cause % 5 == 0 || cause % 5 == 4) job.accepted = false;
        ++reached["fail"];
    }

    function acknowledge(uint256 which) external {
        (bool found, Job storage job) = _pick(which, Status.Settled);
        if (!found) return;
        JobSpec memory spec = job.spec;
        uint32 units = job.units;
        _does(consumer, abi.encodeCall(IJobs.acknowledge, (_key(spec), _bargain(spec), _result(units), "")));
    }

    function challenge(uint256 which) external {
        (bool found, Job storage job) = _pick(which, Status.Settled);
        if (!found) return;
        JobSpec memory spec = job.spec;
        uint32 units = job.units;
        address challenger = which % 2 == 0 ? spec.payer : spec.consumer;
        if (!_does(challenger, abi.encodeCall(IJobs.challenge, (_key(spec), _bargain(spec), _result(units))))) return;
        job.challenger = challenger;
        ++reached["challenge"];
    }

    function answer(uint256 which, bool available) external {
        (bool found, Job storage job) = _pick(which, Status.Challenged);
        if (!found) return;
        JobSpec memory spec = job.spec;
        bytes32 jobId = _jobId(spec);
        bytes32 said = TypedData.challengeAnswerHash(jobId, keccak256("result"), available);
        NodeSignature[] memory signatures = _nodeSignatures(said, 2);
        bytes memory call = abi.encodeCall(
            IJobs.answerChallenge,
            (
                _key(spec),
                _bargain(spec),
                _result(job.units),
                job.challenger,
                available,
                _members(),
                signatures
            )
        );
        if (_does(provider, call)) ++reached["answer"];
    }

    function cancel(uint256 which) external {
        (bool found, Job storage job) = _pick(which, Status.Matched);
        if (!found || which % 3 != 0) return;
        JobSpec memory spec = job.spec;
        _does(consumer, abi.encodeCall(IJobs.cancel, (_key(spec), _bargain(spec))));
    }

    function passTime(uint256 delta) external {
        vm.warp(block.timestamp + bound(delta, 1, 500));
    }

    function closeOverdue(uint256 which) external {
        if (_jobs.length == 0) return;
        Job storage job = _jobs[which % _jobs.length];
        if (_isEnd(_status(job.spec)) || which % 3 != 0) return;
        uint256 deadline = _deadline(job.spec);
        if (block.timestamp <= deadline) vm.warp(deadline + 1);
        _finish(job);
        ++reached["close"];
    }

    // ---- what must hold ----

    /// Deposits less withdrawals, and what they are made of.
    function books() external view returns (uint256 held, uint256 accounted) {
        held = _deposited - _withdrawn;
        for (uint256 i = 0; i < 3 + ASSETS + 3; ++i) {
            address party = _party(i);
            Account memory account = market.accountOf(address(0), party);
            accounted += account.free + account.staked + market.unbondingOf(address(0), party).amount;
        }
        (uint64 fee,,, uint16[] memory unclaimed) = market.feeBookOf(1, address(0));
        for (uint256 i = 0; i < unclaimed.length; ++i) {
            accounted += uint256(unclaimed[i]) * fee;
        }
        accounted += _gone;
        for (uint256 i = 0; i < _jobs.length; ++i) {
            accounted += _locked(_jobs[i]) + market.interruptionOf(_jobs[i].spec.requestHash).unspent;
        }
    }

    function coins() external view returns (uint256 held, uint256 expected) {
        return (address(market).balance, _deposited - _withdrawn);
    }

    /// Uses and budget: taken is what jobs hold that were accepted or still may be, and that is within the first terms.
    function checkMeters() external view {
        for (uint256 i = 0; i < ASSETS; ++i) {
            uint256 uses;
            uint256 epsilon;
            for (uint256 j = 0; j < _jobs.length; ++j) {
                Status status = _status(_jobs[j].spec);
                if (!_jobs[j].accepted && status != Status.Matched && status != Status.Quoted) continue;
                for (uint256 k = 0; k < 2; ++k) {
                    if (_jobs[j].spec.assets[k].assetId != _assets[i]) continue;
                    ++uses;
                    epsilon += _jobs[j].spec.assets[k].epsilon;
                }
            }
            VersionState memory state = registry.versionOf(_assets[i], 1);
            assertEq(state.usesTaken, uses, "uses taken");
            assertEq(state.budgetTaken, epsilon, "budget taken");
            assertTrue(uses <= MAX_USES, "uses within the terms");
            assertTrue(epsilon <= BUDGET, "budget within the terms");
        }
    }

    /// No job that was matched after the announcement waits for anything beyond the end.
    function checkEnd() external view {
        if (_endsAt == 0) return;
        for (uint256 i = _jobsBeforeEnd; i < _jobs.length; ++i) {
            JobSpec memory spec = _jobs[i].spec;
            if (!_isEnd(_status(spec))) assertTrue(_deadline(spec) <= _endsAt, "a job outlasts its epoch");
        }
    }

    function checkSettledOnce() external view {
        for (uint256 i = 0; i < _jobs.length; ++i) {
            assertTrue(_jobs[i].settled <= 1, "settled once");
        }
    }

    /// Run the clock and close everything: no job may be stuck.
    function endAll() external {
        for (uint256 i = 0; i < _jobs.length; ++i) {
            if (_isEnd(_status(_jobs[i].spec))) continue;
            uint256 deadline = _deadline(_jobs[i].spec);
            if (block.timestamp <= deadline) vm.warp(deadline + 1);
            _finish(_jobs[i]);
            assertTrue(_isEnd(_status(_jobs[i].spec)), "every job ends");
        }
    }

    // ---- inside ----

    /// Try a step; whether the market took it.
    function _does(address from, bytes memory data) private returns (bool done) {
        vm.recordLogs();
        vm.prank(from);
        // solhint-disable-next-line avoid-low-level-calls
        (done,) = address(market).call(data);
        _gone += _burned();
    }

    function _finish(Job storage job) private {
        JobSpec memory spec = job.spec;
        Status status = _status(spec);
        bool silent = status == Status.Accepted && !_isInterrupted(spec);
        vm.recordLogs();
        if (status == Status.Matched) market.close(_key(spec), _bargain(spec), _noEnclave());
        if (status == Status.Quoted) market.close(_key(spec), _bargain(spec), _evidenceOnly());
        if (status == Status.Accepted) market.close(_key(spec), _bargain(spec), _enclave());
        if (status == Status.Settled) market.mature(_key(spec), _bargain(spec), _result(job.units));
        if (status == Status.Challenged) market.closeChallenge(
            _key(spec), _bargain(spec), _result(job.units), job.challenger
        );
        _gone += _burned();
        if (status == Status.Accepted) job.accepted = silent;
    }

    /// By the interface's words: a stop, or fewer than two posted releases that stand when their window is over.
    function _isInterrupted(JobSpec memory spec) private view returns (bool) {
        Interruption memory found = market.interruptionOf(spec.requestHash);
        if (found.stopped) return true;
        uint256 left = 0;
        for (uint256 i = 0; i < 3; ++i) {
            if ((found.posted & ~found.excluded) & (1 << i) != 0) ++left;
        }
        return found.sharesDeadline != 0 && block.timestamp > found.sharesDeadline && left < 2;
    }

    /// The owner pays for an input that failed, if it can.
    function _lift(bytes32 assetId) private {
        VersionState memory state = registry.versionOf(assetId, 1);
        if (_does(state.owner, abi.encodeCall(IJobs.liftSuspension, (assetId, 1)))) _gone += 2 * FEE;
    }

    /// What a job holds in each state, by the interface's table and not by the contract's code.
    function _locked(Job storage job) private view returns (uint256) {
        Status status = _status(job.spec);
        if (_isEnd(status)) return 0;
        uint256 owners = uint256(job.spec.assets[0].price) + job.spec.assets[1].price;
        uint256 stakes = owners + job.spec.penalty;
        uint256 work = job.spec.computePrice + uint256(job.spec.unitPrice) * job.spec.maxUnits;
        if (status == Status.Matched || status == Status.Quoted) {
            return stakes + owners + work + 2 * FEE + job.spec.holdFee;
        }
        if (status == Status.Accepted) return stakes + owners + work;
        uint256 earned = job.spec.computePrice + uint256(job.spec.unitPrice) * job.units;
        if (status == Status.Settled) return stakes + earned;
        return stakes + earned + market.bondOf(1, address(0));
    }

    function _party(uint256 i) private view returns (address) {
        i %= 3 + ASSETS + 3;
        if (i == 0) return consumer;
        if (i == 1) return sponsor;
        if (i == 2) return provider;
        if (i < 3 + ASSETS) return _owner(i - 3);
        return _signers(3)[i - 3 - ASSETS];
    }

    function _signAs(Match memory deal, uint256 first) private view {
        _signDeal(deal);
        for (uint256 i = 0; i < 2; ++i) {
            deal.offers[i].signature =
                _sign(_ownerKey((first + i) % ASSETS), hashes.ofAsset(deal.offers[i].order));
        }
    }

    /// The JobSpec by the rules of the specification, held against the id that the market made.
    function _specOf(Match memory deal, bytes32 jobId) private view returns (JobSpec memory spec) {
        spec.requestHash = hashes.ofRequest(deal.request);
        spec.consumer = deal.request.consumer;
        spec.payer = deal.request.payer;
        spec.provider = deal.compute.provider;
        spec.token = deal.request.token;
        spec.workloadDigest = deal.request.workloadDigest;
        spec.parametersDigest = deal.request.parametersDigest;
        (spec.kind, spec.resultKeysHash) = (deal.request.kind, deal.request.resultKeysHash);
        spec.capabilityHash = deal.compute.capabilityHash;
        (spec.timeoutFee, spec.timeoutLimit) = (deal.compute.timeoutFee, deal.request.timeoutLimit);
        (spec.runSeconds, spec.readSeconds, spec.validateSeconds) = (300, 100, 100);
        spec.decodedBytes = deal.request.decodedBytes;
        (spec.purpose, spec.tee, spec.minGrade, spec.epoch) = (1, deal.request.tee, 1, 1);
        (spec.computePrice, spec.unitPrice) = (deal.compute.price, deal.compute.unitPrice);
        (spec.maxUnits, spec.penalty) = (deal.request.maxUnits, deal.compute.penalty);
        spec.matchedAt = uint64(block.timestamp);
        (spec.quoteWindow, spec.decideWindow, spec.settleWindow, spec.challengeWindow) = (600, 700, 1_800, 900);
        uint256 owners = uint256(deal.offers[0].order.price) + deal.offers[1].order.price;
        spec.holdFee = uint128(market.holdFee(owners, deal.request.minPenalty, 600, 700, FEE));
        spec.assets = new AssetUse[](2);
        for (uint256 i = 0; i < 2; ++i) {
            AssetLimit memory limit = deal.request.assets[i];
            spec.assets[i] = AssetUse({
                assetId: limit.assetId,
                owner: registry.versionOf(limit.assetId, 1).owner,
                version: 1,
                termsVersion: limit.termsVersion,
                sealHash: registry.versionOf(limit.assetId, 1).sealHash,
                price: deal.offers[i].order.price,
                epsilon: limit.epsilon
            });
        }
        assertEq(_jobId(spec), jobId, "job id");
    }

    function _store(JobSpec storage place, JobSpec memory spec) private {
        AssetUse[] memory uses = spec.assets;
        for (uint256 i = 0; i < uses.length; ++i) {
            place.assets.push(uses[i]);
        }
        place.requestHash = spec.requestHash;
        (place.consumer, place.payer, place.provider, place.token) =
            (spec.consumer, spec.payer, spec.provider, spec.token);
        place.workloadDigest = spec.workloadDigest;
        place.parametersDigest = spec.parametersDigest;
        (place.kind, place.resultKeysHash, place.capabilityHash) =
            (spec.kind, spec.resultKeysHash, spec.capabilityHash);
        (place.holdFee, place.timeoutFee, place.timeoutLimit) = (spec.holdFee, spec.timeoutFee, spec.timeoutLimit);
        (place.runSeconds, place.readSeconds, place.validateSeconds) =
            (spec.runSeconds, spec.readSeconds, spec.validateSeconds);
        place.decodedBytes = spec.decodedBytes;
        (place.purpose, place.tee, place.minGrade, place.epoch) = (spec.purpose, spec.tee, spec.minGrade, spec.epoch);
        (place.computePrice, place.unitPrice) = (spec.computePrice, spec.unitPrice);
        (place.maxUnits, place.penalty, place.matchedAt) = (spec.maxUnits, spec.penalty, spec.matchedAt);
        (place.quoteWindow, place.decideWindow) = (spec.quoteWindow, spec.decideWindow);
        (place.settleWindow, place.challengeWindow) = (spec.settleWindow, spec.challengeWindow);
    }

    function _pick(uint256 which, Status status) private view returns (bool, Job storage) {
        for (uint256 i = 0; i < _jobs.length; ++i) {
            Job storage job = _jobs[(which + i) % _jobs.length];
            if (_status(job.spec) == status) return (true, job);
        }
        return (false, _jobs.length == 0 ? _none() : _jobs[0]);
    }

    function _none() private pure returns (Job storage job) {
        // solhint-disable-next-line no-inline-assembly
        assembly {
            job.slot := 0
        }
    }

    function _deadline(JobSpec memory spec) private view returns (uint256 deadline) {
        (, deadline,) = market.jobOf(spec.requestHash);
    }

    function _isEnd(Status status) private pure returns (bool) {
        return status == Status.Matured || status >= Status.Refused;
    }
}
