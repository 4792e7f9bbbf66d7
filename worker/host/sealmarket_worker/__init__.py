"""The worker: enclave (measured), host (untrusted), drivers, virtual TEE devices."""
