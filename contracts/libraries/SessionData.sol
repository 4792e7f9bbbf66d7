// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Renewal, Royalty, SessionTerms, TabState} from "../types/Sessions.sol";
import {EntryWord} from "./EntryWords.sol";
import {TypedData} from "./TypedData.sol";

/// @title EIP-712 hashes of the documents of sessions that the chain reads
/// @dev In the market's domain. As in TypedData, documents in calldata are copied unchanged behind their type hash; the
/// entries of a statement, which are most of its calldata, come packed.
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

    function hash(SessionTerms calldata terms) internal pure returns (bytes32) {
        Royalty[] calldata royalties = terms.royalties;
        uint256 place;
        uint256 items;
        assembly ("memory-safe") {
            place := terms
            items := royalties.offset
        }
        bytes32 tail = TypedData.hashItems(items, royalties.length, 2, ROYALTY_TYPEHASH);
        return TypedData.hashCopied(place, 10, SESSION_TERMS_TYPEHASH, tail);
    }

    /// @notice Hash of the Statement of which these are the members, its entries packed.
    function hashStatement(bytes32 jobId, uint64 total, bool last, EntryWord[] calldata entries)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(STATEMENT_TYPEHASH, jobId, total, last, _hashEntries(entries)));
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

    /// Hash of the hashes of the entries: each is unpacked behind its type hash, in the same four words of memory.
    function _hashEntries(EntryWord[] calldata entries) private pure returns (bytes32 result) {
        bytes32 typeHash = ENTRY_TYPEHASH;
        assembly ("memory-safe") {
            let hashes := mload(0x40)
            let item := add(hashes, shl(5, entries.length))
            mstore(item, typeHash)
            let from := entries.offset
            for { let to := hashes } lt(to, item) { to := add(to, 0x20) } {
                let entry := calldataload(from)
                // The fields of an EntryWord: account, units, last.
                mstore(add(item, 0x20), shr(96, entry))
                mstore(add(item, 0x40), shr(168, shl(160, entry)))
                mstore(add(item, 0x60), and(entry, 0xff))
                mstore(to, keccak256(item, 0x80))
                from := add(from, 0x20)
            }
            result := keccak256(hashes, shl(5, entries.length))
        }
    }
}
