"""What the SDK refuses.

    SealmarketError
    └── ClientError
        ├── RequestInvalid
        ├── OfferInvalid
        ├── WorkerNotInstalled
        ├── DraftRefused
        ├── DescriptionRefused
        ├── PolicyMismatch
        ├── PolicyUnmeetable
        ├── SealedFolderExists
        ├── OtherSealing
        ├── UnknownAsset
        ├── AlreadyPublished
        ├── CommitteeMismatch
        ├── MarketNotVerified
        ├── RequestUncertain
        ├── PendingElsewhere
        ├── NotConfigured
        ├── AmountRefused
        ├── AccountFileRefused  (accounts)
        ├── AddressBookChanged
        ├── AddressBookRefused
        ├── JobNotFound
        ├── JobEndedOtherwise
        ├── NotMatched
        ├── WaitedTooLong
        ├── ProfileRefused      (profiles)
        ├── SignerRefused
        ├── SignerUnavailable
        ├── PlatformNotProven   (platform_evidence)
        ├── ProofInvalid
        └── NotProven  (auditor)

Store, market API and oracle nodes raise :class:`~sealmarket.service.errors.ServiceError` beside these.
"""

from __future__ import annotations

from pathlib import Path

from sealmarket.protocol.moments import moment
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError


class ClientError(SealmarketError):
    """The SDK refused or could not do what was asked."""


class NotConfigured(ClientError):
    """Something that a connection needs was neither named nor set in the environment."""

    def __init__(self, what: str, variable: str) -> None:
        super().__init__(f"no {what} is named", remedy=f"pass {what}=..., or set {variable}")
        self.what, self.variable = what, variable


class AmountRefused(ClientError):
    """An amount of coin that is no exact number of smallest units."""

    def __init__(self, amount: object) -> None:
        super().__init__(f"{amount!r} is no amount of coin", remedy='write it as a string, as in coin("0.5")')
        self.amount = amount


class AddressBookRefused(ClientError):
    """A file is not an address book."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"{path} is no address book: {detail}",
            remedy="name the file that scripts/deploy wrote, or ask the market's operator for it",
        )
        self.path, self.detail = path, detail


class AddressBookChanged(ClientError):
    """An address book is not the one that a profile names by its digest."""

    def __init__(self, path: Path, expected: str, found: str) -> None:
        super().__init__(
            f"{path} is another address book than your profile keeps: expected {expected}, found {found}",
            remedy="ask the market's operator whether it has changed; if so, run `sealmarket init --replace`",
        )
        self.path, self.expected, self.found = path, expected, found


class SignerRefused(ClientError):
    """A program that holds an account's key answered something else than what was asked of it, or declined."""

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(
            f"{what} is not what was asked for: expected {expected}, found {found}",
            remedy="nothing was sent; look at the signer: it declined, uses another account, or is not to be trusted",
        )
        self.what, self.expected, self.found = what, expected, found


class SignerUnavailable(ClientError):
    """A program that holds an account's key gives no answer."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(f"the signer does not sign: {detail}", remedy="start it, unlock the device, and try again")
        self.url, self.detail = url, detail


class RequestInvalid(ClientError):
    """A request cannot be signed or matched as it stands."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(f"this cannot be asked for: {detail}", remedy=remedy)
        self.detail = detail


class OfferInvalid(ClientError):
    """A compute order that no match could use; it was not signed."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"this cannot be offered: {detail}",
            remedy="offer within these limits; the penalty must pay the oracle when the provider is at fault",
        )
        self.detail = detail


class WorkerNotInstalled(ClientError):
    """The worker, which runs a provider's jobs, is not installed in this environment."""

    def __init__(self) -> None:
        super().__init__("the worker is not installed here", remedy="install it: `pip install sealmarket-worker`")


class DraftRefused(ClientError):
    """A file is not a policy draft."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"{path} is no policy draft: {detail}", remedy="see `sealmarket owner policy-schema`")
        self.path, self.detail = path, detail


class PolicyMismatch(ClientError):
    """A policy draft does not fit the data, the committee or the chain."""

    def __init__(self, field: str, expected: object, found: object) -> None:
        super().__init__(
            f"the policy's {field} is {found}, expected {expected}",
            remedy="correct the draft, and seal again",
        )
        self.field, self.expected, self.found = field, expected, found


class PolicyUnmeetable(ClientError):
    """A policy that no job could ever meet."""

    def __init__(self, clauses: tuple[str, ...]) -> None:
        super().__init__(
            "no job could ever meet this policy: " + "; ".join(clauses),
            remedy="correct it; `sealmarket policy check FILE` says whether it is usable then",
        )
        self.clauses = clauses


class DescriptionRefused(ClientError):
    """An owner said something of a table that no card can say."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"the description has {found}, expected {expected}", remedy="correct the option")
        self.found, self.expected = found, expected


