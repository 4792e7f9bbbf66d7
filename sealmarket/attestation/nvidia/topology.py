"""All GPUs and switches of one machine, taken together.

1. As many GPUs as the policy demands.
2. All GPUs are in one mode.
3. In protected PCIe the switches are trusted with plain text. Each GPU names those that its links lead to, by the
   identities that they report, in reverse byte order: all name the same, and evidence of each is here.
4. A switch that no GPU is connected to is no part of the machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia.authenticate import NvidiaBody
from sealmarket.attestation.nvidia.rules import NvidiaRules


def findings(devices: Sequence[AuthenticReport], rules: NvidiaRules) -> Iterator[Finding]:
    """What the rules refuse about these devices together."""
    bodies = [report.body for report in devices if isinstance(report.body, NvidiaBody)]
    gpus = [body for body in bodies if not body.device.is_switch]
    if len(gpus) < rules.gpus:
        yield Finding(Reason.NVIDIA_GPUS_MISSING, f"at least {rules.gpus} GPUs beside the CPU", str(len(gpus)))
    modes = {str(gpu.report.opaque.mode) for gpu in gpus}
    if len(modes) > 1:
        yield Finding(Reason.NVIDIA_MODE, "all GPUs in one mode", " and ".join(sorted(modes)))
    yield from _switches(gpus, [body for body in bodies if body.device.is_switch])


def _switches(gpus: Sequence[NvidiaBody], switches: Sequence[NvidiaBody]) -> Iterator[Finding]:
    present = {body.device.pdi for body in switches}
    protected = [gpu for gpu in gpus if gpu.report.opaque.mode == "ppcie"]
    named = {frozenset(pdi[::-1] for pdi in gpu.report.opaque.switches if any(pdi)) for gpu in protected}
    if len(named) > 1 or frozenset() in named:
        found = " and ".join(sorted(_say(group) for group in named))
        yield Finding(Reason.NVIDIA_TOPOLOGY, "GPUs that are all connected to the same switches", found)
    connected = frozenset[bytes]().union(*named)
    if missing := connected - present:
        yield Finding(
            Reason.NVIDIA_TOPOLOGY,
            "evidence of every switch that the GPUs are connected to",
            f"without {_say(missing)}",
        )
    if strangers := present - connected:
        remedy = "leave these switches out; they are of another machine"
        wanted = "switches that GPUs in protected PCIe are connected to"
        yield Finding(Reason.NVIDIA_TOPOLOGY, wanted, _say(strangers), remedy)


def _say(identities: Collection[bytes]) -> str:
    return ", ".join(sorted(pdi.hex() for pdi in identities)) or "none"
