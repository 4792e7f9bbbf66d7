// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AssetUse} from "../types/Assets.sol";
import {JobSpec} from "../types/Jobs.sol";

/// @notice What a job locks, from its specification alone.
struct Escrow {
    /// Sum of the owners' prices.
    uint256 owners;
    /// Flat compute price.
    uint256 compute;
    /// Price of all units that the job may meter.
    uint256 metered;
}

/// @title The arithmetic of a job's money
library Escrows {
    /// @dev No overflow: sums of at most 17 numbers below 2^128, and a product of 128 and 32 bits.
    function lockedBy(JobSpec calldata spec) internal pure returns (Escrow memory escrow) {
        unchecked {
            AssetUse[] calldata uses = spec.assets;
            for (uint256 i = 0; i < uses.length; ++i) {
                escrow.owners += uses[i].price;
            }
            escrow.compute = spec.computePrice;
            escrow.metered = uint256(spec.unitPrice) * spec.maxUnits;
        }
    }

    /// @notice All that the payer locked but the oracle fees.
    function total(Escrow memory escrow) internal pure returns (uint256) {
        unchecked {
            return escrow.owners + escrow.compute + escrow.metered;
        }
    }

    /// @notice What the provider's stake locks.
    function stake(Escrow memory escrow, JobSpec calldata spec) internal pure returns (uint256) {
        unchecked {
            return escrow.owners + spec.penalty;
        }
    }

    /// @notice What the provider earns for `units`.
    function earned(JobSpec calldata spec, uint32 units) internal pure returns (uint256) {
        unchecked {
            return spec.computePrice + uint256(spec.unitPrice) * units;
        }
    }
}
