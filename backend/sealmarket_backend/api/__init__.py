"""The HTTP API of one backend: a module for each resource, and what they share.

Routes are thin: they read a shape, call one method, answer a shape. One handler turns every refusal into a
:class:`sealmarket.protocol.problems.Problem`. No party trusts this API: what people sign and what readers verify does
not rest on it.
"""

from __future__ import annotations

from sealmarket_backend.api.app import create_app

__all__ = ["create_app"]
