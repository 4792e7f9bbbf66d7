// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {ILedger} from "../interfaces/ILedger.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Terms, VersionState} from "../types/Assets.sol";
import {NodeSignature} from "../types/Committees.sol";
import {DecisionCore, JobSpec, Outcome, Status} from "../types/Jobs.sol";
import {AssetLimit, ComputeOrder, Match, Request} from "../types/Orders.sol";
import {HonestParty} from "./HonestParty.sol";
import {vm} from "./Vm.sol";

/// @title All parties but the honest one: all other accounts, nodes, orders, the clock, the order of transactions
/// @dev In each job the adversary holds node 2 of three, or a quorum. A quorum that it holds is silent, refuses, stops
/// and posts garbage as it likes; what it does not do is what the fault table rests on, to accuse an honest provider of
/// false evidence or of a withheld result. The enclave is honest, its provider may starve or stop it.
contract Adversary is HonestParty {
    uint256 private constant STEPS_EACH = 4;

    address private immutable _creator;
    uint256 private _played;
    /// Once more was lost than allowed, whatever came later.
    bool public losesTooMuch;

    constructor(Party honest_) {
        setUp();
        (honest, _creator) = (honest_, msg.sender);
        _fund(_signers(3)[2]);
        for (uint256 i = 0; i < ASSETS; ++i) {
            _assets.push(_publish(i, _manyUses()));
        }
    }

    /// Once: the random walk may call this too.
    function setUp() public override {
        if (address(market) == address(0)) super.setUp();
    }

    /// A mistake for the tests of the model itself: the honest party stops to follow its strategy.
    function fallAsleep() external {
        if (msg.sender == _creator) asleep = true;
    }

    /// Another: the honest party spends what it has.
    function squander() external {
        if (msg.sender != _creator) return;
        uint256 free = _free(_self());
        vm.prank(_self());
        market.withdraw(address(0), free, address(0xaa));
    }

    /// A few steps, each held against what the honest party may lose.
    function play(uint256 seed) external {
        for (uint256 i = 0; i < STEPS_EACH; ++i) {
            seed = _mixed(seed ^ ++_played);
            _step(seed % 24, seed >> 8, seed >> 64);
            (int256 lost, int256 allowed) = this.loss();
            if (lost > allowed) losesTooMuch = true;
        }
    }

    function _step(uint256 step, uint256 a, uint256 b) private {
        if (step < 3) _make(a, b, a ^ b);
        else if (step < 5) _seldom(a, b);
        else if (step < 7) _passTime(a % 400);
        else if (step == 7) _sleepTo(a, b);
        else if (step == 8) _closeOne(_open(a));
        else if (step == 9) _minority(a, b);
        else if (step < 12) _hurry(_open(a));
        else _press(_open(a), b % 8, b >> 8);
    }

    /// A step that a job may take in its state.
    function _press(uint256 which, uint256 step, uint256 b) private {
        if (_jobs.length == 0) return;
        Status status = _status(abi.decode(_jobs[which].spec, (JobSpec)));
        if (status == Status.Matched) {
            if (step == 0) _cancel(which);
            else _quote(which);
        } else if (status == Status.Quoted) {
            _decide(which, b);
        } else if (status == Status.Accepted) {
            if (step < 2) _send(which, b, b % 2 == 0);
            else if (step < 3) _starve(which, uint16(b >> 16));
            else if (step < 6) _post(which, uint8(b), b % 3 == 0);
            else if (step < 7) _endInterrupted(which, b % 2 == 0);
            else _stop(which);
        } else if (status == Status.Settled) {
            if (step < 4) _challenge(which);
            else _closeOne(which);
        } else if (step < 4) {
            _hearChallenge(which);
        }
    }

    /// The place of a job that has not ended, from any on; of the first one if all have.
    function _open(uint256 from) private view returns (uint256) {
        for (uint256 i = 0; i < _jobs.length; ++i) {
            uint256 place = addmod(from, i, _jobs.length);
            if (!_jobs[place].ended) return place;
        }
        return 0;
    }

    function _seldom(uint256 a, uint256 b) private {
        if (b % 4 == 0) _tighten(a, b >> 8);
        else if (b % 4 == 1) _publish(a);
        else if (b % 4 == 2) _returnUnspent(a);
        else _lift(a);
    }

    // ---- orders ----

    function _make(uint256 wish, uint256 offer, uint256 price) private {
        (wish, offer, price) = (_mixed(wish), _mixed(offer), _mixed(price));
        bytes32[] memory two = new bytes32[](ASSETS);
        (two[0], two[1]) = (_assets[0], wish % 16 == 15 && honest != Party.Consumer ? _assets[0] : _assets[1]);
        Match memory deal = _dealOver(two);
        if (honest == Party.Consumer) deal.request.minPenalty = PENALTY;
        else _wishfulRequest(deal.request, wish);
        if (honest == Party.Provider) _publishedOrder(deal.compute);
        else _wilfulOrder(deal.compute, offer);
        for (uint256 i = 0; i < ASSETS; ++i) {
            AssetLimit memory limit = deal.request.assets[i];
            VersionState memory state = registry.versionOf(limit.assetId, 1);
            limit.termsVersion = state.termsVersion;
            uint256 most = price % 4 == 0 ? 2 * uint256(state.terms.price) : state.terms.price;
            deal.offers[i].order.price = uint128(bound(price >> (8 * i), 0, most));
        }
        _signDeal(deal);
        for (uint256 i = 0; i < ASSETS; ++i) {
            bool standing = price % 3 == i || (honest == Party.Owner && deal.request.assets[i].assetId == _assets[0]);
            if (standing) deal.offers[i].signature = "";
        }
        uint256 before = _jobs.length;
        _does(address(0xaa), abi.encodeCall(IJobs.matchJob, (deal)));
        ++reached[_jobs.length > before ? bytes32("match") : bytes32("no match")];
        if (_jobs.length > before) _jobs[before].corrupt = wish % 2 == 0;
    }

    /// The order that the honest provider publishes.
    function _publishedOrder(ComputeOrder memory order) private pure {
        (order.maxStake, order.maxHold) = (MAX_STAKE, MAX_HOLD);
        (order.minQuoteWindow, order.minSettleWindow) = (MIN_QUOTE, MIN_SETTLE);
    }

    function _wilfulOrder(ComputeOrder memory order, uint256 offer) private pure {
        order.price = uint128(bound(offer >> 8, 0, COMPUTE + 10));
        order.unitPrice = uint128(bound(offer >> 16, 0, UNIT + 1));
        order.penalty = uint128(bound(offer >> 24, PENALTY / 2, 4 * PENALTY));
        order.timeoutFee = uint128(bound(offer >> 32, 0, TIMEOUT_LIMIT + 100));
    }

    function _wishfulRequest(Request memory request, uint256 wish) private pure {
        request.quoteWindow = uint32(bound(wish >> 8, 60, 1_000));
        request.decideWindow = uint32(bound(wish >> 16, 60, 1_000));
        request.challengeWindow = uint32(bound(wish >> 24, 60, 1_000));
        request.runSeconds = uint32(bound(wish >> 32, 0, 330));
        request.readSeconds = uint32(bound(wish >> 40, 0, 110));
        // The shortest settle window that the market takes, often one second less.
        uint256 least = uint256(request.runSeconds) + request.readSeconds + 100 + TRANSFER + 4 * FINALITY;
        request.settleWindow = uint32(least - 1 + (wish >> 48) % 4 * ((wish >> 52) % 400));
        request.timeoutLimit = uint128(bound(wish >> 56, 0, 3 * PRICE));
        request.maxUnits = uint32(bound(wish >> 64, 0, UNITS));
        for (uint256 i = 0; i < ASSETS; ++i) {
            request.assets[i].maxPrice = 100 * PRICE;
            request.assets[i].epsilon = uint64((wish >> (72 + i)) % 3) * 50_000;
        }
    }

    // ---- owners ----

    /// Another asset for one whose owner is the adversary's, sometimes so dear that it takes the whole stake.
    function _publish(uint256 price) private {
        uint256 i = honest == Party.Owner ? 1 : price % ASSETS;
        Terms memory terms = _manyUses();
        uint256 dear = price % 8 == 0 ? FUNDS / 2 - PENALTY - PRICE : 2 * PRICE;
        terms.price = uint88(price % 4 == 0 ? dear : bound(price >> 8, 0, PRICE));
        _assets[i] = _publish(i, terms);
        ++reached["publish"];
    }

    function _manyUses() private view returns (Terms memory terms) {
        terms = _terms();
        (terms.maxUses, terms.budget) = (500, uint40(500 * EPSILON));
    }

    /// Tighten or revoke; the honest owner tightens only.
    function _tighten(uint256 which, uint256 what) private {
        uint256 i = which % ASSETS;
        bool mine = honest == Party.Owner && i == 0;
        Terms memory terms = registry.versionOf(_assets[i], 1).terms;
        bool revokes = what % 5 == 0 && !mine;
        if (what % 5 == 1) terms.purposes = 1;
        else if (what % 5 == 2) terms.allowRoot = keccak256(abi.encode(terms.allowRoot));
        else terms.price += 1;
        bytes memory call = revokes
            ? abi.encodeCall(registry.revoke, (_assets[i], 1))
            : abi.encodeCall(registry.tighten, (_assets[i], 1, terms));
        vm.prank(_owner(i));
        // solhint-disable-next-line avoid-low-level-calls
        (bool done,) = address(registry).call(call);
        if (done) ++reached[revokes ? bytes32("revoke") : bytes32("tighten")];
    }

    function _lift(uint256 which) private {
        uint256 i = which % ASSETS;
        if (honest == Party.Owner && i == 0) return;
        if (_does(_owner(i), abi.encodeCall(IJobs.liftSuspension, (_assets[i], 1)))) ++reached["lift"];
    }

    // ---- consumer ----

    /// The consumer withdraws: its own act, which costs it the hold fee.
    function _cancel(uint256 which) private {
        (bool found,, JobSpec memory spec) = _pick(which, Status.Matched);
        if (!found) return;
        if (_does(consumer, abi.encodeCall(IJobs.cancel, (_key(spec), _bargain(spec))))) ++reached["cancel"];
    }

    function _challenge(uint256 which) private {
        (bool found, Job storage job, JobSpec memory spec) = _pick(which, Status.Settled);
        if (!found || honest == Party.Consumer) return;
        bytes memory call = abi.encodeCall(IJobs.challenge, (_key(spec), _bargain(spec), _result(job.units)));
        if (!_does(consumer, call)) return;
        job.challenger = consumer;
        ++reached["challenge"];
    }

    // ---- provider ----

    function _quote(uint256 which) private {
        (bool found,, JobSpec memory spec) = _pick(which, Status.Matched);
        if (!found || honest == Party.Provider) return;
        bytes memory call =
            abi.encodeCall(IJobs.quote, (_key(spec), TypedData.hashBargain(spec), EVIDENCE, ""));
        if (_does(provider, call)) ++reached["quote"];
    }

    /// The adversary's provider sends what its enclave signed, of more units than there were if it can.
    function _send(uint256 which, uint256 units, bool withheld) private {
        (bool found, Job storage job, JobSpec memory spec) = _pick(which, Status.Accepted);
        if (!found || honest == Party.Provider) return;
        job.withheld = withheld;
        _finish(job, uint32(bound(units, 0, spec.maxUnits + 1)));
    }

    /// The adversary's provider keeps the shares from its enclave.
    function _starve(uint256 which, uint16 excluded) private {
        (bool found,, JobSpec memory spec) = _pick(which, Status.Accepted);
        if (!found || honest == Party.Provider) return;
        if (_does(provider, _report(spec, excluded % 8))) ++reached["report"];
    }

    function _endInterrupted(uint256 which, bool byProvider) private {
        (bool found,, JobSpec memory spec) = _pick(which, Status.Accepted);
        if (!found) return;
        address from = byProvider && honest != Party.Provider ? provider : _owner(1);
        bytes memory call = abi.encodeCall(IJobs.endInterrupted, (_key(spec), _bargain(spec), _enclave()));
        if (_does(from, call)) ++reached["interrupted"];
    }

    function _returnUnspent(uint256 which) private {
        if (_jobs.length == 0) return;
        JobSpec memory spec = abi.decode(_jobs[which % _jobs.length].spec, (JobSpec));
        if (_does(address(0xaa), abi.encodeCall(IJobs.returnUnspent, (spec.requestHash)))) ++reached["unspent"];
    }

    // ---- committee ----

    /// A quorum decides. With it the adversary arranges how an accepted job goes on.
    function _decide(uint256 which, uint256 wish) private {
        (bool found, Job storage job, JobSpec memory spec) = _pick(which, Status.Quoted);
        if (!found) return;
        DecisionCore memory core = _core(_outcome(job, wish));
        core.expiry = uint64(_now() + 1 hours);
        NodeSignature[] memory signatures = _decisions(job.jobId, 1, core, (wish >> 16) % 2, THRESHOLD);
        bytes memory call = abi.encodeCall(IJobs.decide, (_key(spec), _bargain(spec), core, _members(), signatures));
        if (!_does(address(0xaa), call)) return;
        ++reached["decide"];
        wish = _mixed(wish);
        if (_status(spec) != Status.Accepted) return;
        job.acceptedAt = _now();
        job.starved = (wish >> 8) % 2 == 0;
        job.cause = (wish >> 16) % 2 == 0 ? uint8(1 + (wish >> 24) % 5) : 0;
        // No honest owner's asset is garbage.
        job.causeAsset = honest == Party.Owner && job.cause == 1 ? 1 : uint8((wish >> 32) % ASSETS);
    }

    function _outcome(Job storage job, uint256 wish) private view returns (Outcome) {
        if (wish % 3 != 0) return Outcome.Accepted;
        wish = (wish >> 8) % 5;
        if (wish == 0) return Outcome.TermsRefused;
        if (wish == 1) return Outcome.InputRefused;
        if (wish == 2) {
            return honest == Party.Consumer && !job.corrupt ? Outcome.TermsRefused : Outcome.RequestRefused;
        }
        if (honest == Party.Provider) return Outcome.Accepted;
        return wish == 3 ? Outcome.PlatformRefused : Outcome.EvidenceWithheld;
    }

    function _stop(uint256 which) private {
        (bool found, Job storage job, JobSpec memory spec) = _pick(which, Status.Accepted);
        if (!found || !job.corrupt) return;
        NodeSignature[] memory signatures =
            _nodeSignatures(TypedData.stopHash(job.jobId, EVIDENCE, 1, which), THRESHOLD);
        bytes memory call = abi.encodeCall(
            IJobs.stop, (_key(spec), _bargain(spec), _enclave(), which, _members(), signatures)
        );
        if (_does(address(0xaa), call)) ++reached["stop"];
    }

    /// Post a release; of the adversary's nodes it may be garbage.
    function _post(uint256 which, uint8 index, bool garbage) private {
        (bool found, Job storage job, JobSpec memory spec) = _pick(which, Status.Accepted);
        if (!found) return;
        index %= 3;
        if (!_does(address(0xaa), _posting(spec, index))) return;
        if (garbage && (job.corrupt || index == 2)) job.garbage |= uint16(1) << index;
        ++reached["post"];
    }

    /// The honest quorum answers; one that the adversary holds does not.
    function _hearChallenge(uint256 which) private {
        (bool found, Job storage job,) = _pick(which, Status.Challenged);
        if (found && !job.corrupt && _now() <= _deadline(abi.decode(job.spec, (JobSpec)))) {
            _answer(job, !job.withheld);
        }
    }

    /// Node 2 alone decides, stops or answers; it has no quorum, however often it signs.
    function _minority(uint256 which, uint256 what) private {
        if (_jobs.length == 0) return;
        Job storage job = _jobs[which % _jobs.length];
        JobSpec memory spec = abi.decode(job.spec, (JobSpec));
        DecisionCore memory core = _core(Outcome(1 + what % 6));
        NodeSignature[] memory signatures = new NodeSignature[](1 + (what >> 8) % THRESHOLD);
        bool decides = (what >> 16) % 2 == 0;
        bytes32 promised = TypedData.stopHash(job.jobId, EVIDENCE, 1, 1);
        NodeSignature memory one = _decisions(job.jobId, 1, core, 2, 1)[0];
        if (!decides) (one.r, one.vs) = _signCompact(NODE_KEYS + 2, promised);
        for (uint256 i = 0; i < signatures.length; ++i) {
            signatures[i] = one;
        }
        bytes memory call = decides
            ? abi.encodeCall(IJobs.decide, (_key(spec), _bargain(spec), core, _members(), signatures))
            : abi.encodeCall(IJobs.stop, (_key(spec), _bargain(spec), _enclave(), 1, _members(), signatures));
        if (_does(address(0xaa), call)) broken = "a minority decided";
        ++reached["minority"];
        _transfer(what % 100);
    }

    /// Node 2 moves money in the ledger: to the honest party, or more than it has.
    function _transfer(uint256 amount) private {
        address node = _signers(3)[2];
        if (_does(node, abi.encodeCall(ILedger.transfer, (address(0), _self(), amount + 1)))) ++reached["transfer"];
        uint256 more = _free(node) + 1;
        if (_does(node, abi.encodeCall(ILedger.transfer, (address(0), node, more)))) broken = "moved more than it had";
    }

    // ---- the clock ----

    /// Let time pass; the honest party acts when it must at the latest.
    function _passTime(uint256 delta) private {
        _passTo(_now() + bound(delta, 1, 3_000));
    }

    /// Let the time pass up to a job's deadline and beyond, if the adversary wants.
    function _sleepTo(uint256 which, uint256 beyond) private {
        if (_jobs.length == 0) return;
        JobSpec memory spec = abi.decode(_jobs[which % _jobs.length].spec, (JobSpec));
        uint256 target = _deadline(spec) + beyond % 2;
        if (target > _now()) _passTo(target);
    }

    /// The honest party acts on a job before it must.
    function _hurry(uint256 which) private {
        if (_jobs.length == 0) return;
        Job storage job = _jobs[which % _jobs.length];
        if (!job.ended && !asleep) _act(job);
    }

    /// An account closes what is overdue, or tries to before.
    function _closeOne(uint256 which) private {
        if (_jobs.length == 0) return;
        Job storage job = _jobs[which % _jobs.length];
        if (!job.ended) _does(address(0xaa), _closing(job));
    }

    /// Run the clock until every job has ended.
    function endAll() external {
        for (uint256 i = 0; i < 20; ++i) {
            _passTo(_now() + 2_000);
        }
        for (uint256 i = 0; i < _jobs.length; ++i) {
            if (!_jobs[i].ended) broken = "a job does not end";
        }
    }

    function _passTo(uint256 target) private {
        while (bytes(broken).length == 0) {
            (uint256 first, uint256 at) = (0, type(uint256).max);
            for (uint256 i = 0; i < _jobs.length; ++i) {
                uint256 due = _due(_jobs[i]);
                if (due < at) (first, at) = (i, due);
            }
            if (at > target) break;
            if (at > _now()) vm.warp(at);
            _act(_jobs[first]);
        }
        if (target > _now()) vm.warp(target);
    }

    function _pick(uint256 which, Status status)
        private
        view
        returns (bool found, Job storage job, JobSpec memory spec)
    {
        // solhint-disable-next-line no-inline-assembly
        assembly {
            job.slot := 0
        }
        for (uint256 i = 0; i < _jobs.length; ++i) {
            job = _jobs[addmod(which, i, _jobs.length)];
            spec = abi.decode(job.spec, (JobSpec));
            if (_status(spec) == status) return (true, job, spec);
        }
    }

    /// The random walk prefers extreme numbers; here each bit counts.
    function _mixed(uint256 wish) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(wish)));
    }
}
