"""What a guest image is: `guest.toml` beside its files. Paths in it are relative to the file.

The file says how the guest is launched, and from which bytes its measurement follows. `deploy/guest` has one for each
kind of TEE, with the recipe of the image.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from sealmarket.files import read_text_file
from sealmarket_worker.errors import ConfigInvalid

GUEST_FILE = "guest.toml"
_Hex96 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{96}$")]
_Hex16 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


class SnpLaunch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of an SEV-SNP guest its report covers beside the files. ``policy`` is the guest policy, 16 hex digits."""

    cpus: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    cpu: str
    policy: _Hex16


class TdxLaunch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a TD its quote says beside RTMR 3, which is zero at launch.

    ``mr_td`` is the firmware's, ``event_log`` the CCEL of one boot of this image: replayed, it gives RTMR 0 to 2.
    """

    mr_td: _Hex96
    event_log: str
    td_attributes: _Hex16
    xfam: _Hex16


class GuestFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``command`` starts the guest and stays while it lives.

    In its words stand ``{image}`` for the folder of this file, ``{cid}`` for the guest's vsock number, ``{run}`` for a
    folder of this launch, and ``{environments}`` for the host's folder of installed environments, which the guest
    mounts read-only. ``channel`` is ``vsock``, or ``unix`` for a monitor that offers the guest's vsock as the Unix
    socket ``{run}/vsock.sock``.
    """

    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=256)]
    channel: Literal["vsock", "unix"] = "vsock"
    start_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 120.0
    firmware: str
    kernel: str
    initial_disk: str
    command_line: str
    endorsements: str
    snp: SnpLaunch | None = None
    tdx: TdxLaunch | None = None


def read_guest(image: Path) -> GuestFile:
    """The guest file of an image. Raises :class:`ConfigInvalid`, naming the field."""
    path = image / GUEST_FILE
    try:
        return msgspec.convert(tomllib.loads(read_text_file(path)), GuestFile)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        remedy = "name the folder of a guest image as `image`; deploy/guest says how it is made"
        raise ConfigInvalid(path, str(error), remedy) from error
