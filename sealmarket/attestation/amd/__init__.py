"""AMD SEV-SNP: attestation reports 2 to 5 (SEV-SNP firmware ABI 1.58) under AMD's VCEK and VLEK (57230, 58369).

``report`` (bytes) <- ``leaf``, ``certificates`` (endorsements, proven) <- ``authenticate`` (authentic?) <- ``findings``
(acceptable?). ``fetch`` asks AMD's key distribution service, ``launch`` computes a guest's launch digest. ``rules`` is
the policy's section, ``measurement`` the tuple, ``module`` the row of the registry.
"""
