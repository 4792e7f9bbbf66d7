// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

import {ILedger} from "../interfaces/ILedger.sol";

/// @title A token without surprises
contract PlainToken is ERC20Permit {
    constructor() ERC20("Plain", "PLN") ERC20Permit("Plain") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @title A token that misbehaves on transfer in a chosen way
contract OddToken is PlainToken {
    enum Way {
        Plain,
        Charging,
        Reverting,
        Depositing,
        Withdrawing,
        /// Moves the amount and returns nothing.
        Silent,
        /// Moves nothing and returns false.
        Denying,
        /// Refuses to move anything from or to the accomplice.
        Blocking
    }

    error NoTransfersToday();
    error Blocked(address holder);

    Way public way;
    ILedger public ledger;
    address public accomplice;

    function behave(Way way_, ILedger ledger_, address accomplice_) external {
        way = way_;
        ledger = ledger_;
        accomplice = accomplice_;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        if (way == Way.Denying) return false;
        super.transfer(to, value);
        return _answer();
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        if (way == Way.Denying) return false;
        super.transferFrom(from, to, value);
        return _answer();
    }

    function _answer() private view returns (bool) {
        if (way == Way.Silent) {
            // solhint-disable-next-line no-inline-assembly
            assembly {
                return(0, 0)
            }
        }
        return true;
    }

    function _update(address from, address to, uint256 value) internal override {
        require(way != Way.Reverting || from == address(0), NoTransfersToday());
        if (way == Way.Blocking && (from == accomplice || to == accomplice)) revert Blocked(accomplice);
        if (way == Way.Charging && from != address(0)) {
            super._update(from, address(this), value / 100);
            value -= value / 100;
        }
        if (way == Way.Depositing && to == address(ledger)) Accomplice(accomplice).depositAgain(ledger);
        if (way == Way.Withdrawing && to == address(ledger)) Accomplice(accomplice).withdrawAll(ledger);
        super._update(from, to, value);
    }
}

/// @title The contract that the odd token calls during a transfer
contract Accomplice {
    OddToken private immutable _token;
    bool private _busy;

    constructor(OddToken token) {
        _token = token;
        token.approve(msg.sender, type(uint256).max);
    }

    function prepare(ILedger ledger, uint256 amount) external {
        _token.approve(address(ledger), type(uint256).max);
        ledger.deposit(address(_token), amount);
    }

    function depositAgain(ILedger ledger) external {
        if (_busy) return;
        _busy = true;
        ledger.deposit(address(_token), 1);
        _busy = false;
    }

    function withdrawAll(ILedger ledger) external {
        uint256 free = ledger.accountOf(address(_token), address(this)).free;
        if (free != 0) ledger.withdraw(address(_token), free, address(this));
    }
}
