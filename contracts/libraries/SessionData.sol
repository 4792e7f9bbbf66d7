// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Entry, Renewal, Royalty, SessionTerms, Statement, TabState} from "../types/Sessions.sol";
import {TypedData} from "./TypedData.sol";

/// @title EIP-712 hashes of the documents of sessions that the chain reads
/// @dev In the market's domain. As in TypedData, documents in calldata are copied unchanged behind their type hash.
/* solhint-disable no-inline-assembly */
library SessionData {
    bytes32 internal constant ROYALTY_TYPEHASH = keccak256("Royalty(bytes32 assetId,uint128 perUnit)");
    bytes32 internal constant SESSION_TERMS_TYPEHASH = keccak256(
        "SessionTerms(address sessions,uint64 lease,uint32 leaseSeconds,uint32 redemptionWindow,uint40 end,uint64 bucket,uint128 unitPrice,uint128 leastTab,uint128 renewalFee,Royalty[] royalties)Royalty(bytes32 assetId,uint128 perUnit)" // solhint-disable-line max-line-length
    );
    bytes32 internal constant ENTRY_TYPEHASH = keccak256("Entry(address account,uint64 units,bool last)");
    bytes32 internal constant STATEMENT_TYPEHASH = keccak256(
        "Statement(bytes32 jobId,uint64 total,bool last,Entry[] entries)Entry(address account,uint64 units,bool last)"
    );
    bytes32 internal constant TAB_STATE_TYPEHASH = keccak256("TabState(address account,uint64 units,bool closing)");
    bytes32 internal constant RENEWAL_TYPEHASH = keccak256(
        "Renewal(bytes32 jobId,bytes32 nonce,uint64 blockNumber,uint40 blockTime,uint64 redeemed,TabState[] tabs)TabState(address account,uint64 units,bool closing)" // solhint-disable-line max-line-length
    );

    function hash(SessionTerms memory terms) internal pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](terms.royalties.length);
        for (uint256 i = 0; i < hashes.length; ++i) {
            Royalty memory royalty = terms.royalties[i];
            hashes[i] = keccak256(abi.encode(ROYALTY_TYPEHASH, royalty.assetId, royalty.perUnit));
        }
        return keccak256(
            abi.encode(
                SESSION_TERMS_TYPEHASH,
                terms.sessions,
                terms.lease,
                terms.leaseSeconds,
                terms.redemptionWindow,
                terms.end,
                terms.bucket,
                terms.unitPrice,
                terms.leastTab,
                terms.renewalFee,
                keccak256(abi.encodePacked(hashes))
            )
        );
    }

    function hash(Statement calldata statement) internal pure returns (bytes32) {
        Entry[] calldata entries = statement.entries;
        uint256 place;
        uint256 items;
        assembly ("memory-safe") {
            place := statement
            items := entries.offset
        }
        bytes32 tail = TypedData.hashItems(items, entries.length, 3, ENTRY_TYPEHASH);
        return TypedData.hashCopied(place, 4, STATEMENT_TYPEHASH, tail);
    }

    function hash(Renewal calldata renewal) internal pure returns (bytes32) {
        TabState[] calldata tabs = renewal.tabs;
        uint256 place;
        uint256 items;
        assembly ("memory-safe") {
            place := renewal
            items := tabs.offset
        }
        bytes32 tail = TypedData.hashItems(items, tabs.length, 3, TAB_STATE_TYPEHASH);
        return TypedData.hashCopied(place, 6, RENEWAL_TYPEHASH, tail);
    }
}
