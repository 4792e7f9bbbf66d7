"""How the host reaches each kind of TEE: one module each."""
