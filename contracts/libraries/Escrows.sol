// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AssetClaim} from "../types/Assets.sol";
import {Bargain} from "../types/Jobs.sol";

/// @notice What a job locks, from its bargain alone.
struct Escrow {
    /// O: the sum of the owners' prices. The payer and the provider's stake have locked it once each.
    uint256 owners;
    /// C: the flat compute price, locked by the payer.
    uint256 compute;
    /// U: the price of all units that the job may meter, locked by the payer.
    uint256 metered;
    /// P: the penalty, locked by the provider's stake.
    uint256 penalty;
    /// H: the hold fee, locked by the payer until acceptance.
    uint256 hold;
}

/// @title The arithmetic of a job's money
library Escrows {
    /// @notice What the job locks.
    /// @dev No overflow: sums of at most 16 numbers below 2^128, and a product of 128 and 32 bits.
    function lockedBy(Bargain calldata bargain) internal pure returns (Escrow memory escrow) {
        unchecked {
            AssetClaim[] calldata claims = bargain.claims;
            for (uint256 i = 0; i < claims.length; ++i) {
                escrow.owners += claims[i].price;
            }
            escrow.compute = bargain.computePrice;
            escrow.metered = priceOf(bargain, bargain.maxUnits);
            escrow.penalty = bargain.penalty;
            escrow.hold = bargain.holdFee;
        }
    }

    /// @notice A bit for each asset of the job: bit i for asset i.
    function everyAsset(Bargain calldata bargain) internal pure returns (uint256) {
        unchecked {
            return (1 << bargain.claims.length) - 1;
        }
    }

    /// @notice The price of `units`.
    function priceOf(Bargain calldata bargain, uint32 units) internal pure returns (uint256) {
        unchecked {
            return uint256(bargain.unitPrice) * units;
        }
    }

    /// @notice What the provider earns for `units`.
    function earned(Bargain calldata bargain, uint32 units) internal pure returns (uint256) {
        unchecked {
            return bargain.computePrice + priceOf(bargain, units);
        }
    }
}
