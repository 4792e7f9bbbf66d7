"""The ``cca`` section of an appraisal policy."""

from __future__ import annotations

from typing import Literal

from sealmarket_enclave.protocol.codec import Bytes32, Shape


class CcaRules(Shape, frozen=True, kw_only=True):
    """The requirements on CCA platforms.

    ``reference_values`` "required" wants the platform's firmware to be what a document of reference values says, which
    a trusted key signed or whose SHA-256 is listed in ``documents``. ``implementations`` names the implementation ids
    that are allowed; empty allows any.
    """

    reference_values: Literal["required", "warn"] = "required"
    documents: tuple[Bytes32, ...] = ()
    implementations: tuple[Bytes32, ...] = ()
