// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AssetClaim} from "../types/Assets.sol";
import {Bargain} from "../types/Jobs.sol";

/// @notice What a job locks, from its bargain alone.
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
    function lockedBy(Bargain calldata bargain) internal pure returns (Escrow memory escrow) {
        unchecked {
            AssetClaim[] calldata claims = bargain.claims;
            for (uint256 i = 0; i < claims.length; ++i) {
                escrow.owners += claims[i].price;
            }
            escrow.compute = bargain.computePrice;
            escrow.metered = uint256(bargain.unitPrice) * bargain.maxUnits;
        }
    }

    /// @notice All that the payer locked but the oracle fees.
    function total(Escrow memory escrow) internal pure returns (uint256) {
        unchecked {
            return escrow.owners + escrow.compute + escrow.metered;
        }
    }

    /// @notice What the provider's stake locks.
    function stake(Escrow memory escrow, Bargain calldata bargain) internal pure returns (uint256) {
        unchecked {
            return escrow.owners + bargain.penalty;
        }
    }

    /// @notice What the provider earns for `units`.
    function earned(Bargain calldata bargain, uint32 units) internal pure returns (uint256) {
        unchecked {
            return bargain.computePrice + uint256(bargain.unitPrice) * units;
        }
    }
}
