"""The platforms on which an enclave can run: one module for each way to reach a TEE, and one table of them."""
