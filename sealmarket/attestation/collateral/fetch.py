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
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.core.tee import Fetched, Harvest
from sealmarket.attestation.registry import endpoints as default_endpoints
from sealmarket.attestation.registry import module_of
from sealmarket.http import Answer, AnswerTooLarge, HttpClient, HttpError, is_loopback
from sealmarket_enclave.protocol.numbers import Tee

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
        self._client = HttpClient(seconds=SECONDS, retries=ATTEMPTS - 1, transport=transport)

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

    def shared(self, tee: Tee) -> Harvest:
        """What the vendor signs for all machines of a TEE, as much of it as comes; nothing where it signs none."""
        return module_of(tee).fetch_shared(self.get, self.endpoints)

    def endorsements(self, evidence: Evidence) -> Harvest:
        """What the vendor signed about the machine that made this evidence, as much of it as comes.

        Raises:
            CollateralError: the evidence does not show its machine, or no server answers for its TEE.
        """
        return module_of(evidence.tee).fetch_endorsements(evidence, self.get, self.endpoints)

    def get(self, url: str, query: Mapping[str, str], body: bytes | None = None, kind: str = "") -> Fetched:
        """GET, or POST of a body, bounded in size and time. Raises :class:`CollateralError`."""
        if urlsplit(url).scheme != "https" and not is_loopback(url):
            raise CollateralError(f"{url} is neither https nor this machine")
        try:
            method, headers = ("GET", None) if body is None else ("POST", {"content-type": kind})
            with self._client.ask(
                method, url, limit=MAXIMUM_ANSWER, params=dict(query), content=body, headers=headers
            ) as answer:
                if answer.status != 200:
                    raise _refused(answer)
                found = {name.lower(): value for name, value in answer.headers.items()}
                return Fetched(url=url, headers=found, content=answer.body())
        except AnswerTooLarge as error:
            raise CollateralError(f"{url} answered with more than {MAXIMUM_ANSWER} bytes") from error
        except HttpError as error:
            raise CollateralError(
                f"{url} cannot be reached: {error.message}",
                remedy=f"{error.remedy}; or import a bundle: sealmarket collateral export and import",
            ) from error


def _refused(answer: Answer) -> CollateralError:
    wait = answer.headers.get("retry-after")
    return CollateralError(
        f"{answer.url} answered {answer.status}",
        remedy=f"try again in {wait} s" if wait else "check the platform's identity and the endpoint",
    )
