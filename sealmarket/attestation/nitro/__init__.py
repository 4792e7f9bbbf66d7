"""AWS Nitro Enclaves: attestation documents of the Nitro Secure Module (COSE_Sign1 under AWS's root G1).

``document`` (bytes) <- ``chain`` (certificates, proven) <- ``authenticate`` (authentic?) <- ``findings`` (acceptable?).
``envelope`` takes documents out of agents' files. ``rules`` is the policy's section, ``measurement`` the tuple,
``module`` the row of the registry.
"""
