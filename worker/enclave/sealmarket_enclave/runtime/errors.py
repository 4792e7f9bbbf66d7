"""Why an enclave stops, as typed codes: all that leaves it about a failure.

EnclaveError
├── ChannelError
│   ├── HostLost            the host closed the channel
│   ├── FrameRefused        a frame is too long, or is not a message
│   └── OutOfOrder          a message that this state does not take
├── JobRefused              what the host passed is not the job that it names
├── HostFault               the host altered or withheld bytes after the quote
├── InputFailed             an asset is wrong under its owner's own commitments: signed, never blamed on the host
├── StepFailed              an owner's reader or validator did not finish: signed
└── WorkloadFailed          the workload did not deliver what the owners' rules allow: signed
"""

from __future__ import annotations

from enum import StrEnum

from sealmarket_enclave.protocol.card import ReaderCode
from sealmarket_enclave.protocol.errors import SealmarketError


class Code(StrEnum):
    """Why an enclave refused. Names never change."""

    FRAME_REFUSED = "frame_refused"
    OUT_OF_ORDER = "out_of_order"
    SPEC_MALFORMED = "spec_malformed"
    JOB_MISMATCH = "job_mismatch"
    TEE_MISMATCH = "tee_mismatch"
    KIND_MISMATCH = "kind_mismatch"
    SEAL_MISMATCH = "seal_mismatch"
    POLICY_MISMATCH = "policy_mismatch"
    CARD_MISMATCH = "card_mismatch"
    STEP_MISMATCH = "step_mismatch"
    SHARES_MISMATCH = "shares_mismatch"
    EPOCH_MISMATCH = "epoch_mismatch"
    RESULT_KEY_MISMATCH = "result_key_mismatch"
    SESSION_TERMS_MISMATCH = "session_terms_mismatch"
    SERVING_REFUSED = "serving_refused"
    PARAMETERS_MISMATCH = "parameters_mismatch"
    PARAMETERS_REFUSED = "parameters_refused"
    WORKLOAD_KIND = "workload_kind"
    WORKLOAD_MISMATCH = "workload_mismatch"
    ENVIRONMENT_MISMATCH = "environment_mismatch"
    INPUTS_MISMATCH = "inputs_mismatch"
    RUN_TOO_LONG = "run_too_long"
    OUTPUT_RULES = "output_rules"
    TOO_FEW_OWNERS = "too_few_owners"
    OWNER_KEY_MISSING = "owner_key_missing"
    PRIVACY_UNSUPPORTED = "privacy_unsupported"
    MATERIAL_MISSING = "material_missing"
    PLATFORM_FAILED = "platform_failed"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    CONTAINER_ALTERED = "container_altered"
    CONTAINER_WITHHELD = "container_withheld"
    INTERNAL = "internal"


class InputFault(StrEnum):
    """What was wrong with an asset under its owner's own commitments, beside the codes of readers (``ReaderCode``)."""

    KEY_DOES_NOT_JOIN = "key_does_not_join"
    CONTENT_DOES_NOT_OPEN = "content_does_not_open"
    READER_FAILED = "reader_failed"


class EnclaveError(SealmarketError):
    """The enclave stopped."""


class ChannelError(EnclaveError):
    """The channel between host and enclave cannot be used any more."""


class HostLost(ChannelError):
    """The host closed the channel."""


class FrameRefused(ChannelError):
    """A frame is too long, or is not a message that may come from this side."""


class OutOfOrder(ChannelError):
    """A message that the enclave does not expect in its state."""

    def __init__(self, got: str, expected: str) -> None:
        super().__init__(f"{got} arrived while the enclave expects {expected}", remedy="start a new enclave")
        self.got, self.expected = got, expected


class JobRefused(EnclaveError):
    """What the host passed is not the job that it names."""

    def __init__(self, code: Code, message: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class HostFault(EnclaveError):
    """The host altered or withheld bytes after the quote. No signature blames another party for it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message, remedy="serve the container that the job names, whole; check it before quoting")
        self.code = code


class InputFailed(EnclaveError):
    """An asset is wrong under its owner's own commitments: the owner's fault.

    ``fault`` is public. ``column`` and ``rows`` are of what a reader found, and leave under seal only.
    """

    def __init__(
        self, index: int, fault: InputFault | ReaderCode, column: str | None = None, rows: int | None = None
    ) -> None:
        super().__init__(f"asset {index} is wrong under its owner's own commitments: {fault}")
        self.index, self.fault, self.column, self.rows = index, fault, column, rows


class StepFailed(EnclaveError):
    """A reader or validator of the owner of the asset at ``index`` did not finish within what was fairly granted."""

    def __init__(self, index: int) -> None:
        super().__init__(f"a step of the owner of asset {index} did not finish")
        self.index = index


class WorkloadFailed(EnclaveError):
    """The workload ended without a result; ``kind`` says how."""

    def __init__(self, kind: str, layers: tuple[str, ...] = ()) -> None:
        super().__init__(f"the workload failed: {kind}")
        self.kind, self.layers = kind, layers
