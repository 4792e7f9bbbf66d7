"""Sealed data outside an enclave: owners deal keys, oracle nodes open and release shares, consumers open results.

The formats are the measured core's (:mod:`sealmarket_enclave.sealed`); an enclave needs nothing of this package.
"""
