"""The ``nvidia`` section of an appraisal policy as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.nvidia.rules import NvidiaRules

_MODES = {
    "spt": "one GPU alone (spt)",
    "mpt": "several GPUs with encrypted links (mpt)",
    "ppcie": "several GPUs with switches that are trusted with plain text (ppcie)",
}


def explain(rules: NvidiaRules) -> Iterator[str]:
    """What is required of GPUs and switches."""
    if rules.gpus:
        yield f"The CPU TEE must commit to at least {rules.gpus} GPU(s): evidence of a CPU alone is refused."
    yield f"GPUs allowed: {', '.join(rules.architectures) or 'NONE'}."
    yield f"GPU modes allowed: {', '.join(_MODES[mode] for mode in rules.modes) or 'NONE'}."
    yield "A GPU counts only where a CPU TEE commits to its evidence; its report does not name the machine it is in."
    if rules.manifests == "required":
        yield "Every measurement that NVIDIA's manifests of driver and VBIOS list must be one of their values."
    else:
        yield "NVIDIA's manifests may be ABSENT: driver and firmware are then what the GPU says they are."
    if rules.ocsp == "required":
        yield "NVIDIA's OCSP answers about every certificate must be there, and say good."
    else:
        yield "OCSP answers may be ABSENT: a revoked GPU is then accepted with a warning."
    if rules.fwid == "any":
        yield "GPU reports need NOT name the firmware of their key (drivers before 550)."
