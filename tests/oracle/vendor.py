"""A vendor that signs what a test says, for the virtual platforms of one development root; and a node's own store."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sealmarket.attestation.collateral.bundle import Bundle
from sealmarket.attestation.collateral.own import OwnCollateral
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import Collateral, PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.tee import Harvest
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket_devices import intel_collateral as documents
from sealmarket_devices.intel_silicon import _QE_PROD_ID, FMSPC, QE_MR_SIGNER
from sealmarket_devices.pki import Validity, revocation_list
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_oracle.collateral import CollateralKeeper
from sealmarket_oracle.outlook import Outlooks
from tests.oracle.world import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOMENT = datetime.fromtimestamp(NOW, UTC)
KIND = PlatformKind(Tee.TDX, FMSPC.hex(), "platform")


def device_of_last_month(folder: Path) -> VirtualTdx:
    """A platform whose certificates are old enough for collateral that counts at :data:`MOMENT`."""
    return VirtualTdx(folder, lambda: MOMENT - 28 * DAY)


def signed(
    device: VirtualTdx,
    at: datetime,
    number: int = 20,
    status: str = "UpToDate",
    *,
    revoked: bool = False,
    lifetime: timedelta = 30 * DAY,
) -> IntelCollateral:
    """Collateral that the platform's vendor signs at a time; ``revoked``: the platform's certificate."""
    silicon = device._silicon
    hierarchy, period = silicon.hierarchy, Validity(start=at, end=at + lifetime)
    info = documents.tcb_info("TDX", FMSPC, period) | {"tcbEvaluationDataNumber": number}
    info["tcbLevels"][0]["tcbStatus"] = status
    quoting = documents.qe_identity("TDX", QE_MR_SIGNER, _QE_PROD_ID["TDX"], period)
    quoting["tcbEvaluationDataNumber"] = number
    tcb = documents.sign_text(hierarchy.tcb_signing, info)
    identity = documents.sign_text(hierarchy.tcb_signing, quoting)
    parts = json.loads(documents.assemble(hierarchy, tcb, identity, period))
    if revoked:
        serial = hierarchy.pck.certificate.serial_number
        parts["pck_crl"] = revocation_list(hierarchy.platform_ca, period, (serial,)).hex()
    return IntelCollateral.from_json(json.dumps(parts))


@dataclass
class Server:
    """A vendor's server, or a cache of it. ``up``: whether it answers."""

    newest: IntelCollateral | None = None
    up: bool = True
    asked: list[PlatformKind] = field(default_factory=list)

    def collateral(self, kind: PlatformKind) -> Collateral:
        self.asked.append(kind)
        if not self.up or self.newest is None:
            raise CollateralError("the server is down", remedy="wait")
        return self.newest

    def shared(self, tee: Tee) -> Harvest:
        return Harvest(Endorsements())


def nobody(_url: str, _wanted: PlatformKind | Tee) -> Bundle:
    """A peer that holds nothing."""
    return Bundle(intel=())


def keeper(
    folder: Path,
    roots: TrustAnchors,
    server: Server | None = None,
    *held: IntelCollateral,
    peers: Sequence[str] = (),
    ask: Callable[[str, PlatformKind | Tee], Bundle] = nobody,
    clock: Callable[[], float] = lambda: NOW,
) -> CollateralKeeper:
    """A node's own collateral, of which it holds some; it asks a server for TDX if there is one, and no thread runs."""
    own = OwnCollateral(folder, roots)
    for one in held:
        own.take(one, KIND, datetime.fromtimestamp(clock(), UTC))
    asked = frozenset({Tee.TDX} if server is not None else ())
    return CollateralKeeper(own, server or Server(), asked, peers, ask, Outlooks(own, roots), clock)
