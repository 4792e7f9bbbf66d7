"""The untrusted backend: order book, matching, index, keeper, API."""
