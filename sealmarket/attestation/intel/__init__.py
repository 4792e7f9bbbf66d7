"""Intel SGX and TDX: quotes v3, v4 and v5 under Intel's DCAP infrastructure (SDM vol. 3D; TDX module ABI; PCS API v4).

``quote`` (bytes) <- ``pki``, ``tcb``, ``trust`` (endorsements, proven) <- ``authenticate`` (authentic?) <- ``findings``
(acceptable?). ``collateral`` is Intel's signed documents, ``fetch`` asks Intel's server for them, ``platform`` states
what they are for. ``rules`` is the policy's section, ``measurement`` the tuples, ``module`` the rows of the registry.
"""
