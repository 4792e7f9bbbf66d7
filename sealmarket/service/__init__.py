"""Requests to the services of a market: the blob store, the market's API, the oracle nodes.

Their answers are bounded, and their refusals are typed (:mod:`sealmarket.service.errors`).
"""
