// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Request} from "../types/Orders.sol";

/// @title Signed orders: EIP-712, off chain, free, cancellable on chain
/// @notice A request is one job: its slot is its nonce. Compute and asset orders have volumes. The top 64 bits of
/// every salt are the signer's generation in the order's token (0 at first): `cancelAllOrders` raises it, which voids
/// all that was signed in that token. An asset order is in the token of the asset's terms.
interface IOrders {
    /// @notice A job was made under a compute or asset order of the signer that has a volume.
    event OrderUsed(address indexed signer, bytes32 indexed orderHash);
    /// @notice The signer's order with this hashStruct is void.
    event OrderCancelled(address indexed signer, bytes32 indexed orderHash);
    /// @notice All orders of the signer in the token with a lower generation are void.
    event AllOrdersCancelled(address indexed token, address indexed signer, uint16 generation);
    /// @notice The request is void.
    event RequestCancelled(bytes32 indexed requestHash, address indexed by);

    /// @notice Neither an ECDSA signature (65 bytes, or 64 of EIP-2098; low s) of `signer` nor one that its
    /// contract accepts (ERC-1271).
    error BadSignature(address signer, bytes32 digest);
    /// @notice The order was valid until `expiry`.
    error OrderExpired(bytes32 orderHash, uint256 timestamp, uint64 expiry);
    /// @notice The salt's top 64 bits are not the signer's generation.
    error WrongGeneration(address token, address signer, uint64 got, uint16 expected);
    /// @notice All orders were cancelled 65,535 times; cancel them one by one, or trade from another address.
    error NoGenerationLeft(address token, address signer);
    /// @notice The order's volume is used up, or it was cancelled (`used` is then type(uint256).max).
    error OrderFilled(bytes32 orderHash, uint256 used, uint32 volume);
    /// @notice The request has had its job, or was cancelled.
    error RequestUsed(bytes32 requestHash);
    /// @notice `party` is not in the set that `root` commits to.
    error NotInSet(address party, bytes32 root);
    /// @notice Only the consumer or the payer may do this.
    error NotRequestParty(address got, address consumer, address payer);

    /// @notice Void one compute or asset order of the caller, by its hashStruct.
    function cancelOrder(bytes32 orderHash) external;

    /// @notice Void every order that the caller has signed so far in a token.
    function cancelAllOrders(address token) external;

    /// @notice Void a request before it is matched. Consumer or payer.
    function cancelRequest(Request calldata request) external;

    /// @notice Jobs made under an order; type(uint256).max when cancelled. 0 for orders of the highest volume.
    function usedOf(address signer, bytes32 orderHash) external view returns (uint256);
}
