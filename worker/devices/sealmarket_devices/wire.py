"""What a host may ask of a virtual device. No request has a field for a measurement or a claim, and unknown
fields are refused: the device reports what it measured.

Each message is one msgpack map in one packet of a ``SOCK_SEQPACKET`` Unix socket. ``launch`` carries the
enclave's host channel, a connected socket, as ancillary data.
"""

from __future__ import annotations

import msgspec

MAX_PACKET = 1 << 17


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One packet on the control socket."""


class Launch(Message, frozen=True, kw_only=True, tag="launch"):
    """Measure and start an image. One descriptor comes along: the enclave's channel to its host."""

    image: str
    interpreter: str
    arguments: tuple[str, ...] = ()


class Collateral(Message, frozen=True, kw_only=True, tag="collateral"):
    """Ask for the endorsements that belong to this device's evidence."""


class Root(Message, frozen=True, kw_only=True, tag="root"):
    """Ask for the development root."""


class List(Message, frozen=True, kw_only=True, tag="list"):
    """Ask which enclaves there are."""


class Stop(Message, frozen=True, kw_only=True, tag="stop"):
    """End one enclave at once."""

    id: str


class Machine(Message, frozen=True, kw_only=True, tag="machine"):
    """Ask for the evidence of the GPUs beside one enclave, bound to what that enclave quoted last."""

    id: str


class EnclaveInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One enclave: ``exit_code`` is None while it runs, negative after a signal. Measured digests in hex."""

    id: str
    pid: int
    exit_code: int | None
    image: str
    runtime: str
    command: str


class Launched(Message, frozen=True, kw_only=True, tag="launched"):
    """The enclave runs; ``enclave`` says what was measured."""

    enclave: EnclaveInfo


class Endorsements(Message, frozen=True, kw_only=True, tag="endorsements"):
    """Intel: the JSON of ``QuoteCollateralV3``. AMD: PEM certificates and revocation lists."""

    tee: str
    text: str


class RootCertificate(Message, frozen=True, kw_only=True, tag="root_certificate"):
    """The development root in DER, and those of the GPUs beside it; ``simulated`` is always true."""

    tee: str
    der: bytes
    beside: tuple[bytes, ...] = ()
    simulated: bool = True


class GpuEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One GPU: its report, and its certificates in DER."""

    report: bytes
    chain: tuple[bytes, ...]


class MachineEvidence(Message, frozen=True, kw_only=True, tag="machine_evidence"):
    """The binding quote of the enclave, its GPUs, and what their vendor signed.

    All are empty on a device without GPUs.
    """

    binding: bytes = b""
    gpus: tuple[GpuEvidence, ...] = ()
    documents: tuple[bytes, ...] = ()
    simulated: bool = True


class Enclaves(Message, frozen=True, kw_only=True, tag="enclaves"):
    """Those that run, then those that ended lately."""

    enclaves: tuple[EnclaveInfo, ...]


class Stopped(Message, frozen=True, kw_only=True, tag="stopped"):
    """The enclave is gone."""

    id: str


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """The device will not: why, and what to do."""

    message: str
    remedy: str = ""


Request = Launch | Collateral | Root | List | Stop | Machine
Answer = Launched | Endorsements | RootCertificate | Enclaves | Stopped | MachineEvidence | Failed
