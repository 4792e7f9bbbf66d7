"""The registry of TEEs: one row for each that this version verifies, and the only importer of vendors' packages.

Other modules reach a TEE through :func:`module_of`. A TEE without a row is refused, whatever its evidence looks like.
``docs/spec/evidence.md``, "Adding a TEE", lists what a new row needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import TYPE_CHECKING

from sealmarket.attestation.amd.module import SnpModule
from sealmarket.attestation.amd.rules import SnpRules
from sealmarket.attestation.arm.module import CcaModule
from sealmarket.attestation.arm.rules import CcaRules
from sealmarket.attestation.core.errors import NotEvidence, refuse
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.core.model import MeasurementTuple
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import TeeModule
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.module import SgxModule, TdxModule
from sealmarket.attestation.intel.rules import IntelRules
from sealmarket.attestation.nitro.module import NitroModule
from sealmarket.attestation.nitro.rules import NitroRules
from sealmarket.attestation.nvidia.module import NvidiaModule
from sealmarket.attestation.nvidia.rules import NvidiaRules
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.numbers import Tee

MODULES: Mapping[Tee, TeeModule] = MappingProxyType(
    {
        Tee.SGX: SgxModule(),
        Tee.TDX: TdxModule(),
        Tee.SNP: SnpModule(),
        Tee.CCA: CcaModule(),
        Tee.NITRO: NitroModule(),
        Tee.NVIDIA: NvidiaModule(),
    }
)

if TYPE_CHECKING:
    Measurement = MeasurementTuple
else:
    Measurement = reduce(or_, (module.measurement for module in MODULES.values()))
    """The measurement tuples that documents may name, by their tag ``tee``: those of all rows."""

CollateralDocument = IntelCollateral
"""The collateral that vendors issue by kind of platform, in the JSON of its own format."""


class VendorRules(Shape, frozen=True, kw_only=True):
    """The vendors' sections of the appraisal policy: a module names its own by ``section``."""

    intel: IntelRules = IntelRules()
    snp: SnpRules = SnpRules()
    cca: CcaRules = CcaRules()
    nitro: NitroRules = NitroRules()
    nvidia: NvidiaRules = NvidiaRules()


def module_of(tee: Tee) -> TeeModule:
    """The module that serves a TEE.

    Raises:
        EvidenceRefused: none does (``tee_unsupported``).
    """
    module = MODULES.get(tee)
    if module is None:
        refuse(Reason.TEE_UNSUPPORTED, f"evidence of {', '.join(known.slug for known in MODULES)}", tee.slug)
    return module


def recognise(data: bytes) -> Tee | None:
    """The TEE whose evidence starts like these raw bytes; None when no module recognises them.

    Raises:
        NotEvidence: two modules recognise them.
    """
    found = [module.tee for module in MODULES.values() if module.recognises(data)]
    if len(found) > 1:
        raise NotEvidence(
            f"expected evidence of one TEE, found bytes that start like {' and '.join(t.slug for t in found)}"
        )
    return found[0] if found else None


def unwrap(data: bytes) -> Evidence | None:
    """The evidence in an agent's binary file; None where no module knows it.

    Raises:
        NotEvidence: a known file that is not well-formed.
    """
    found = (module.unwrap(data) for module in MODULES.values())
    return next((evidence for evidence in found if evidence is not None), None)


def pins() -> Mapping[Tee, frozenset[bytes]]:
    """The SPKI hashes of all vendors' roots."""
    return MappingProxyType({tee: module.pins for tee, module in MODULES.items()})


def endpoints() -> dict[str, str]:
    """All vendors' servers by name."""
    return {name: url for module in MODULES.values() for name, url in module.endpoints.items()}
