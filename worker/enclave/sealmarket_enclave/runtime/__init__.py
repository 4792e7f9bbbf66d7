"""The enclave runtime: what is measured. Small, and independent of the host."""
