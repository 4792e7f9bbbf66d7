"""Releases of the enclave's runtime: what was measured, of what it is made, and who says so (docs/spec/release.md)."""
