"""Workload bundles: what a workload is, its digest, its environment. Pure rules and file reading, no network.

:mod:`.fetch` alone starts a program (pip), and only on the side of whoever prepares a bundle.
"""

from sealmarket_enclave.workload.bundle import Bundle, digest, pack, read_bundle, unpack
from sealmarket_enclave.workload.environment import Environment, install, take, verify
from sealmarket_enclave.workload.manifest import Limits, Manifest, parse_manifest

__all__ = [
    "Bundle",
    "Environment",
    "Limits",
    "Manifest",
    "digest",
    "install",
    "pack",
    "parse_manifest",
    "read_bundle",
    "take",
    "unpack",
    "verify",
]
