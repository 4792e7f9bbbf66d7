"""The untrusted host of a worker: follows the market, runs each job in an enclave, posts what the enclave signs."""
