"""One package for each kind of job. An image holds the core and exactly one of them.

A kind is a package with ``KIND``, a :class:`sealmarket_enclave.runtime.core.JobKind`. No kind imports another.
"""
