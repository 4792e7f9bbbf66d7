"""One package for each kind of job. An image holds the core and exactly one of them.

A kind is a package with a function ``serve(channel, environment, work, signer)`` of the type
:data:`sealmarket_enclave.runtime.core.Serve`. No kind imports another.
"""
