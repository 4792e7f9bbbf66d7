"""The host around an enclave: network, chain, processes. Nobody trusts it; its wallet is the only secret it holds."""
