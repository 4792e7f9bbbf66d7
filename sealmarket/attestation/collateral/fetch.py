"""The one module of this package that talks to the network: Intel's PCS or a PCCS, and AMD's KDS.

What it brings is unproven and is proven by whoever keeps or uses it; a server can withhold, never lie.
Answers are bounded in size and time; redirects are not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import httpx
import msgspec
from cryptography import x509

from sealmarket.attestation.amd.report import SnpReport, SnpTcbVersion
from sealmarket.attestation.collateral.documents import IntelCollateral
from sealmarket.attestation.collateral.store import PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.model import Tee
from sealmarket.attestation.core.unreadable import NOT_JSON, NOT_X509
from sealmarket.http import Answer, AnswerTooLarge, HttpClient, HttpError, is_loopback
from sealmarket_enclave.protocol.codec import parse_json, prepared

MAXIMUM_ANSWER = 4 << 20
SECONDS = 20.0
ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where vendors, or a cache of one's own, answer. A PCCS serves the root CRL itself: set
    ``intel_root_crl``."""

    intel: str = "https://api.trustedservices.intel.com"
    intel_root_crl: str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
    amd: str = "https://kdsintf.amd.com"

    @classmethod
    def pccs(cls, base: str) -> Endpoints:
        """A PCCS in front of Intel."""
        trimmed = base.rstrip("/")
        return cls(intel=trimmed, intel_root_crl=f"{trimmed}/sgx/certification/v4/rootcacrl")


class _TcbAnswer(msgspec.Struct, frozen=True):
    document: msgspec.Raw = msgspec.field(name="tcbInfo")
    signature: str


class _IdentityAnswer(msgspec.Struct, frozen=True):
    document: msgspec.Raw = msgspec.field(name="enclaveIdentity")
    signature: str


