"""A chip's certificate with its chain and CRL from AMD's key distribution service (57230, VCEK specification).

They arrive unproven: a server can withhold, never forge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sealmarket.attestation.amd.report import SnpReport, SnpTcbVersion
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.tee import Get, Harvest

PRODUCTS = ("Milan", "Genoa", "Turin")
"""Those that have a root of their own."""
_Request = tuple[str, Mapping[str, str]]
"""A URL and its query."""


def fetch_endorsements(report: SnpReport, get: Get, server: str) -> Harvest:
    """The VCEK of the report's chip at its reported TCB, with AMD's chain and revocation list, as far as they come.

    Raises:
        CollateralError: a report that AMD's server has no VCEK for.
    """
    product, chip_id, levels = kds_request(report)
    base = f"{server}/vcek/v1/{product}"
    query = {name: f"{level:02d}" for name, level in levels.items()}
    return _fetch(get, ((f"{base}/{chip_id.hex()}", query), *_of_product(server, product)))


def fetch_lists(get: Get, server: str) -> Harvest:
    """The revocation lists of all products with the chains that signed them, as far as they come."""
    return _fetch(get, [request for product in PRODUCTS for request in _of_product(server, product)])


def _of_product(server: str, product: str) -> tuple[_Request, _Request]:
    base = f"{server}/vcek/v1/{product}"
    return (f"{base}/cert_chain", {}), (f"{base}/crl", {})


def _fetch(get: Get, requests: Iterable[_Request]) -> Harvest:
    found, problems = Endorsements(), []
    for url, asked in requests:
        try:
            found = found.and_also(Endorsements.read([get(url, asked).content]))
        except CollateralError as error:
            problems.append(error)
    return Harvest(found, tuple(problems))


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
