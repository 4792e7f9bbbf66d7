"""What the leaf of a device's chain says: which device, and the firmware that its key belongs to (TCG DICE).

Hopper and LS10 carry a CompositeDeviceID (TCG, 2.23.133.5.4.1), Blackwell a DiceTcbInfo (2.23.133.5.4.1.1), whose
second FWID is zero in genuine leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from asn1crypto import core
from cryptography import x509
from cryptography.x509.oid import NameOID

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia.certificates import Link, Path

_COMPOSITE_DEVICE_ID, _DICE_TCB_INFO = "2.23.133.5.4.1", "2.23.133.5.4.1.1"
_SHA384 = "2.16.840.1.101.3.4.2.2"
LEAF_SUFFIX, _DEVICE, _PROVISIONER = " FMC LF", " BROM", "NVIDIA {} Provisioner ICA "
_KINDS = {"GH": "Hopper", "GB": "Blackwell", "LS": "NVSwitch"}
_FWIDS_TAG = 6
_PDI_SIZE = 8


@dataclass(frozen=True, slots=True)
class Device:
    """The device that a chain was issued for.

    ``name`` is as in manifests ("GH100", "LS10"), ``generation`` its architecture, ``identity`` the SHA-256 of the key
    that its boot ROM certifies with, ``serial`` the serial number of that certificate's subject, whose last 8 bytes
    identify the chip, ``ueid`` the leaf's serial number, by which NVIDIA's verifiers name the device, ``fwid`` the hash
    of the firmware that may use the leaf's key.
    """

    name: str
    generation: str
    identity: bytes
    serial: bytes
    ueid: int
    fwid: bytes

    @property
    def is_switch(self) -> bool:
        """Whether it is an NVSwitch."""
        return self.generation == "NVSwitch"

    @property
    def pdi(self) -> bytes:
        """The chip's identity, as a switch writes it into its report."""
        return self.serial[-_PDI_SIZE:]


class _Fwid(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", core.ObjectIdentifier), ("digest", core.OctetString)]  # noqa: RUF012


class _Fwids(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _Fwid


class _CompositeDeviceId(core.Sequence):  # type: ignore[misc]
    _fields = [("version", core.Integer), ("device", core.Any), ("fwid", _Fwid)]  # noqa: RUF012


class _DiceTcbInfo(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("vendor", core.UTF8String, {"implicit": 0, "optional": True}),
        ("model", core.UTF8String, {"implicit": 1, "optional": True}),
        ("version", core.UTF8String, {"implicit": 2, "optional": True}),
        ("svn", core.Integer, {"implicit": 3, "optional": True}),
        ("layer", core.Integer, {"implicit": 4, "optional": True}),
        ("index", core.Integer, {"implicit": 5, "optional": True}),
        ("fwids", _Fwids, {"implicit": _FWIDS_TAG, "optional": True}),
        ("flags", core.BitString, {"implicit": 7, "optional": True}),
        ("vendor_info", core.OctetString, {"implicit": 8, "optional": True}),
        ("type", core.OctetString, {"implicit": 9, "optional": True}),
    ]


def read_device(path: Path) -> Device:
    """The device of a proven chain; remembered by its first three certificates.

    Raises:
        EvidenceRefused: the chain of something else than a GPU or switch, or a leaf without one FWID.
    """
    return _read_device(*path.links[:3])


@lru_cache(maxsize=1024)
def _read_device(leaf: Link, brom: Link, provisioner: Link) -> Device:
    stem = leaf.name.removesuffix(LEAF_SUFFIX)
    product = stem.split(" ")[0]
    if not leaf.name.endswith(LEAF_SUFFIX) or brom.name != stem + _DEVICE:
        wanted = f"a leaf of firmware under the boot ROM of its device, *{LEAF_SUFFIX} under *{_DEVICE}"
        refuse(Reason.NVIDIA_DEVICE, wanted, f"{leaf.name} under {brom.name}")
    if not provisioner.name.startswith(_PROVISIONER.format(product)):
        refuse(Reason.NVIDIA_DEVICE, f"a device that {_PROVISIONER.format(product)}* provisioned", provisioner.name)
    generation = _KINDS.get(product[:2])
    if generation is None:
        refuse(Reason.NVIDIA_DEVICE, f"a device of {', '.join(_KINDS.values())}", product)
    return Device(
        name=product.replace("_", ""),
        generation=generation,
        identity=brom.spki,
        serial=_serial(brom.certificate),
        ueid=leaf.certificate.serial_number,
        fwid=_read_fwid(leaf.certificate),
    )


def _serial(certificate: x509.Certificate) -> bytes:
    names = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    text = str(names[0].value) if len(names) == 1 else ""
    try:
        serial = bytes.fromhex(text)
    except ValueError:
        serial = b""
    if len(serial) < _PDI_SIZE:
        refuse(Reason.NVIDIA_DEVICE, "a device certificate with one serial number in hex", text[:64])
    return serial


def _read_fwid(leaf: x509.Certificate) -> bytes:
    found = [
        fwid
        for extension in leaf.extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
        for fwid in _fwids(extension.oid.dotted_string, extension.value.value)
    ]
    named = {digest for algorithm, digest in found if any(digest)}
    if len(named) != 1 or any(algorithm != _SHA384 or len(digest) != 48 for algorithm, digest in found):
        refuse(Reason.NVIDIA_FWID, "a leaf with one FWID of SHA-384", f"{len(named)} of {len(found)}")
    return named.pop()


def _fwids(oid: str, raw: bytes) -> list[tuple[str, bytes]]:
    try:
        if oid == _COMPOSITE_DEVICE_ID:
            fwids = [_CompositeDeviceId.load(raw, strict=True)["fwid"]]
        elif oid == _DICE_TCB_INFO:
            fwids = list(_DiceTcbInfo.load(raw, strict=True)["fwids"])
        else:
            return []
        return [(fwid["algorithm"].dotted, fwid["digest"].native) for fwid in fwids]
    except (ValueError, TypeError, KeyError) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, f"the extension {oid} of a leaf", str(error)[:200])
