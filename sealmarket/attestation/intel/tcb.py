"""TCB info and QE identity, and the level that a platform reaches (Intel PCS API v4; QVL TcbLevelCheck).

1. A platform's level is the first whose 16 SGX components and PCESVN the PCK certificate reaches and, for
   TDX, whose 16 TDX components TEE_TCB_SVN reaches. If TEE_TCB_SVN[1] is not 0, components 0 and 1 belong
   to the module of that major version and are held against its own identity instead.
2. The QE's level is the first whose ISVSVN it reaches.
3. A TD 1.5 report also names the TCB that runs now (TEE_TCB_SVN2): where the one it was launched on is
   outdated and the one that runs is not, Intel advises to relaunch the TD.
4. The parts' statuses are joined to the worst that they say together, advisories are united.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.model import TcbStatus
from sealmarket.attestation.core.pki import Window, seconds
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.intel.pck import PckExtension
from sealmarket.attestation.intel.quote import SgxBody, TdBody
from sealmarket_enclave.protocol.codec import parse_json, prepared
from sealmarket_enclave.protocol.numbers import Tee

Svn = Annotated[int, Meta(ge=0, le=0xFFFF)]
HexText = Annotated[str, Meta(pattern=r"^([0-9a-fA-F]{2})*$", max_length=256)]


class _Component(msgspec.Struct, frozen=True):
    svn: Annotated[int, Meta(ge=0, le=255)]


_Components = Annotated[tuple[_Component, ...], Meta(min_length=16, max_length=16)]


class _LevelTcb(msgspec.Struct, frozen=True):
    sgxtcbcomponents: _Components
    pcesvn: Svn
    tdxtcbcomponents: _Components | None = None


class Level(
    msgspec.Struct,
    frozen=True,
    rename={"date": "tcbDate", "status": "tcbStatus", "advisories": "advisoryIDs"},
):
    """One level of TCB info, newest first in the list."""

    tcb: _LevelTcb
    date: datetime
    status: TcbStatus
    advisories: tuple[str, ...] = ()


class _IsvTcb(msgspec.Struct, frozen=True):
    isvsvn: Svn


class IsvLevel(
    msgspec.Struct,
    frozen=True,
    rename={"date": "tcbDate", "status": "tcbStatus", "advisories": "advisoryIDs"},
):
    """One level of a QE or of a TDX module."""

    tcb: _IsvTcb
    date: datetime
    status: TcbStatus
    advisories: tuple[str, ...] = ()


class _Module(msgspec.Struct, frozen=True):
    mrsigner: HexText
    attributes: HexText
    attributes_mask: HexText = msgspec.field(name="attributesMask")


class _ModuleIdentity(msgspec.Struct, frozen=True):
    id: str
    mrsigner: HexText
    attributes: HexText
    attributes_mask: HexText = msgspec.field(name="attributesMask")
    levels: tuple[IsvLevel, ...] = msgspec.field(name="tcbLevels")


class TcbInfo(msgspec.Struct, frozen=True, rename="camel"):
    """TCB info v3 as Intel signs it. Unknown fields are Intel's to add."""

    id: str
    version: int
    issue_date: datetime
    next_update: datetime
    fmspc: HexText
    pce_id: HexText
    tcb_type: int
    tcb_evaluation_data_number: int
    tcb_levels: tuple[Level, ...]
    tdx_module: _Module | None = None
    tdx_module_identities: tuple[_ModuleIdentity, ...] = ()

    def window(self) -> Window:
        """Issue date to next update."""
        return Window("TCB info", seconds(self.issue_date), seconds(self.next_update))


class QeIdentity(msgspec.Struct, frozen=True):
    """QE identity v2 as Intel signs it."""

    id: str
    version: int
    issue_date: datetime = msgspec.field(name="issueDate")
    next_update: datetime = msgspec.field(name="nextUpdate")
    evaluation_number: int = msgspec.field(name="tcbEvaluationDataNumber")
    miscselect: HexText
    miscselect_mask: HexText = msgspec.field(name="miscselectMask")
    attributes: HexText
    attributes_mask: HexText = msgspec.field(name="attributesMask")
    mrsigner: HexText
    isvprodid: int
    levels: tuple[IsvLevel, ...] = msgspec.field(name="tcbLevels")

    def window(self) -> Window:
        """Issue date to next update."""
        return Window("QE identity", seconds(self.issue_date), seconds(self.next_update))


def read_tcb_info(text: str) -> TcbInfo:
    """TCB info from the signed text. Raises ``EvidenceRefused``."""
    return _read(text, TcbInfo, "TCB info v3")


def read_qe_identity(text: str) -> QeIdentity:
    """QE identity from the signed text. Raises ``EvidenceRefused``."""
    return _read(text, QeIdentity, "QE identity v2")


_Document = TypeVar("_Document", TcbInfo, QeIdentity)


def _read(text: str, kind: type[_Document], name: str) -> _Document:
    try:
        value: _Document = parse_json(text, prepared(kind))
    except (*NOT_JSON, ValueError) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, name, error)
    if value.issue_date.tzinfo is None or value.next_update.tzinfo is None:
        refuse(Reason.ENDORSEMENT_MALFORMED, f"{name} with dates in a zone", value.issue_date)
    return value


class Rating(NamedTuple):
    """One part's status, the date of its level, and its advisories."""

    status: TcbStatus
    date: datetime | None
    advisories: tuple[str, ...]


def masked_equal(found: bytes, expected: str, mask: str) -> bool:
    """Whether bytes equal a hex value where a hex mask has ones; lengths must agree."""
    want, bits = bytes.fromhex(expected), bytes.fromhex(mask)
    if not len(found) == len(want) == len(bits):
        return False
    return not (int.from_bytes(found) ^ int.from_bytes(want)) & int.from_bytes(bits)


