// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Fixture} from "./testing/Fixture.sol";
import {JobSpec, Outcome, Status} from "./types/Jobs.sol";

/// @title The whole path of a job that goes well
contract MarketTest is Fixture {
    function test_a_job_pays_owners_and_provider_and_returns_the_rest() public {
        JobSpec memory spec = _matched(2);
        _assertStatus(spec, Status.Matched);
        uint256 locked = 2 * PRICE + COMPUTE + UNIT * UNITS + 2 * FEE;
        assertEq(_free(consumer), FUNDS - locked - spec.holdFee, "escrow");
        assertEq(_staked(provider), FUNDS / 2 - 2 * PRICE - PENALTY, "stake locked");

        _quote(spec);
        _assertStatus(spec, Status.Quoted);
        _decide(spec, Outcome.Accepted);
        _assertStatus(spec, Status.Accepted);
        _settle(spec, 15, true);

        _assertStatus(spec, Status.Matured);
        assertEq(_free(_owner(0)), PRICE, "owner 0");
        assertEq(_free(_owner(1)), PRICE, "owner 1");
        assertEq(_free(provider), FUNDS / 2 + COMPUTE + 15 * UNIT, "provider");
        assertEq(_staked(provider), FUNDS / 2, "stake");
        assertEq(_free(consumer), FUNDS - locked + 5 * UNIT, "refund");
        market.claimFees(1, token, _members(), 0);
        assertEq(_free(vm_addr(0)), FEE, "node");
    }

    function vm_addr(uint256 i) private view returns (address) {
        return _members().signers[i];
    }
}
