"""How large a document may be that one party hands to the others. What is larger is refused in its author's row."""

from __future__ import annotations

MAXIMUM_POLICY = 1 << 20
"""Bytes of a policy document: 1,024 measurements of a TDX image fit."""
MAXIMUM_POLICY_VALUES = 32_768
"""Values of a policy document, counted by its commas: 1,024 measurements have 12,000."""
MAXIMUM_CAPABILITY = 256 << 10
"""Bytes of a capability document: 64 measurements and 64 environments fit."""
MAXIMUM_SHARE_SET = 128 << 10
"""Bytes of a share set: 255 members take 80 KiB."""
MAXIMUM_PARAMETERS = 256 << 10
"""Bytes of a request's parameters with their salt. Larger inputs are assets."""
MAXIMUM_PAIRS = 4096
"""Pairs of a policy's measurements and workloads: each node and each verifier hashes all of them."""
MAXIMUM_PACKAGE = 6 << 20
"""Bytes of an evidence package, sealed to all its readers: a quote and the vendor's collateral."""
MAXIMUM_HANDED = 1 << 20
"""Bytes of a sealed package that a node takes from a provider itself; a larger one goes through the store."""
