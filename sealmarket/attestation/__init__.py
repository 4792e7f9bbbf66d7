"""Evidence from trusted hardware: is it authentic, and is it acceptable?

Bytes -> :func:`sealmarket.attestation.core.evidence.parse` -> :func:`sealmarket.attestation.core.verify.authenticate`
-> :func:`sealmarket.attestation.core.verify.appraise` -> verdict. Roots, time and collateral are arguments; only
``fetch`` talks to the network. This package holds nothing else: import the modules by name.
"""
