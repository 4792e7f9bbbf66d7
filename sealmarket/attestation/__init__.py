"""Evidence from trusted hardware: is it authentic, and is it acceptable?

Bytes -> :func:`sealmarket.attestation.evidence.parse` -> :func:`sealmarket.attestation.verify.authenticate`
-> :func:`sealmarket.attestation.verify.appraise` -> verdict. Roots, time and collateral are arguments; only
``fetch`` talks to the network. This package holds nothing else: import the modules by name.
"""