def platform_rating(info: TcbInfo, pck: PckExtension, tdx: bytes | None) -> Rating:
    """Step 1: the first level that the platform reaches, or ``NoMatchingLevel``; ``tdx`` is a TEE_TCB_SVN."""
    skip = 2 if tdx is not None and tdx[1] > 0 else 0
    for level in info.tcb_levels:
        if pck.pce_svn < level.tcb.pcesvn:
            continue
        if any(have < want.svn for have, want in zip(pck.component_svns, level.tcb.sgxtcbcomponents, strict=True)):
            continue
        if tdx is not None:
            wanted = level.tcb.tdxtcbcomponents
            if wanted is None:
                continue
            if any(have < want.svn for have, want in zip(tdx[skip:], wanted[skip:], strict=True)):
                continue
        return Rating(level.status, level.date, level.advisories)
    return Rating(TcbStatus.NO_LEVEL, None, ())


def module_rating(info: TcbInfo, body: TdBody, svn: bytes) -> Rating | None:
    """The TDX module: signer and attributes proven against its identity, its level when it has its own.

    Raises:
        EvidenceRefused: no such module, or not Intel's.
    """
    version = svn[1]
    if version == 0:
        identity: _Module | _ModuleIdentity | None = info.tdx_module
    else:
        wanted = f"TDX_{version:02X}"
        identity = next((m for m in info.tdx_module_identities if m.id.upper() == wanted), None)
    if identity is None:
        refuse(Reason.TDX_MODULE, f"TCB info with a TDX module of version {version}", "none")
    if body.mr_signer_seam != bytes.fromhex(identity.mrsigner):
        refuse(Reason.TDX_MODULE, f"MRSIGNERSEAM {identity.mrsigner}", body.mr_signer_seam.hex())
    if not masked_equal(body.seam_attributes, identity.attributes, identity.attributes_mask):
        refuse(Reason.TDX_MODULE, f"SEAM attributes {identity.attributes}", body.seam_attributes.hex())
    if isinstance(identity, _ModuleIdentity):
        return isv_rating(identity.levels, svn[0])
    return None


def isv_rating(levels: tuple[IsvLevel, ...], isv_svn: int) -> Rating:
    """Step 2: the first level that an ISVSVN reaches, or ``NoMatchingLevel``."""
    for level in levels:
        if isv_svn >= level.tcb.isvsvn:
            return Rating(level.status, level.date, level.advisories)
    return Rating(TcbStatus.NO_LEVEL, None, ())


_CONFIGURATION = {TcbStatus.CONFIGURATION_NEEDED, TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED}


@dataclass(frozen=True, slots=True)
class Joined:
    """What all parts say together. ``date`` is the oldest date among them."""

    status: TcbStatus
    date: datetime | None
    advisories: tuple[str, ...]


def join(ratings: Sequence[Rating]) -> Joined:
    """Step 4. An outdated part on a platform that needs configuration gives OutOfDateConfigurationNeeded."""
    statuses = {rating.status for rating in ratings}
    worst = max(statuses, key=lambda status: status.severity)
    if worst is TcbStatus.OUT_OF_DATE and statuses & _CONFIGURATION:
        worst = TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED
    advisories = tuple(dict.fromkeys(advisory for rating in ratings for advisory in rating.advisories))
    dates = [rating.date for rating in ratings if rating.date is not None]
    return Joined(worst, min(dates) if dates else None, advisories)


@dataclass(frozen=True, slots=True)
class Rated:
    """Each part's rating by name, and what they say together."""

    parts: Mapping[str, Rating]
    joined: Joined


def rate(info: TcbInfo, pck: PckExtension, body: SgxBody | TdBody, qe: Rating) -> Rated:
    """All steps for one quote.

    Raises:
        EvidenceRefused: the TDX module is not Intel's, or not listed.
    """
    if isinstance(body, SgxBody):
        platform = platform_rating(info, pck, None)
        return Rated({"platform": platform, "qe": qe}, join((platform, qe)))
    launch = _td_parts(info, pck, body, body.tee_tcb_svn)
    joined = join((*launch.values(), qe))
    if body.tee_tcb_svn2 is None:
        return Rated({**launch, "qe": qe}, joined)
    current = _td_parts(info, pck, body, body.tee_tcb_svn2)
    parts = {**launch, "qe": qe, **{f"current_{name}": rating for name, rating in current.items()}}
    status = _relaunch(join((*launch.values(),)).status, join((*current.values(),)).status, qe.status)
    return Rated(parts, joined if status is None else Joined(status, joined.date, joined.advisories))


def _td_parts(info: TcbInfo, pck: PckExtension, body: TdBody, svn: bytes) -> dict[str, Rating]:
    module = module_rating(info, body, svn)
    platform = platform_rating(info, pck, svn)
    return {"platform": platform} if module is None else {"platform": platform, "module": module}


def _relaunch(launch: TcbStatus, current: TcbStatus, qe: TcbStatus) -> TcbStatus | None:
    """Step 3: the status that takes the place of the joined one, None when that stands."""
    if current in (TcbStatus.REVOKED, TcbStatus.NO_LEVEL):
        return current
    outdated = (TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED)
    if launch not in outdated or current in outdated or qe is not TcbStatus.UP_TO_DATE:
        return None
    if launch is TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED or current in _CONFIGURATION:
        return TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    return TcbStatus.TD_RELAUNCH_ADVISED


def expected_ids(tee: Tee) -> tuple[str, str]:
    """The ids of TCB info and QE identity for a TEE."""
    return ("SGX", "QE") if tee is Tee.SGX else ("TDX", "TD_QE")
