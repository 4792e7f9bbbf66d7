"""The node's audit log: an append-only Merkle tree over what it decided, promised and refused to do."""
