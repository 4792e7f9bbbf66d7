"""What can be wrong with sealed data.

    SealmarketError
    └── SealedError
        ├── ContainerError
        │   ├── NotAContainer
        │   ├── UnsupportedVersion
        │   ├── InvalidHeader
        │   ├── Truncated
        │   ├── TrailingBytes
        │   ├── ChunkAltered
        │   ├── RootMismatch
        │   ├── WrongAsset
        │   └── SourceLengthChanged
        ├── InvalidOutputs
        ├── ShareError
        │   ├── InvalidSharing
        │   ├── TooFewShares
        │   ├── DuplicateShare
        │   ├── WrongShare
        │   ├── WrongKey
        │   └── ShareRootMismatch
        ├── HpkeError
        │   ├── InvalidHpkeKey
        │   └── NotOpened
        └── SessionError
            ├── InvalidRequest
            ├── InvalidFrame
            └── AnswerCut

No message holds a key, a share or plaintext.
"""

from __future__ import annotations

from sealmarket_enclave.protocol.errors import SealmarketError


class SealedError(SealmarketError):
    """Sealed data was refused."""


class ContainerError(SealedError):
    """A sealed container was refused."""


class NotAContainer(ContainerError):
    """The bytes do not begin as a sealed container does."""

    def __init__(self, got: bytes, expected: bytes) -> None:
        super().__init__(
            f"this is not a sealed container: it starts with {got!r}, expected {expected!r}",
            remedy="check that the file is what `seal` wrote, not the plaintext or another download",
        )
        self.got, self.expected = got, expected


class UnsupportedVersion(ContainerError):
    """The container is of a version that this release does not read."""

    def __init__(self, got: int, expected: int) -> None:
        super().__init__(
            f"container version {got} is not supported, expected {expected}",
            remedy="use a Sealmarket release that reads this version, or seal the data again",
        )
        self.got, self.expected = got, expected


class InvalidHeader(ContainerError):
    """A field of the container's header is outside its limits."""

    def __init__(self, field: str, got: object, expected: object) -> None:
        super().__init__(
            f"the container header's {field} is {got}, expected {expected}",
            remedy="fetch the container again; if it stays so, its owner must seal the data again",
        )
        self.field, self.got, self.expected = field, got, expected


class Truncated(ContainerError):
    """The container ends before its header says."""

    def __init__(self, where: str, got: int, expected: int) -> None:
        super().__init__(
            f"the container ends inside {where}: {got} bytes found, expected {expected}",
            remedy="fetch the container again, the copy is incomplete",
        )
        self.where, self.got, self.expected = where, got, expected


class TrailingBytes(ContainerError):
    """Bytes follow the container's last chunk."""

    def __init__(self, expected: int) -> None:
        super().__init__(
            f"bytes follow the last chunk, expected the container to end after {expected} bytes",
            remedy="fetch the container again, this copy has something appended",
        )
        self.expected = expected


class ChunkAltered(ContainerError):
    """A chunk does not authenticate for its asset, version and position."""

    def __init__(self, index: int) -> None:
        super().__init__(
            f"chunk {index} is not what was sealed for this asset, version and position",
            remedy="fetch the container again and check the key: the bytes changed, or this is another key",
        )
        self.index = index


class RootMismatch(ContainerError):
    """The container is not the one of the expected content root."""

    def __init__(self, expected: bytes, found: bytes) -> None:
        super().__init__(
            f"the content root is 0x{found.hex()}, expected 0x{expected.hex()}",
            remedy="fetch the version of the container that the chain names; this is another one, or altered",
        )
        self.expected, self.found = expected, found


class WrongAsset(ContainerError):
    """The container is of another asset or version."""

    def __init__(self, got: bytes, got_version: int, expected: bytes, expected_version: int) -> None:
        super().__init__(
            f"the container is of asset 0x{got.hex()} version {got_version}, "
            f"expected 0x{expected.hex()} version {expected_version}",
            remedy="fetch the container of the asset and version that the job names",
        )
        self.got, self.expected = (got, got_version), (expected, expected_version)


class SourceLengthChanged(ContainerError):
    """The data changed its length while it was sealed."""

    def __init__(self, got: int, expected: int) -> None:
        super().__init__(
            f"the source gave {got} bytes, expected {expected}",
            remedy="seal a file that no program writes to; delete what was written so far",
        )
        self.got, self.expected = got, expected


