// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IJobs} from "../interfaces/IJobs.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {VersionState} from "../types/Assets.sol";
import {FailureReport, Fault, JobSpec, Payout, SettledResult, Status} from "../types/Jobs.sol";
import {Account, Interruption} from "../types/Money.sol";
import {Fixture} from "./Fixture.sol";
import {Vm, vm} from "./Vm.sol";

/// @title One honest party among adversaries: its published strategy, and the most that it may lose by it
/// @dev The strategy waits as long as it may. Whatever must succeed for an honest party and does not is noted in
/// `broken`, since the random walk rolls back a step that reverts. The allowances restate the fault table by hand.
abstract contract HonestParty is Fixture {
    enum Party {
        Consumer,
        Provider,
        Owner
    }

    struct Job {
        /// abi.encode(JobSpec).
        bytes spec;
        bytes32 jobId;
        bool ended;
        Fault fault;
        uint32 units;
        uint256 acceptedAt;
        address challenger;
        /// The adversary holds a quorum in this job; else it holds node 2 alone.
        bool corrupt;
        /// No share reaches the enclave but by a posted release.
        bool starved;
        /// The ciphertext of the result is kept back.
        bool withheld;
        /// What the enclave signs at the end of its work: 0 a result, else the cause of a failure.
        uint8 cause;
        uint8 causeAsset;
        /// Bit i: what node i posted is no share.
        uint16 garbage;
    }

    /// What the honest provider's order says, beside the fixture's prices.
    uint128 internal constant MAX_STAKE = 3 * PRICE + PENALTY;
    uint32 internal constant MIN_QUOTE = 120;
    uint32 internal constant MIN_SETTLE = 150;
    uint32 internal constant MAX_HOLD = 9_000;
    uint256 internal constant ASSETS = 2;
    uint256 internal constant THRESHOLD = 2;

    Party public honest;
    /// The honest party does nothing any more: a mistake that the model must notice.
    bool public asleep;
    /// A promise that did not hold; empty while all do.
    string public broken;
    mapping(bytes32 step => uint256 count) public reached;

    Job[] internal _jobs;
    bytes32[] internal _assets;
    mapping(bytes32 jobId => uint256 place) private _places;
    uint256 private _calls;

    // ---- what the honest party may lose ----

    /// What the honest party has lost, and the most that its own acts and limits allow; negative for a gain.
    function loss() external view returns (int256 lost, int256 allowed) {
        uint256 had = honest == Party.Owner ? 0 : FUNDS;
        lost = int256(had) - int256(_wealth(_self()));
        for (uint256 i = 0; i < _jobs.length; ++i) {
            Job storage job = _jobs[i];
            JobSpec memory spec = abi.decode(job.spec, (JobSpec));
            Status status = _status(spec);
            if (honest == Party.Consumer) {
                lost -= int256(_lockedOfPayer(job, spec, status));
                allowed += int256(_consumerMayLose(job, spec, status));
            } else if (honest == Party.Provider) {
                Interruption memory found = market.interruptionOf(spec.requestHash);
                lost -= int256((job.ended ? 0 : _owners(spec) + spec.penalty) + uint256(found.unspent));
                allowed += int256(uint256(FEE) * _count(found.posted)) - int256(_providerIsDue(job));
            } else {
                allowed -= int256(_ownerIsDue(job, spec, status));
            }
        }
    }

    /// Every use that the honest owner's asset has lost is held by a job that runs, or was paid for by its row.
    function checkUses() external view {
        uint256 expected = 0;
        uint256 epsilon = 0;
        for (uint256 i = 0; i < _jobs.length; ++i) {
            JobSpec memory spec = abi.decode(_jobs[i].spec, (JobSpec));
            if (_jobs[i].ended && _returns(_jobs[i].fault)) continue;
            expected += 1;
            epsilon += spec.assets[0].epsilon;
        }
        if (honest != Party.Owner) return;
        VersionState memory state = registry.versionOf(_assets[0], 1);
        assertEq(state.usesTaken, expected, "uses taken");
        assertEq(state.budgetTaken, epsilon, "budget taken");
    }

    /// No job holds the honest party's stake or use for longer than it signed.
    function checkHeld() external view {
        for (uint256 i = 0; i < _jobs.length && !asleep; ++i) {
            if (_jobs[i].ended) continue;
            JobSpec memory spec = abi.decode(_jobs[i].spec, (JobSpec));
            uint256 held = _now() - spec.matchedAt;
            if (honest == Party.Provider) assertTrue(held <= uint256(MAX_HOLD) + 1, "stake held too long");
            Status status = _status(spec);
            bool holds = status == Status.Matched || status == Status.Quoted || status == Status.Accepted;
            if (honest == Party.Owner && holds) assertTrue(held <= 10_001, "use held too long");
        }
    }

    function _consumerMayLose(Job storage job, JobSpec memory spec, Status status) private view returns (uint256) {
        uint256 fees = THRESHOLD * FEE;
        uint256 prices = _owners(spec) + spec.computePrice + uint256(spec.unitPrice) * job.units + fees;
        if (!job.ended) {
            if (status == Status.Accepted) return fees;
            return status == Status.Settled || status == Status.Challenged ? prices : 0;
        }
        Fault fault = job.fault;
        // What was kept back was challenged, and an honest quorum said so.
        if (fault == Fault.None && job.withheld && !job.corrupt) return 0;
        if (fault == Fault.None || fault == Fault.WorkloadFailed) return prices;
        if (_isTimeout(fault)) {
            (uint256 toProvider, uint256 toOwners,) = _timedOut(spec);
            return toProvider + toOwners + fees;
        }
        if (fault == Fault.Withdrawn) return spec.holdFee;
        // An honest request is refused by a lying quorum alone.
        if (fault == Fault.RequestRefused) return job.corrupt ? fees + spec.holdFee : 0;
        bool nobodys = fault == Fault.TermsRefused || fault == Fault.InputRefused || fault == Fault.InputFailed
            || fault == Fault.ReaderTimedOut || fault == Fault.StoppedBeforeRelease || fault == Fault.SharesMissing;
        return nobodys ? fees : 0;
    }

    function _lockedOfPayer(Job storage job, JobSpec memory spec, Status status) private view returns (uint256) {
        if (job.ended) return 0;
        uint256 work = _owners(spec) + spec.computePrice + uint256(spec.unitPrice) * spec.maxUnits;
        if (status == Status.Matched || status == Status.Quoted) return work + THRESHOLD * FEE + spec.holdFee;
        if (status == Status.Accepted) return work;
        return status == Status.Challenged ? market.bondOf(1, address(0)) : 0;
    }

    function _providerIsDue(Job storage job) private view returns (uint256) {
        if (!job.ended) return 0;
        uint256 earned = COMPUTE + uint256(UNIT) * job.units;
        if (job.fault == Fault.None || job.fault == Fault.WorkloadFailed) return earned;
        return _isTimeout(job.fault) ? TIMEOUT_FEE : 0;
    }

    function _ownerIsDue(Job storage job, JobSpec memory spec, Status status) private view returns (uint256) {
        uint256 price = spec.assets[0].price;
        if (!job.ended) return status == Status.Settled || status == Status.Challenged ? price : 0;
        Fault fault = job.fault;
        if (_returns(fault)) return 0;
        if (!_isTimeout(fault)) return price;
        (, uint256 toOwners, uint256 owed) = _timedOut(spec);
        return owed == 0 ? 0 : toOwners * price / owed;
    }

    /// What a time-out pays to the provider and to the owners together, whose prices are `owed`.
    function _timedOut(JobSpec memory spec)
        private
        pure
        returns (uint256 toProvider, uint256 toOwners, uint256 owed)
    {
        owed = _owners(spec);
        toProvider = spec.computePrice + uint256(spec.unitPrice) * spec.maxUnits;
        if (spec.timeoutFee < toProvider) toProvider = spec.timeoutFee;
        if (spec.timeoutLimit < toProvider) toProvider = spec.timeoutLimit;
        toOwners = spec.timeoutLimit - toProvider;
        if (owed < toOwners) toOwners = owed;
    }

    function _isTimeout(Fault fault) private pure returns (bool) {
        return fault == Fault.WorkloadTimedOut || fault == Fault.ValidatorTimedOut;
    }

    function _returns(Fault fault) private pure returns (bool) {
        return fault != Fault.None && fault != Fault.WorkloadFailed && fault != Fault.WorkloadTimedOut
            && fault != Fault.ValidatorTimedOut && fault != Fault.ProviderSilent && fault != Fault.ResultWithheld;
    }

    // ---- the strategy ----

    /// When the honest party, or the honest nodes, must act on a job at the latest; the end of time if never.
    function _due(Job storage job) internal view returns (uint256) {
        if (job.ended || asleep) return type(uint256).max;
        JobSpec memory spec = abi.decode(job.spec, (JobSpec));
        (Status status, uint40 deadline,) = market.jobOf(spec.requestHash);
        if (status == Status.Challenged && !job.corrupt) return deadline;
        if (honest == Party.Consumer && status == Status.Settled) return deadline;
        if (honest == Party.Provider && status == Status.Matched) return deadline;
        if (honest != Party.Provider || status != Status.Accepted) return uint256(deadline) + 1;
        Interruption memory found = market.interruptionOf(spec.requestHash);
        if (found.sharesDeadline == 0) {
            if (job.starved) return found.stopped ? _now() : deadline;
            return _readyAt(job.acceptedAt, spec);
        }
        if (_now() <= found.sharesDeadline) return uint256(found.sharesDeadline) + 1;
        return _hasShares(job, found) ? _readyAt(found.sharesDeadline, spec) : deadline;
    }

    /// The honest step for a job: what the strategy does now.
    function _act(Job storage job) internal {
        JobSpec memory spec = abi.decode(job.spec, (JobSpec));
        (Status status, uint40 deadline,) = market.jobOf(spec.requestHash);
        bool overdue = _now() > deadline;
        if (status == Status.Challenged && !overdue && !job.corrupt) return _answer(job, !job.withheld);
        if (overdue) return _close(job);
        if (honest == Party.Consumer && status == Status.Settled) return _judge(job, spec);
        if (honest != Party.Provider) return;
        if (status == Status.Matched) {
            _must(abi.encodeCall(IJobs.quote, (_key(spec), TypedData.hashBargain(spec), EVIDENCE, "")), "quote");
        }
        if (status == Status.Accepted) _run(job, spec);
    }

    /// The provider with an accepted job: finish it with shares, or say in time that there are none.
    function _run(Job storage job, JobSpec memory spec) private {
        Interruption memory found = market.interruptionOf(spec.requestHash);
        if (_hasShares(job, found)) {
            (uint256 begun, uint256 unit) = (_deadline(spec) - spec.settleWindow, 60);
            uint256 units = _now() > begun ? (_now() - begun) / unit + 1 : 1;
            if (!_finish(job, uint32(units < spec.maxUnits ? units : spec.maxUnits))) broken = "finish";
            return;
        }
        bytes memory end = abi.encodeCall(IJobs.endInterrupted, (_key(spec), _bargain(spec), _enclave()));
        if (found.stopped) return _must(end, "end after a stop");
        if (found.sharesDeadline == 0) return _must(_report(spec, 0), "report");
        if (_now() <= found.sharesDeadline) return;
        uint16 excluded = found.posted & job.garbage;
        if (excluded != found.excluded) _must(_report(spec, excluded), "complain");
        _must(end, "end without shares");
    }

    /// The consumer with a settled job: acknowledge what arrived, challenge what did not.
    function _judge(Job storage job, JobSpec memory spec) private {
        SettledResult memory result = _result(job.units);
        if (job.withheld) {
            _must(abi.encodeCall(IJobs.challenge, (_key(spec), _bargain(spec), result)), "challenge");
            job.challenger = consumer;
        } else {
            _must(abi.encodeCall(IJobs.acknowledge, (_key(spec), _bargain(spec), result, "")), "acknowledge");
        }
    }

    function _close(Job storage job) internal {
        if (!_does(_self(), _closing(job))) broken = "close";
        else ++reached["close"];
    }

    /// The call that ends an overdue job.
    function _closing(Job storage job) internal view returns (bytes memory) {
        JobSpec memory spec = abi.decode(job.spec, (JobSpec));
        Status status = _status(spec);
        if (status == Status.Settled) {
            return abi.encodeCall(IJobs.mature, (_key(spec), _bargain(spec), _result(job.units)));
        }
        if (status == Status.Challenged) {
            return abi.encodeCall(
                IJobs.closeChallenge, (_key(spec), _bargain(spec), _result(job.units), job.challenger)
            );
        }
        if (status == Status.Matched) return abi.encodeCall(IJobs.close, (_key(spec), _bargain(spec), _noEnclave()));
        if (status == Status.Quoted) return abi.encodeCall(IJobs.close, (_key(spec), _bargain(spec), _evidenceOnly()));
        return abi.encodeCall(IJobs.close, (_key(spec), _bargain(spec), _enclave()));
    }

    // ---- what enclave and nodes sign ----

    /// Send what the enclave signed at the end of its work.
    function _finish(Job storage job, uint32 units) internal returns (bool done) {
        JobSpec memory spec = abi.decode(job.spec, (JobSpec));
        bytes32 jobId = job.jobId;
        if (job.cause == 0) {
            SettledResult memory result = _result(units);
            bytes memory signature = _sign(ENCLAVE_KEY, TypedData.settlementHash(jobId, result));
            bytes memory call =
                abi.encodeCall(IJobs.settle, (_key(spec), _bargain(spec), _enclave(), result, signature, ""));
            done = _does(address(0xaa), call);
        } else {
            FailureReport memory report = FailureReport(job.cause, job.causeAsset, units, keccak256("receipt"));
            bytes memory signature = _sign(ENCLAVE_KEY, TypedData.failureHash(jobId, report));
            bytes memory call =
                abi.encodeCall(IJobs.fail, (_key(spec), _bargain(spec), _enclave(), report, signature));
            done = _does(address(0xaa), call);
        }
        if (done) ++reached[job.cause == 0 ? bytes32("settle") : bytes32("fail")];
    }

    function _report(JobSpec memory spec, uint16 excluded) internal view returns (bytes memory) {
        bytes memory signature =
            _sign(ENCLAVE_KEY, TypedData.sharesMissingHash(_jobId(spec), EVIDENCE, excluded));
        return abi.encodeCall(
            IJobs.reportMissing, (_key(spec), _bargain(spec), _enclave(), excluded, signature)
        );
    }

    /// A quorum's answer to a challenge.
    function _answer(Job storage job, bool available) internal {
        JobSpec memory spec = abi.decode(job.spec, (JobSpec));
        bytes32 said = TypedData.challengeAnswerHash(job.jobId, keccak256("result"), available);
        bytes memory call = abi.encodeCall(
            IJobs.answerChallenge,
            (
                _key(spec),
                _bargain(spec),
                _result(job.units),
                job.challenger,
                available,
                _members(),
                _nodeSignatures(said, THRESHOLD)
            )
        );
        _must(call, "answer");
    }

    // ---- calls and what they tell ----

    function _self() internal view returns (address) {
        if (honest == Party.Consumer) return consumer;
        return honest == Party.Provider ? provider : _owner(0);
    }

    function _must(bytes memory call, string memory what) internal {
        if (_does(_self(), call)) ++reached[bytes32(bytes(what))];
        else broken = what;
    }

    /// Try a call, every fourth twice in one batch; whether the market took it.
    function _does(address from, bytes memory call) internal returns (bool done) {
        vm.recordLogs();
        bool batched = ++_calls % 4 == 0;
        if (batched) {
            bytes[] memory calls = new bytes[](2);
            (calls[0], calls[1]) = (call, call);
            vm.prank(from);
            done = market.batch(calls, 2_000_000)[0];
            ++reached["batch"];
        } else {
            vm.prank(from);
            // solhint-disable-next-line avoid-low-level-calls
            (done,) = address(market).call(call);
        }
        _read(vm.getRecordedLogs());
    }

    /// Learn from the events, as any reader of the chain does.
    function _read(Vm.Log[] memory logs) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            bytes32 topic = logs[i].topics[0];
            bytes memory data = logs[i].data;
            if (topic == IJobs.JobMatched.selector) {
                _learn(logs[i].topics[1], data);
                continue;
            }
            bool ends = topic == IJobs.JobEnded.selector || topic == IJobs.JobSettled.selector
                || topic == IJobs.JobFailed.selector;
            if (!ends) continue;
            Job storage job = _jobs[_places[logs[i].topics[1]]];
            if (topic == IJobs.JobSettled.selector) {
                (,, job.units,,) = abi.decode(data, (bytes32, bytes32, uint32, uint256, uint256));
            } else if (topic == IJobs.JobFailed.selector) {
                (,, job.units,) = abi.decode(data, (uint8, uint8, uint32, bytes32));
            }
            if (topic != IJobs.JobEnded.selector) {
                if (job.units > (_now() - job.acceptedAt) / 60 + 1) broken = "more units than minutes";
            } else {
                (, job.fault,,) = abi.decode(data, (Status, Fault, bytes32, Payout));
                if (job.ended) broken = "ended twice";
                job.ended = true;
                ++reached[bytes32(uint256(job.fault))];
            }
        }
    }

    /// A new job: hold it against what the honest party signed.
    function _learn(bytes32 jobId, bytes memory data) private {
        (JobSpec memory spec,,) = abi.decode(data, (JobSpec, uint256, bytes32));
        _places[jobId] = _jobs.length;
        Job storage job = _jobs.push();
        (job.spec, job.jobId) = (abi.encode(spec), jobId);
        if (honest == Party.Provider) {
            if (_owners(spec) + spec.penalty > MAX_STAKE) broken = "maxStake";
            if (spec.quoteWindow < MIN_QUOTE || spec.settleWindow < MIN_SETTLE) broken = "shortest windows";
            if (spec.runSeconds > 300 || spec.readSeconds > 100 || spec.validateSeconds > 100) broken = "seconds";
            if (spec.decodedBytes > 1 << 30) broken = "decoded bytes";
        } else if (honest == Party.Owner) {
            uint256 demanded = spec.timeoutFee + (_owners(spec) * _terms().timeoutShare + 99) / 100;
            if (spec.timeoutLimit < demanded) broken = "timeoutShare";
        } else {
            if (spec.penalty < PENALTY) broken = "minPenalty";
            if (spec.assets[0].price > PRICE || spec.assets[1].price > PRICE) broken = "maxPrice";
            if (spec.computePrice > COMPUTE || spec.unitPrice > UNIT) broken = "compute price";
            if (spec.timeoutFee > TIMEOUT_LIMIT || spec.timeoutLimit != TIMEOUT_LIMIT) broken = "timeoutLimit";
        }
    }

    // ---- arithmetic ----

    function _wealth(address who) private view returns (uint256) {
        Account memory account = market.accountOf(address(0), who);
        return uint256(account.free) + account.staked + market.unbondingOf(address(0), who).amount;
    }

    function _owners(JobSpec memory spec) internal pure returns (uint256 sum) {
        for (uint256 i = 0; i < spec.assets.length; ++i) {
            sum += spec.assets[i].price;
        }
    }

    /// When an enclave has finished at the latest whose shares came, or were posted, at `from`.
    function _readyAt(uint256 from, JobSpec memory spec) private pure returns (uint256) {
        return from + TRANSFER + 4 * FINALITY + spec.runSeconds + spec.readSeconds + spec.validateSeconds;
    }

    function _hasShares(Job storage job, Interruption memory found) private view returns (bool) {
        return !job.starved || _count(found.posted & ~job.garbage) >= THRESHOLD;
    }

    function _deadline(JobSpec memory spec) internal view returns (uint256 deadline) {
        (, deadline,) = market.jobOf(spec.requestHash);
    }

    function _count(uint256 bits) private pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }

    /// The compiler takes the time of a block to be one number, and moves its reading before a warp.
    function _now() internal view returns (uint256) {
        return vm.getBlockTimestamp();
    }
}
