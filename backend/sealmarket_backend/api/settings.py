"""The settings of the API. Each can be set in the environment: ``SEALMARKET_API_`` and the name in capitals."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from sealmarket.serving.errors import SettingInvalid

PREFIX = "SEALMARKET_API_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Times in seconds."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may read answers, exactly as browsers send them; none by default. Separated by commas."""
    metrics_peers: tuple[str, ...] = ("127.0.0.1", "::/64")
    """Who may read ``/metrics``: addresses, or for IPv6 their /64; this machine by default."""
    most_head_age_seconds: int = 120
    """How old the chain's newest block may be while the backend counts as ready."""
    most_lag_blocks: int = 64
    """How far the index may be behind the last final block then."""

    def __post_init__(self) -> None:
        """Raises :class:`SettingInvalid` for what is no origin: no wildcard, no path, no other scheme than HTTP's."""
        for origin in self.cors_origins:
            parts = urlsplit(origin)
            whole = f"{parts.scheme}://{parts.netloc}"
            if parts.scheme not in ("http", "https") or not parts.netloc or whole != origin or "*" in origin:
                raise SettingInvalid(f"{PREFIX}CORS_ORIGINS", "an origin as https://app.example", origin)