class InvalidOutputs(SealedError):
    """A workload's outputs are not named bytes within the format's limits."""

    def __init__(self, field: str, got: object, expected: object) -> None:
        super().__init__(
            f"an output's {field} is {got}, expected {expected}",
            remedy="the workload must return a mapping of plain names to bytes",
        )
        self.field, self.got, self.expected = field, got, expected


class ShareError(SealedError):
    """A key share, or a set of them, was refused."""


class InvalidSharing(ShareError):
    """The parameters of a sharing do not fit each other."""

    def __init__(self, field: str, got: object, expected: object) -> None:
        super().__init__(
            f"a sharing's {field} is {got}, expected {expected}",
            remedy="correct the committee or the threshold, and split the key again",
        )
        self.field, self.got, self.expected = field, got, expected


class TooFewShares(ShareError):
    """Fewer shares than the threshold."""

    def __init__(self, got: int, expected: int) -> None:
        super().__init__(
            f"{got} shares are too few, expected {expected}",
            remedy="ask further oracle nodes for their shares",
        )
        self.got, self.expected = got, expected


class DuplicateShare(ShareError):
    """Two shares of one index."""

    def __init__(self, index: int) -> None:
        super().__init__(
            f"two shares have index {index}, expected distinct indices",
            remedy="drop one of the two and ask another oracle node",
        )
        self.index = index


class WrongShare(ShareError):
    """A share does not match its commitment."""

    def __init__(self, index: int, expected: bytes, found: bytes) -> None:
        super().__init__(
            f"the share of index {index} does not match its commitment: 0x{found.hex()}, expected 0x{expected.hex()}",
            remedy="leave this node's share out and ask another oracle node",
        )
        self.index, self.expected, self.found = index, expected, found


class WrongKey(ShareError):
    """Shares that match their commitments join to another key."""

    def __init__(self, expected: bytes, found: bytes) -> None:
        super().__init__(
            f"the shares match but the joined key does not: 0x{found.hex()}, expected 0x{expected.hex()}",
            remedy="the owner dealt shares that do not join: the asset must be sealed and shared again",
        )
        self.expected, self.found = expected, found


class ShareRootMismatch(ShareError):
    """The share set is not the one of the expected root."""

    def __init__(self, expected: bytes, found: bytes) -> None:
        super().__init__(
            f"the share set's root is 0x{found.hex()}, expected 0x{expected.hex()}",
            remedy="fetch the share set of the asset version that the chain names",
        )
        self.expected, self.found = expected, found


class HpkeError(SealedError):
    """An HPKE key or message was refused."""


class InvalidHpkeKey(HpkeError):
    """An HPKE key of the wrong length."""

    def __init__(self, kind: str, got: object, expected: int) -> None:
        super().__init__(
            f"an HPKE {kind} key takes {expected} bytes, found {got}",
            remedy="use a key of KEM MLKEM768_X25519",
        )
        self.kind, self.got, self.expected = kind, got, expected


class NotOpened(HpkeError):
    """An HPKE message that was sealed to another key or for another context, or was altered."""

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"a message for {purpose} does not open with this key and this context",
            remedy="check that it was sealed to this key, for this very job or asset, and not altered",
        )
        self.purpose = purpose


class SessionError(SealedError):
    """A request to a service, or its answer, was refused."""


class InvalidRequest(SessionError):
    """A session request that opens, and is not what a request must be."""

    def __init__(self, field: str, got: object, expected: object) -> None:
        super().__init__(
            f"a session request's {field} is {got}, expected {expected}",
            remedy="seal the request by this release's client, within the limits of the service",
        )
        self.field, self.got, self.expected = field, got, expected


class InvalidFrame(SessionError):
    """A frame of an answer that does not belong where it came."""

    def __init__(self, number: int, got: object, expected: object) -> None:
        super().__init__(
            f"frame {number} of the answer is {got}, expected {expected}",
            remedy="use this answer no further, and sign another grant: the host altered, moved or repeated frames",
        )
        self.number, self.got, self.expected = number, got, expected


class AnswerCut(SessionError):
    """An answer that ended before its final frame."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"the answer ends before frame {number}, expected a final frame",
            remedy="use this answer no further, and sign another grant: the host cut the stream",
        )
        self.number = number
