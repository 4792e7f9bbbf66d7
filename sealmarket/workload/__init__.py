"""Workload bundles: what a workload is, its digest, its environment. Pure rules and file reading, no network.

:mod:`.fetch` alone starts a program (pip), and only on the side of whoever prepares a bundle.
"""
