// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title A smart-contract wallet with one key; it can also return invalid answers
contract Wallet is IERC1271 {
    enum Answer {
        Check,
        Wrong,
        Empty,
        Burn
    }

    address private immutable _key;
    Answer private immutable _answer;

    constructor(address key, Answer answer) {
        _key = key;
        _answer = answer;
    }

    receive() external payable {}

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        if (_answer == Answer.Wrong) return 0xffffffff;
        if (_answer == Answer.Burn) _burnAllGas();
        if (_answer == Answer.Empty) {
            // solhint-disable-next-line no-inline-assembly
            assembly {
                return(0, 0)
            }
        }
        (address signer,,) = ECDSA.tryRecover(hash, signature);
        return signer == _key ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }

    function execute(address to, uint256 value, bytes calldata data) external {
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory answer) = to.call{value: value}(data);
        if (done) return;
        // solhint-disable-next-line no-inline-assembly
        assembly {
            revert(add(answer, 32), mload(answer))
        }
    }

    function _burnAllGas() private pure {
        uint256 count = 1;
        while (count != 0) count = count % 2 + 1;
    }
}

/// @title A wallet that changes its mind: honest, or valid and costly, or with a huge answer
contract TrickyWallet is IERC1271 {
    enum Way {
        Honest,
        Costly,
        Huge
    }

    Way private _way;

    function become(Way way) external {
        _way = way;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (_way == Way.Costly) {
            uint256 spent = 0;
            while (gasleft() > 3_000) spent ^= gasleft();
            if (spent == 1) return 0;
        }
        if (_way == Way.Huge) {
            // solhint-disable-next-line no-inline-assembly
            assembly {
                return(0, 400000)
            }
        }
        return IERC1271.isValidSignature.selector;
    }
}

/// @title A receiver that refuses coin
contract Refuser {
    uint256 private _nothing;
}