class Fetcher:
    """Fetches endorsements; ``collateral`` is a :data:`~sealmarket.attestation.collateral.store.Source`.

    Args:
        endpoints: whom to ask.
        transport: for tests, an ``httpx.MockTransport``.
    """

    def __init__(self, endpoints: Endpoints | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self.endpoints = endpoints or Endpoints()
        self._client = HttpClient(seconds=SECONDS, retries=ATTEMPTS - 1, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def collateral(self, kind: PlatformKind) -> IntelCollateral:
        """Intel's nine parts for a kind of platform (PCS API v4).

        Raises:
            CollateralError: unreachable, refused, too large, or not of the shape.
        """
        base = f"{self.endpoints.intel}/{'sgx' if kind.tee is Tee.SGX else 'tdx'}/certification/v4"
        tcb = self._get(f"{base}/tcb", {"fmspc": kind.fmspc})
        identity = self._get(f"{base}/qe/identity", {})
        crl = self._get(f"{self.endpoints.intel}/sgx/certification/v4/pckcrl", {"ca": kind.ca, "encoding": "der"})
        root_crl = self._get(self.endpoints.intel_root_crl, {}).content
        info, quoting = _decode(tcb, _TcbAnswer), _decode(identity, _IdentityAnswer)
        return IntelCollateral(
            pck_crl_issuer_chain=_chain(crl, "SGX-PCK-CRL-Issuer-Chain"),
            root_ca_crl=_der(root_crl).hex(),
            pck_crl=_der(crl.content).hex(),
            tcb_info_issuer_chain=_chain(tcb, "TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"),
            tcb_info=bytes(info.document).decode(),
            tcb_info_signature=info.signature,
            qe_identity_issuer_chain=_chain(identity, "SGX-Enclave-Identity-Issuer-Chain"),
            qe_identity=bytes(quoting.document).decode(),
            qe_identity_signature=quoting.signature,
        )

    def vcek(self, product: str, chip_id: bytes, levels: Mapping[str, int]) -> Endorsements:
        """AMD's certificate of one chip at one TCB, with its chain and CRL (KDS, VCEK specification).

        Args:
            product: "Milan", "Genoa" or "Turin".
            chip_id: the chip's identity as KDS takes it: 64 bytes, 8 for Turin.
            levels: ``blSPL``, ``teeSPL``, ``snpSPL``, ``ucodeSPL`` and, for Turin, ``fmcSPL``.
        """
        base = f"{self.endpoints.amd}/vcek/v1/{product}"
        query = {name: f"{level:02d}" for name, level in levels.items()}
        leaf = self._get(f"{base}/{chip_id.hex()}", query).content
        return Endorsements.read(
            [leaf, self._get(f"{base}/cert_chain", {}).content, self._get(f"{base}/crl", {}).content]
        )

    def _get(self, url: str, query: Mapping[str, str]) -> _Fetched:
        if urlsplit(url).scheme != "https" and not is_loopback(url):
            raise CollateralError(f"{url} is neither https nor this machine")
        try:
            with self._client.ask("GET", url, limit=MAXIMUM_ANSWER, params=dict(query)) as answer:
                if answer.status != 200:
                    raise _refused(answer)
                return _Fetched(url, answer.headers, answer.body())
        except AnswerTooLarge as error:
            raise CollateralError(f"{url} answered with more than {MAXIMUM_ANSWER} bytes") from error
        except HttpError as error:
            raise CollateralError(
                f"{url} cannot be reached: {error.message}",
                remedy="use a PCCS, or import a bundle from another machine",
            ) from error


@dataclass(frozen=True, slots=True)
class _Fetched:
    url: str
    headers: Mapping[str, str]
    content: bytes


def _refused(answer: Answer) -> CollateralError:
    wait = answer.headers.get("retry-after")
    return CollateralError(
        f"{answer.url} answered {answer.status}",
        remedy=f"try again in {wait} s" if wait else "check the platform's identity and the endpoint",
    )


def _chain(response: _Fetched, *names: str) -> str:
    for name in names:
        if value := response.headers.get(name):
            return unquote(value)
    raise CollateralError(f"the answer has no header {names[0]}")


def _der(content: bytes) -> bytes:
    """A CRL as PCS (DER), or PCCS (DER or hex), sends it."""
    try:
        text = content.strip().decode("ascii")
        return bytes.fromhex(text)
    except ValueError:
        pass  # not hex, so DER: what it is gets decided on reading
    try:
        x509.load_der_x509_crl(content)
    except NOT_X509 as error:
        raise CollateralError(f"the answer is no CRL: {error}") from error
    return content


def _decode(response: _Fetched, kind: type[_TcbAnswer] | type[_IdentityAnswer]) -> _TcbAnswer | _IdentityAnswer:
    try:
        found: _TcbAnswer | _IdentityAnswer = parse_json(response.content, prepared(kind))
        return found
    except NOT_JSON as error:
        raise CollateralError(f"{response.url} answered with another shape: {error}") from error


def kds_request(report: SnpReport) -> tuple[str, bytes, dict[str, int]]:
    """What to ask AMD for: product, chip and the levels of the *reported* TCB (never the current one).

    Raises:
        CollateralError: the report hides its chip, is signed by a VLEK, or does not name its CPU (version 2).
    """
    if report.key_name != "vcek" or not any(report.chip_id):
        raise CollateralError(
            "AMD's server knows only VCEKs of chips that are shown",
            remedy="take the VLEK or VCEK from the host's certificate table and pass it as an endorsement",
        )
    if report.cpuid is None:
        raise CollateralError("a report of version 2 does not name its CPU", remedy="pass the VCEK as an endorsement")
    family, model, _ = report.cpuid
    product = "Turin" if family == 0x1A else "Milan" if model < 0x10 else "Genoa"
    turin = product == "Turin"
    levels = SnpTcbVersion.read(report.reported_tcb, turin=turin)
    query = {"blSPL": levels.bootloader, "teeSPL": levels.tee, "snpSPL": levels.snp, "ucodeSPL": levels.microcode}
    if turin:
        query["fmcSPL"] = levels.fmc
    return product, report.chip_id[:8] if turin else report.chip_id, query
