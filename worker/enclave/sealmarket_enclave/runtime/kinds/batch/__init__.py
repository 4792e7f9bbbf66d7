"""The kind ``batch``: all inputs at once, one run of the workload, one sealed result."""

from sealmarket_enclave.protocol.numbers import Kind
from sealmarket_enclave.runtime.core import JobKind
from sealmarket_enclave.runtime.kinds.batch.flow import serve

KIND = JobKind(Kind.BATCH, serve)
