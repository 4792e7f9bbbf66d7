"""Arm CCA: attestation tokens of realms (RMM 1.0, chapter A7; draft-ffm-rats-cca-token).

``token`` (bytes); ``documents`` (platform keys, reference values) by ``reading`` and ``corim`` <- ``authenticate``
(authentic?) <-
``findings`` (acceptable?). ``rules`` is the policy's section, ``measurement`` the tuple, ``module`` the row of the
registry.
"""
