"""The shared words: ids, money, policy, orders, job states, EIP-712, wire shapes, errors. Pure: no I/O."""
