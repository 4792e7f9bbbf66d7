// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ISessions} from "../interfaces/ISessions.sol";
import {NodeSignature} from "../types/Committees.sol";
import {FailureReport, JobSpec, Status} from "../types/Jobs.sol";
import {Account} from "../types/Money.sol";
import {Entry, Renewal, ServiceState, Statement, Tab} from "../types/Sessions.sol";
import {SessionFixture} from "./SessionFixture.sol";
import {vm} from "./Vm.sol";

/// @title Random steps of services by all parties beside batch jobs, and the sums that must hold
/// @dev The enclave is honest about what it signed: entries and totals only rise. Tabs, closings, the order of
/// statements and the clock are anyone's. What the model keeps is what was signed and what was given, and no balance.
contract SessionHandler is SessionFixture {
    uint256 private constant SERVICES = 2;
    uint256 private constant ACCOUNTS = 4;
    uint256 private constant OWNERS = 2;

    struct Service {
        /// abi.encode(Open).
        bytes open;
        /// abi.encode(Statement), each with its signature to be made.
        bytes[] statements;
        uint64 total;
        uint64[ACCOUNTS] units;
        bool over;
        uint256 bondGiven;
        uint256 bondTaken;
        uint256 renewalFees;
        uint256 royaltiesPaid;
        uint256[ACCOUNTS] given;
        uint256[ACCOUNTS] returned;
        uint64 renewals;
    }

    Service[] private _book;
    /// Of batch jobs, which have settled and not matured.
    uint256 private _batchUnits;
    mapping(bytes32 step => uint256 count) public reached;

    constructor() {
        setUp();
        for (uint256 i = 0; i < SERVICES; ++i) {
            Open memory open = _service(OWNERS);
            _book.push();
            _book[i].open = abi.encode(open);
            _book[i].bondGiven = LEASE * PER_UNIT * OWNERS;
        }
    }

    /// Once: the random walk may call this too.
    function setUp() public override {
        if (address(market) == address(0)) super.setUp();
    }

    // ---- money of the parties ----

    function fund(uint256 which, uint256 who, uint256 amount) external {
        (Service storage service, Open memory open) = _pick(which);
        who %= ACCOUNTS;
        amount = bound(amount, 1, 2_000);
        if (amount > _free(_account(who))) return;
        if (!_does(_account(who), address(market), _funding(open, _account(who), amount))) return;
        service.given[who] += amount;
        ++reached["fund"];
    }

    function addBond(uint256 which, uint256 amount) external {
        (Service storage service, Open memory open) = _pick(which);
        amount = bound(amount, 1, 500);
        bytes memory call = abi.encodeCall(
            market.transferAndCall, (address(0), address(sessions), amount, abi.encode(open.jobId))
        );
        if (_does(provider, address(market), call)) service.bondGiven += amount;
    }

    function takeBond(uint256 which, uint256 amount) external {
        (Service storage service, Open memory open) = _pick(which);
        amount = bound(amount, 1, 1_500);
        if (!_does(provider, address(sessions), abi.encodeCall(ISessions.takeBond, (open.jobId, amount)))) return;
        service.bondTaken += amount;
        ++reached["take"];
    }

    function payRoyalties(uint256 which) external {
        (Service storage service, Open memory open) = _pick(which);
        uint256 due = uint256(_state(open).redeemed - _state(open).credited) * PER_UNIT;
        bytes memory call = abi.encodeCall(ISessions.payRoyalties, (open.spec, open.terms));
        if (!_does(consumer, address(sessions), call)) return;
        service.royaltiesPaid += due;
        ++reached["royalties"];
    }

    // ---- what the enclave signs ----

    /// The enclave serves some accounts and hands out a statement, of all of them or of some.
    function serve(uint256 which, uint256 seed) external {
        (Service storage service, Open memory open) = _pick(which);
        if (service.over) return;
        Entry[] memory entries = new Entry[](ACCOUNTS);
        uint256 count = 0;
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            uint64 more = uint64(_mixed(seed, i) % 30);
            service.units[i] += more;
            service.total += more;
            if (_mixed(seed, i + 100) % 3 == 0) continue;
            entries[count++] = Entry(_account(i), service.units[i], _mixed(seed, i + 200) % 20 == 0);
        }
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(entries, count)
        }
        bool last = _mixed(seed, 300) % 25 == 0;
        service.over = last;
        service.statements.push(abi.encode(Statement(open.jobId, service.total, last, entries)));
    }

    /// Anyone posts any statement, in any order.
    function redeem(uint256 which, uint256 place) external {
        (Service storage service,) = _pick(which);
        if (service.statements.length == 0) return;
        bytes storage picked = service.statements[place % service.statements.length];
        if (_does(sponsor, address(sessions), _redeeming(abi.decode(picked, (Statement))))) ++reached["redeem"];
        else ++reached["no redeem"];
    }

    /// Another list under a signature of the enclave's is refused.
    function redeemForged(uint256 which, uint256 place) external {
        (Service storage service,) = _pick(which);
        if (service.statements.length == 0) return;
        bytes storage picked = service.statements[place % service.statements.length];
        Statement memory made = abi.decode(picked, (Statement));
        bytes memory signature = _signed(made);
        if (place % 2 == 0) made.total += 1;
        else if (made.entries.length == 0) return;
        else made.entries[0].units += 1;
        bytes memory call = _redeeming(made, signature);
        assertTrue(!_does(sponsor, address(sessions), call), "forged");
        ++reached["forged"];
    }

    // ---- closings ----

    function requestClose(uint256 which, uint256 who) external {
        (, Open memory open) = _pick(which);
        bytes memory call = abi.encodeCall(ISessions.requestClose, (open.jobId));
        if (who % 3 == 0 && _does(_account(who % ACCOUNTS), address(sessions), call)) ++reached["request"];
    }

    /// Nodes say what stands on chain, or lie, where they are fewer than a threshold.
    function confirmClose(uint256 which, uint256 who, bool quorum) external {
        (, Open memory open) = _pick(which);
        vm.roll(block.number + 1);
        address account = _account(who % ACCOUNTS);
        Renewal memory renewal = _renewal(open, account, !quorum || _tab(open, account).requestedBlock != 0);
        NodeSignature[] memory signatures = _nodes(renewal, quorum ? 2 : 1);
        bytes memory call = abi.encodeCall(ISessions.confirmClose, (renewal, _members(), signatures));
        bool done = _does(sponsor, address(sessions), call);
        assertTrue(!done || quorum, "a minority confirmed");
        if (done) ++reached["confirm"];
    }

    function claimRenewal(uint256 which) external {
        (Service storage service, Open memory open) = _pick(which);
        vm.roll(block.number + 1);
        Renewal memory renewal = _renewal(open, _account(0), false);
        NodeSignature[] memory signatures = _nodes(renewal, 2);
        bytes memory call = abi.encodeCall(ISessions.claimRenewal, (renewal, _members(), signatures));
        if (!_does(sponsor, address(sessions), call)) return;
        service.renewalFees += 2 * RENEWAL_FEE;
        ++service.renewals;
        ++reached["renewal"];
    }

    function closeTab(uint256 which, uint256 who) external {
        (Service storage service, Open memory open) = _pick(which);
        who %= ACCOUNTS;
        uint256 before = _free(_account(who));
        bytes memory call = abi.encodeCall(ISessions.closeTab, (open.jobId, _account(who)));
        if (!_does(sponsor, address(sessions), call)) return;
        service.returned[who] = _free(_account(who)) - before;
        ++reached["close"];
    }

    // ---- jobs and time ----

    /// The service's job ends, one way or another.
    function endJob(uint256 which, uint256 how) external {
        (Service storage service, Open memory open) = _pick(which);
        if (how % 4 != 0 || _status(open.spec) != Status.Accepted) return;
        if (vm.getBlockTimestamp() > _deadline(open.spec)) {
            market.close(_key(open.spec), _bargain(open.spec), _enclave());
        } else if (how % 8 == 0 && service.total == 0) {
            _fail(open.spec, FailureReport(1, 0, 0, keccak256("receipt")));
        } else {
            _settle(open.spec, 0, false);
        }
        ++reached["job end"];
    }

    function endService(uint256 which) external {
        (, Open memory open) = _pick(which);
        if (_does(sponsor, address(sessions), abi.encodeCall(ISessions.endService, (open.spec)))) ++reached["end"];
    }

    /// A batch job of other money, beside.
    function batchJob(uint256 units) external {
        _settle(_accepted(1), uint32(units % UNITS), false);
        _batchUnits += units % UNITS;
        ++reached["batch"];
    }

    /// A batch job whose provider posts no evidence: the payer gets all back, and the penalty burns.
    function slashBatch() external {
        JobSpec memory spec = _matched(1);
        vm.warp(_deadline(spec) + 1);
        market.close(_key(spec), _bargain(spec), _noEnclave());
        ++reached["slash"];
    }

    function passTime(uint256 delta) external {
        vm.warp(vm.getBlockTimestamp() + bound(delta, 1, 120));
    }

    // ---- what must hold ----

    /// What sessions hold in the ledger, and what that is made of.
    function held() external view returns (uint256 got, uint256 expected) {
        got = market.accountOf(address(0), address(sessions)).free;
        for (uint256 i = 0; i < _book.length; ++i) {
            Open memory open = abi.decode(_book[i].open, (Open));
            ServiceState memory state = _state(open);
            expected += state.bond + uint256(state.redeemed - state.credited) * state.royalties;
            for (uint256 j = 0; j < ACCOUNTS; ++j) {
                Tab memory tab = _tab(open, _account(j));
                if (tab.closesAt != type(uint40).max) expected += tab.limit - tab.paid;
            }
        }
    }

    /// No account pays more than what was signed for it, nor than it gave; what it did not pay is locked or returned.
    function checkAccounts() external view {
        for (uint256 i = 0; i < _book.length; ++i) {
            Service storage service = _book[i];
            Open memory open = abi.decode(service.open, (Open));
            for (uint256 j = 0; j < ACCOUNTS; ++j) {
                Tab memory tab = _tab(open, _account(j));
                assertEq(tab.limit, service.given[j], "limit");
                assertTrue(tab.paid <= tab.limit, "above the limit");
                assertTrue(tab.paid <= uint256(service.units[j]) * UNIT_PRICE, "above what was signed");
                bool closed = tab.closesAt == type(uint40).max;
                assertEq(service.returned[j], closed ? tab.limit - tab.paid : 0, "returned");
            }
        }
    }

    /// The provider's bond is what it gave and earned, less what it took and what owners and nodes are due of it.
    function checkProvider() external view {
        for (uint256 i = 0; i < _book.length; ++i) {
            Service storage service = _book[i];
            Open memory open = abi.decode(service.open, (Open));
            ServiceState memory state = _state(open);
            uint256 paid = 0;
            for (uint256 j = 0; j < ACCOUNTS; ++j) {
                paid += _tab(open, _account(j)).paid;
            }
            uint256 dues = uint256(state.redeemed) * PER_UNIT * OWNERS + service.renewalFees + service.bondTaken;
            assertEq(state.bond + dues, service.bondGiven + paid, "bond");
            assertTrue(state.redeemed <= service.total, "more than was signed");
            assertEq(service.royaltiesPaid, uint256(state.credited) * PER_UNIT, "royalties of each owner");
        }
    }

    /// What a settled or silent service's owners have, beside royalties, is the opening price.
    function checkOwners() external view {
        uint256 royalties = 0;
        uint256 prices = 0;
        for (uint256 i = 0; i < _book.length; ++i) {
            royalties += _book[i].royaltiesPaid;
            JobSpec memory spec = abi.decode(_book[i].open, (Open)).spec;
            Status status = _status(spec);
            if (status == Status.Settled || status == Status.Expired || status == Status.Matured) prices += PRICE;
        }
        assertEq(_free(_owner(0)), royalties + prices + reached["batch"] * PRICE, "first owner");
        assertEq(_free(_owner(1)), royalties + prices, "second owner");
    }

    /// Deposits, and what they are made of: accounts, fees that nodes may claim, what jobs lock, and what burned.
    function books() external view returns (uint256 deposited, uint256 accounted) {
        accounted = _wealth(consumer) + _wealth(sponsor) + _wealth(provider) + _wealth(address(sessions));
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            accounted += _wealth(_account(i));
        }
        for (uint256 i = 0; i < OWNERS; ++i) {
            accounted += _wealth(_owner(i));
        }
        for (uint256 i = 0; i < 3; ++i) {
            accounted += _wealth(_signers(3)[i]);
        }
        (uint64 fee,,, uint16[] memory unclaimed) = market.feeBookOf(1, address(0));
        for (uint256 i = 0; i < unclaimed.length; ++i) {
            accounted += uint256(unclaimed[i]) * fee;
        }
        return ((3 + ACCOUNTS) * FUNDS, accounted + _locked());
    }

    /// After all services are over, everyone can take what is theirs, and nothing is left here.
    function endAll() external {
        vm.warp(vm.getBlockTimestamp() + 1 days);
        for (uint256 i = 0; i < _book.length; ++i) {
            Service storage service = _book[i];
            Open memory open = abi.decode(service.open, (Open));
            for (uint256 j = 0; j < ACCOUNTS; ++j) {
                Tab memory tab = _tab(open, _account(j));
                if (tab.limit == 0 || tab.closesAt == type(uint40).max) continue;
                uint256 before = _free(_account(j));
                sessions.closeTab(open.jobId, _account(j));
                service.returned[j] = _free(_account(j)) - before;
                assertEq(service.returned[j], tab.limit - tab.paid, "the rest of a tab");
            }
            uint256 units = _state(open).redeemed - _state(open).credited;
            if (units != 0) sessions.payRoyalties(open.spec, open.terms);
            service.royaltiesPaid += units * PER_UNIT;
            uint256 bond = _state(open).bond;
            service.bondTaken += bond;
            if (bond == 0) continue;
            vm.prank(provider);
            sessions.takeBond(open.jobId, bond);
        }
        assertEq(_free(address(sessions)), 0, "left");
    }

    function _locked() private view returns (uint256 locked) {
        for (uint256 i = 0; i < _book.length; ++i) {
            JobSpec memory spec = abi.decode(_book[i].open, (Open)).spec;
            Status status = _status(spec);
            uint256 owners = OWNERS * PRICE;
            if (status == Status.Accepted) locked += 2 * owners + PENALTY;
            if (status == Status.Settled) locked += owners + PENALTY;
            if (status == Status.Expired) locked += PENALTY - 2 * FEE;
        }
        locked += reached["batch"] * (PRICE + PENALTY + COMPUTE) + UNIT * _batchUnits;
        locked += reached["slash"] * PENALTY;
    }

    function _wealth(address who) private view returns (uint256) {
        Account memory account = market.accountOf(address(0), who);
        return uint256(account.free) + account.staked;
    }

    function _deadline(JobSpec memory spec) private view returns (uint256 deadline) {
        (, deadline,) = market.jobOf(spec.requestHash);
    }

    function _pick(uint256 which) private view returns (Service storage service, Open memory open) {
        service = _book[which % SERVICES];
        open = abi.decode(service.open, (Open));
    }

    function _does(address from, address to, bytes memory call) private returns (bool done) {
        vm.prank(from);
        // solhint-disable-next-line avoid-low-level-calls
        (done,) = to.call(call);
    }

    function _mixed(uint256 seed, uint256 salt) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, salt)));
    }
}
