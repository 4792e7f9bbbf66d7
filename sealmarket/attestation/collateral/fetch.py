"""The one module of this package that talks to the network: to vendors' servers, or to caches of them.

Answers are unproven; the store and ``authenticate`` prove them, so a server can withhold but not forge. Answers are
bounded in size and time; redirects are not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from sealmarket.attestation.core.collateral import Collateral, PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.tee import Answer
from sealmarket.attestation.registry import endpoints as default_endpoints
from sealmarket.attestation.registry import module_of

MAXIMUM_ANSWER = 4 << 20
SECONDS = 20.0
ATTEMPTS = 3


def pccs(base: str) -> dict[str, str]:
    """Endpoints of a PCCS in front of Intel: it serves the root CRL itself."""
    trimmed = base.rstrip("/")
    return {"intel": trimmed, "intel_root_crl": f"{trimmed}/sgx/certification/v4/rootcacrl"}


class Fetcher:
    """Fetches endorsements; ``collateral`` is a :data:`~sealmarket.attestation.collateral.store.Source`.

    Args:
        endpoints: servers by name, in place of the vendors' own (``TeeModule.endpoints``).
        transport: for tests, an ``httpx.MockTransport``.
    """

    def __init__(
        self, endpoints: Mapping[str, str] | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.endpoints = {**default_endpoints(), **(endpoints or {})}
        self._client = httpx.Client(
            timeout=SECONDS, follow_redirects=False, transport=transport or httpx.HTTPTransport(retries=ATTEMPTS - 1)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def collateral(self, kind: PlatformKind) -> Collateral:
        """What the vendor issues for a kind of platform.

        Raises:
            CollateralError: unreachable, refused, too large, or not of the shape.
        """
        return module_of(kind.tee).fetch_collateral(kind, self.get, self.endpoints)

    def endorsements(self, evidence: Evidence) -> Endorsements:
        """What the vendor signed about the machine that made this evidence.

        Raises:
            CollateralError: as above, or the evidence does not show its machine.
        """
        return module_of(evidence.tee).fetch_endorsements(evidence, self.get, self.endpoints)

    def get(self, url: str, query: Mapping[str, str]) -> Answer:
        """GET, bounded in size and time. Raises :class:`CollateralError`."""
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise CollateralError(f"{url} is neither https nor this machine")
        try:
            with self._client.stream("GET", url, params=dict(query)) as response:
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MAXIMUM_ANSWER:
                        raise CollateralError(f"{url} answered with more than {MAXIMUM_ANSWER} bytes")
        except httpx.HTTPError as error:
            raise CollateralError(
                f"{url} cannot be reached: {error}", remedy="use a PCCS, or import a bundle from another machine"
            ) from error
        if response.status_code != 200:
            wait = response.headers.get("retry-after")
            raise CollateralError(
                f"{url} answered {response.status_code}",
                remedy=f"try again in {wait} s" if wait else "check the platform's identity and the endpoint",
            )
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(url=url, headers=headers, content=bytes(body))
