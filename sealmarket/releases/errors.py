"""What can be wrong with a release of the runtime.

SealmarketError
└── ReleaseRefused
    ├── PublisherKeyRefused  a file that was named as a publisher's key holds none
    ├── ProvenanceRefused    no signature by a key that was named, or none of a known form
    ├── ReleaseFileDiffers   a file is not the one that was signed for
    └── ReleaseDisagrees     two of its documents say different things
"""

from __future__ import annotations

from sealmarket_enclave.protocol.errors import SealmarketError


class ReleaseRefused(SealmarketError):
    """A release of the runtime does not hold."""


class PublisherKeyRefused(ReleaseRefused):
    """A file that was named as a publisher's key holds none. ``kind`` is ``private`` or ``public``."""

    def __init__(self, kind: str, found: str) -> None:
        remedies = {
            "private": "name your own; `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one",
            "public": "get the publisher's key from where you get Sealmarket itself; `openssl pkey -pubout` writes it",
        }
        super().__init__(
            f"the publisher's key: expected a P-256 {kind} key in PEM, found {found}", remedy=remedies[kind]
        )


class ProvenanceRefused(ReleaseRefused):
    """The provenance is signed by no key that the caller trusts, or it does not read."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(
            f"the release's provenance: expected {expected}, found {found}",
            remedy="get the release and its publisher's key from where you get Sealmarket itself",
        )


class ReleaseFileDiffers(ReleaseRefused):
    """A file of the release is not the one that its provenance names."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(
            f"{name} of the release: expected SHA-256 {expected}, found {found}",
            remedy="get the whole release again",
        )


class ReleaseDisagrees(ReleaseRefused):
    """Two documents of a release say different things."""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(f"{what}: expected {expected}, found {found}", remedy="tell its publisher; do not approve it")
