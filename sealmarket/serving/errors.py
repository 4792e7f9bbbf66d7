"""Why a program does not start to serve.

ServingError
├── SettingInvalid      a setting in the environment is none of what it takes
├── LimitInvalid        a limit in the environment is no number in its range
├── CertificateRefused  a certificate and its key cannot be served
├── AddressTaken        the address cannot be bound
├── TooFewDescriptors   the system allows fewer open files than the limits need
└── StateInUse          another process runs on the state folder
"""

from __future__ import annotations

from pathlib import Path

from sealmarket_enclave.protocol.errors import SealmarketError


class ServingError(SealmarketError):
    """A program cannot serve as it is configured."""


class SettingInvalid(ServingError):
    """A setting in the environment is none of what it takes."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(f"{name} is {expected}, found {found[:80]!r}", remedy="correct it, or unset it")


class LimitInvalid(ServingError):
    """A limit in the environment is no number in its range."""

    def __init__(self, name: str, found: str) -> None:
        super().__init__(f"{name} is a positive number, found {found[:40]!r}", remedy="correct it, or unset it")


class CertificateRefused(ServingError):
    """A certificate and its key cannot be served."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"no TLS with this certificate: {detail}",
            remedy="name a chain in PEM, and its private key in a file of mode 0600 without a password",
        )


class AddressTaken(ServingError):
    """The address cannot be bound."""

    def __init__(self, host: str, port: int, detail: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {detail}", remedy="stop what serves there, or choose a port")


class TooFewDescriptors(ServingError):
    """The system allows fewer open files than the limits need."""

    def __init__(self, needed: int, allowed: int) -> None:
        super().__init__(
            f"the limits take {needed} open files, the system allows {allowed}",
            remedy="raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower SEALMARKET_SERVER_CONNECTIONS",
        )


class StateInUse(ServingError):
    """Another process runs on the state folder."""

    def __init__(self, folder: Path, pid: str) -> None:
        super().__init__(
            f"process {pid} already runs on {folder}",
            remedy="stop it first, or give this one a state folder of its own",
        )
        self.folder, self.pid = folder, pid