class NotDescribed(ClientError):
    """A file says too little, or too much, for a card: its owner states how it is read, or corrects it."""

    def __init__(self, file: Path, detail: str, stating: str) -> None:
        super().__init__(f"no card can be made of {file}: {detail}", remedy=f"correct the file, or {stating}")
        self.file, self.detail = file, detail


class SealedFolderExists(ClientError):
    """Something is where a sealing would be written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} exists, expected no such file or folder: a data key in it is never overwritten",
            remedy="name a new folder; what was sealed there is published with `sealmarket owner publish`",
        )
        self.folder = folder


class OtherSealing(ClientError):
    """A folder and the chain have different sealings under one version."""

    def __init__(self, folder: Path, expected: Bytes32, found: Bytes32) -> None:
        super().__init__(
            f"{folder} holds a sealing with the hash {found}, the chain has {expected} for this version",
            remedy="name the folder that was published",
        )
        self.folder, self.expected, self.found = folder, expected, found


class UnknownAsset(ClientError):
    """No such version of an asset is on this chain."""

    def __init__(self, asset_id: object, version: int, market: str) -> None:
        super().__init__(
            f"version {version} of asset {asset_id} is unknown: it was never published on the market at {market}",
            remedy="check id and version, and that address book and RPC are those of the asset's market",
        )
        self.asset_id, self.version = asset_id, version


class AlreadyPublished(ClientError):
    """This version is on chain already; nothing was uploaded."""

    def __init__(self, asset_id: object, version: int) -> None:
        super().__init__(
            f"version {version} of asset {asset_id} is published already",
            remedy="nothing: it stands; the version after the newest takes the newest's folder: `owner rewrap` for "
            "other terms, `owner seal --after FOLDER` for other data",
        )
        self.asset_id, self.version = asset_id, version


class CommitteeMismatch(ClientError):
    """The address book names other oracle nodes than the chain."""

    def __init__(self, epoch: int, expected: object, found: object) -> None:
        super().__init__(
            f"the chain's committee of epoch {epoch} is {expected}, the address book's {found}",
            remedy="do not deal keys to these nodes; get the address book from its publisher again",
        )
        self.epoch, self.expected, self.found = epoch, expected, found


class CommitteeEnding(ClientError):
    """A committee is about to end, or has ended: nothing new is dealt to it, or published for it."""

    def __init__(self, epoch: int, ends_at: int, remedy: str) -> None:
        super().__init__(f"the committee of epoch {epoch} ends at {moment(ends_at)}", remedy=remedy)
        self.epoch, self.ends_at = epoch, ends_at


class MarketNotVerified(ClientError):
    """What is at an address book's addresses is not the market that it describes."""

    def __init__(self, what: str, expected: object, found: object, remedy: str) -> None:
        super().__init__(
            f"this market is not verified, so nothing was given to it: the {what} is {found}, expected {expected}",
            remedy=remedy,
        )
        self.what, self.expected, self.found = what, expected, found


class RequestUncertain(ClientError):
    """A signed request was perhaps posted, and no answer says whether the book has it."""

    def __init__(self, request_hash: object, detail: str) -> None:
        super().__init__(
            f"request {request_hash} is signed and may be in the book: {detail}",
            remedy="repeat the same command: it looks for this request before it signs another one",
        )
        self.request_hash, self.detail = request_hash, detail


class PendingElsewhere(ClientError):
    """An earlier call is under way that cannot be distinguished from this one."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"something that was signed before may be under way ({path}): {detail}",
            remedy=f"repeat the earlier command; once you know that its outcome harms no party, remove {path}",
        )
        self.path, self.detail = path, detail


class JobNotFound(ClientError):
    """No job of that id is on the chain."""

    def __init__(self, job_id: object) -> None:
        super().__init__(
            f"no job {job_id} is on this chain",
            remedy="check the id and the chain; a match is seen once its block is in the chain",
        )
        self.job_id = job_id


class JobEndedOtherwise(ClientError):
    """A job that was waited for ended without a result."""

    def __init__(self, job_id: object, status: str, reason: str, remedy: str) -> None:
        super().__init__(f"job {job_id} ended as {status}: {reason}", remedy=remedy)
        self.job_id, self.status, self.reason = job_id, status, reason


class NotMatched(ClientError):
    """No order matched a request in time, and it was voided."""

    def __init__(self, request_hash: object, detail: str) -> None:
        super().__init__(
            f"request {request_hash} was not matched and is voided; it charges nothing: {detail}",
            remedy="ask again with other limits, or with --keep to leave the request in the book",
        )


class WaitedTooLong(ClientError):
    """What was waited for did not happen in time."""

    def __init__(self, what: str, seconds: float, detail: str) -> None:
        super().__init__(
            f"{what} did not happen within {seconds:g} seconds: {detail}",
            remedy="wait on; ask for the job's status to see whose turn it is",
        )
        self.what, self.seconds, self.detail = what, seconds, detail


class ProofInvalid(ClientError):
    """A proof bundle is malformed or contradicts itself."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"the proof bundle is not one: {detail}", remedy="fetch it again from its author")
        self.detail = detail
