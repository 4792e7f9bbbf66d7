"""The kind ``session``: a service that answers the requests of many accounts until it ends."""

from sealmarket_enclave.protocol.numbers import Kind
from sealmarket_enclave.runtime.core import JobKind
from sealmarket_enclave.runtime.kinds.session.flow import serve
from sealmarket_enclave.runtime.kinds.session.terms import check

KIND = JobKind(Kind.SESSION, serve, check)
