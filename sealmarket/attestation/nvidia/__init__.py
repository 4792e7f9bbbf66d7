"""NVIDIA GPUs (Hopper, Blackwell) and NVSwitch: SPDM 1.1 measurement reports under NVIDIA's device root.

``report`` and ``opaque`` (bytes) <- ``leaf``, ``certificates`` (the device's chain, proven) <- ``authenticate``
(authentic?) <- ``findings`` (acceptable?). ``rules`` is the policy's section, ``measurement`` the tuple, ``module`` the
row of the registry.
"""
