"""The kind ``batch``: all inputs at once, one run of the workload, one sealed result."""

from sealmarket_enclave.runtime.kinds.batch.flow import serve

__all__ = ["serve"]
