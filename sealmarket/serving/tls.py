"""TLS of a listener without a proxy before it: versions 1.2 and 1.3, one certificate, no certificates of clients."""

from __future__ import annotations

import ssl
from pathlib import Path

from sealmarket.private_files import NotPrivate, read_private
from sealmarket.serving.errors import CertificateRefused


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a listener shows: a chain in PEM, the server's own certificate first, and its private key.

    Raises:
        CertificateRefused: a file is absent, no PEM, of another key, or a key that others can read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        read_private(key)
        context.load_cert_chain(certificate, key, password=_no_password)
    except NotPrivate as error:
        raise CertificateRefused(error.message) from error
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CertificateRefused(f"{certificate} with {key}: {detail[:200]}") from error
    return context


def _no_password() -> str:
    """A program that serves asks on no terminal."""
    raise ValueError("the private key is encrypted")
