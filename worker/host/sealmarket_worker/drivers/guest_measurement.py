"""What the evidence of a guest will say, from the files of its image. No hardware is asked.

SEV-SNP: the launch digest over firmware, kernel, initial disk and command line (`sealmarket.attestation.amd.launch`).
TDX: MRTD is the firmware's and named by the guest file; RTMR 0 to 2 are the replay of an event log of this image. The
log is not believed: a quote whose registers differ is another measurement. CCA: the realm's initial measurement is made
by a monitor whose rules are not implemented here.
"""

from __future__ import annotations

from pathlib import Path

from sealmarket.attestation.amd.launch import Guest, launch_digest
from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.core.model import Bytes8
from sealmarket.attestation.intel.eventlog import read_event_log, replay
from sealmarket.attestation.intel.measurement import TdxMeasurement
from sealmarket.attestation.registry import Measurement
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.drivers.guest_file import GUEST_FILE, GuestFile, SnpLaunch, TdxLaunch, read_guest
from sealmarket_worker.errors import ConfigInvalid

_MOST = 1 << 30
"""Bytes of one file of an image."""


def expected(tee: Tee, image: Path) -> Measurement:
    """What a guest of this image will report.

    Raises:
        ConfigInvalid: a file is missing, or the guest file does not describe a guest of this kind.
        LaunchNotMeasurable, EventLogMalformed: firmware or log are not what they should be.
    """
    guest = read_guest(image)
    if tee is Tee.SNP and guest.snp is not None:
        return _snp(image, guest, guest.snp)
    if tee is Tee.TDX and guest.tdx is not None:
        return _tdx(image, guest.tdx)
    remedy = f"write the table [{tee.slug}] into it, or launch a guest of another kind"
    if tee is Tee.CCA:
        remedy = "take the realm's initial measurement from the report of a guest that you trust"
    raise ConfigInvalid(image / GUEST_FILE, f"it says not what a guest of {tee.slug} will measure", remedy)


def _snp(image: Path, guest: GuestFile, launch: SnpLaunch) -> SnpMeasurement:
    digest = launch_digest(
        Guest(
            firmware=_file(image, guest.firmware),
            kernel=_file(image, guest.kernel),
            initial_disk=_file(image, guest.initial_disk),
            command_line=guest.command_line,
            cpus=launch.cpus,
            cpu=launch.cpu,
        )
    )
    policy = Bytes8(int(launch.policy, 16).to_bytes(8, "little"))
    return SnpMeasurement(launch_digest=digest, policy=policy, host_data=Bytes32(bytes(32)), vmpl=0)


def _tdx(image: Path, launch: TdxLaunch) -> TdxMeasurement:
    rtmr0, rtmr1, rtmr2, _ = replay(read_event_log(_file(image, launch.event_log)))
    zero = Bytes48(bytes(48))
    return TdxMeasurement(
        mr_td=Bytes48(bytes.fromhex(launch.mr_td)),
        rtmr0=Bytes48(rtmr0),
        rtmr1=Bytes48(rtmr1),
        rtmr2=Bytes48(rtmr2),
        rtmr3=zero,
        mr_config_id=zero,
        mr_owner=zero,
        mr_owner_config=zero,
        td_attributes=Bytes8(bytes.fromhex(launch.td_attributes)),
        xfam=Bytes8(bytes.fromhex(launch.xfam)),
    )


def _file(image: Path, name: str) -> bytes:
    try:
        return read_file(image / name, _MOST)
    except OSError as error:
        detail = f"{name}: {error.strerror or error}"
        raise ConfigInvalid(image / GUEST_FILE, detail, "build the image again") from error
