"""Workload bundles: what a workload is, its digest, its environment. Reads archives and listed files, no network."""
