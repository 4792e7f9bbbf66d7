"""Why a contract said no, in words: one sentence and one remedy for every error that the contracts can raise.

A sentence's ``{names}`` are the error's own arguments as the ABI names them. The tests hold this table against the
exported ABIs, so an error without words does not pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import cache
from typing import Any

from sealmarket.chain import abi
from sealmarket.chain.errors import AbiMismatch, Reverted, RpcRefused
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address
from sealmarket_enclave.protocol.numbers import Grade

_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")
_LATER = "read the job's present state; if the step still makes sense, send it again"
_DEPLOY = "deploy the contracts anew, with settings that fit"
_SIGN = "sign it again, with that account, for this chain and market"

SENTENCES: Mapping[str, tuple[str, str]] = {
    # --- the registry
    "OnlyMarket": ("only the market {expected} may do this, not {got}", "call the market instead"),
    "UnknownVersion": ("version {version} of asset {asset_id} was never published", "check the id and the version"),
    "VersionExists": (
        "version {version} of asset {asset_id} exists already",
        "nothing: it stands; for other data or terms seal and publish the next version",
    ),
    "NotOwner": ("asset {asset_id} belongs to {expected}, not to {got}", "send it from the owner's account"),
    "FieldMissing": ("{field} is missing", "fill it in: nothing has a default here"),
    "UnknownGrade": ("{got} is no grade of evidence, the highest is {highest}", "use 1 (simulated) or 2 (hardware)"),
    "LooserTerms": (
        "{field} would be {got}, looser than {in_force}, which is in force",
        "terms only tighten; publish a new version with new shares instead",
    ),
    "NotAPercentage": ("{field} is {got} percent", "use 0 to 100"),
    "BadContentVersion": (
        "the content of version {version} of asset {asset_id} would be that of version {got}",
        "name the version for which the content was sealed: this one, or one before",
    ),
    "NothingTightened": (
        "these are the terms in force of version {version} of asset {asset_id} already",
        "nothing: they stand; a change must be tighter somewhere",
    ),
    "Suspended": (
        "version {version} of asset {asset_id} is suspended: an enclave could not open or read it",
        "choose another version; its owner mends it, or lifts the suspension",
    ),
    "NotSuspended": ("version {version} of asset {asset_id} is not suspended", "nothing: it can be matched"),
    "Revoked": ("version {version} of asset {asset_id} is revoked by its owner", "choose another asset or version"),
    "TermsExpired": (
        "the terms of asset {asset_id} expired at {expiry}, and it is {timestamp}",
        "ask the owner for a new version",
    ),
    "TermsVersionChanged": (
        "the terms of asset {asset_id} are at version {expected}, the request names {got}",
        "read the terms in force and sign a new request",
    ),
    "AssetTokenMismatch": (
        "asset {asset_id} is priced in token {expected}, the request pays in {got}",
        "sign a request in the asset's token",
    ),
    "PurposeNotAllowed": (
        "the request's purposes {got} are not all among those that asset {asset_id} allows, {allowed}",
        "request a purpose that every owner's terms name",
    ),
    "ConsumerNotAllowed": (
        "consumer {consumer} is not among those that asset {asset_id} admits ({consumer_root})",
        "ask the owner to admit this account, and send the proof of it along",
    ),
    "UsesExhausted": (
        "all {max_uses} uses of asset {asset_id} are taken ({taken})",
        "wait until a job that is not accepted gives its use back, or ask the owner for a new version",
    ),
    "JobBudgetTooHigh": (
        "the job asks for {got} micro-epsilon of asset {asset_id}, one job may spend {per_job_cap}",
        "ask for less",
    ),
    "BudgetExhausted": (
        "the privacy budget of asset {asset_id} is {budget} micro-epsilon, with this job it would take {needed}",
        "ask for less, or ask the owner for a new version",
    ),
    # --- committees
    "OnlyCommitteeOwner": (
        "only {expected} may announce committees and their ends, not {got}",
        "send it from that account",
    ),
    "BadCommitteeSize": ("a committee of {got} members, 1 to {most} are possible", "name another number of members"),
    "KeyCountMismatch": ("{got} HPKE keys for {expected} signers", "name one key for each signer"),
    "BadThreshold": ("a threshold of {got} among {members} members", "name a threshold from 1 to the members"),
    "BadMember": (
        "member {index} ({signer}, {hpke_key_hash}) is zero or stands twice",
        "name each signer and each key once",
    ),
    "BadEpoch": ("{got} is no committee epoch: 1 to {highest}", "name the epoch that the shares were dealt to"),
    "EndAnnounced": (
        "the end of epoch {epoch} is announced for second {ends_at} already",
        "nothing: it stands, and can be neither moved nor taken back",
    ),
    "BadEnd": (
        "an epoch would end at second {got}, expected {least} to {most}",
        "name a moment that leaves owners the whole notice, at most two years later",
    ),
    "AlreadyAnchored": (
        "the hash {statement} was anchored before, at second {anchored_at}",
        "nothing: the first anchoring counts, from any account",
    ),
    "UnknownEpoch": ("there is no committee of epoch {epoch}", "check the epoch in the address book"),
    "WrongMembers": (
        "these are not the members of epoch {epoch}: they hash to {got}, expected {expected}",
        "take the members from the address book or from the announcement",
    ),
    "NotAMember": ("epoch {epoch} has no member {index}, or it was removed", "check the member's place"),
    "DifferentSubjects": (
        "the two statements are not about the same job, evidence and epoch",
        "show two that are on one subject",
    ),
    "SameDecision": ("the two decisions say the same", "only contradicting ones remove a member"),
    "WrongSigner": ("{got} signed this, expected {expected}", "show decisions that this member signed"),
    "TooFewWouldRemain": (
        "{remaining} members would remain, fewer than the threshold {threshold}",
        "announce a new committee",
    ),
    # --- orders
    "BadSignature": ("the signature over {digest} is not {signer}'s", _SIGN),
    "OrderExpired": ("order {order_hash} expired at {expiry}, and it is {timestamp}", "sign a new one"),
    "WrongGeneration": (
        "the order of {signer} in token {token} is of generation {got}, only {expected} counts",
        "its signer has cancelled all earlier orders in that token; sign a new one with the present generation",
    ),
    "NoGenerationLeft": (
        "{signer} has cancelled all orders in token {token} 65,535 times, and cannot once more",
        "cancel them one by one, or trade from another account",
    ),
    "OrderFilled": ("order {order_hash} is filled or cancelled ({used} of {volume})", "sign a new one"),
    "RequestUsed": ("request {request_hash} has had its job, or was cancelled", "sign a new one with another salt"),
    "NotInSet": ("{party} is not in the set {root}", "match with a party that is, and send its proof along"),
    "NotRequestParty": (
        "only the consumer {consumer} or the payer {payer} may do this, not {got}",
        "send it from one of these accounts",
    ),
    # --- money
    "TokenNotAdmitted": ("token {token} is not admitted to this market", "use one that is; the deployment lists them"),
    "BadToken": ("token {token} is named twice, or has no code", _DEPLOY),
    "WrongValue": ("{got} wei came along, the call accounts for {expected}", "send exactly the amount"),
    "WrongAmountReceived": (
        "token {token} delivered {got} instead of {expected}",
        "tokens that charge on transfer cannot be used",
    ),
    "AmountTooLarge": ("{got} is more than an account can hold, {most}", "use a smaller amount"),
    "ZeroAmount": ("the amount is zero", "name an amount"),
    "ZeroAddress": ("the address is zero", "name an address"),
    "InsufficientBalance": (
        "{holder} has {got} free of token {token}, and needs {needed}",
        "deposit the difference first",
    ),
    "InsufficientStake": (
        "{holder} has {got} of token {token} staked and unlocked, and needs {needed}",
        "stake the difference first, or wait for running jobs to end",
    ),
    "NotUnbonded": ("nothing has unbonded: ready at {ready_at}, and it is {timestamp}", "wait for the delay to pass"),
    "CoinTransferFailed": ("{to} refused {amount} wei", "withdraw to another address; the balance stands"),
    "FeeBookNotOpened": ("no job has used epoch {epoch} with token {token}", "there are no fees to claim yet"),
    # --- jobs
    "MatchingIsPaused": (
        "the guardian has paused new matches",
        "wait until matching goes on; running jobs are not affected",
    ),
    "OnlyCommittee": ("only the committee contract {expected} may do this, not {got}", "nothing: it tells by itself"),
    "OnlyGuardian": ("only the guardian {expected} may do this, not {got}", "send it from that account"),
    "WrongMarket": ("the parts of this deployment do not name each other: {got}, expected {expected}", _DEPLOY),
    "Mismatch": ("{field} is {got}, expected {expected}", "bring request and orders together"),
    "OutOfBounds": ("{field} is {got}, expected {least} to {most}", "correct it and sign again"),
    "PriceTooHigh": ("{field} is {got}, the request allows {most}", "sign a request that allows more"),
    "GradeTooLow": (
        "the offer's evidence has grade {got}, at least {least} is demanded",
        "match with a provider of that grade; simulated evidence is accepted only where every term says so",
    ),
    "EpochsDiffer": (
        "asset {asset_id} was dealt to the committee of epoch {got}, the job's is {expected}",
        "use assets of one epoch, or ask the owner for a version with shares for that committee",
    ),
    "AssetTwice": (
        "asset {asset_id} stands at places {first} and {second} of the request",
        "sign a request that names each asset once",
    ),
    "CapabilityNotAccepted": (
        "the provider's capability document {capability_hash} is not in the set {capabilities}",
        "match with a provider whose document the request accepts, and send its proof along",
    ),
    "EpochNotActive": (
        "epoch {epoch} counts from {active_at}, and it is {timestamp}",
        "wait until the committee is in force",
    ),
    "EpochEnds": (
        "the committee of epoch {epoch} ends at second {ends_at}, and the job could last until {until}",
        "ask for shorter windows, or the owner for a version with shares for a later committee",
    ),
    "UnexpectedStatus": (
        "the job of request {request_hash} is {got}, this step takes one that is {expected}",
        _LATER,
    ),
    "TooLate": ("the window of this step closed at {deadline}, and it is {timestamp}", "close the job instead"),
    "TooEarly": ("the window before this step is open until {deadline}, and it is {timestamp}", "wait until then"),
    "WrongCommitment": (
        "this is not what the job of request {request_hash} was made from: {got}, expected {expected}",
        "make key and bargain from the match's specification, and pass enclave and receipt as the events tell them",
    ),
    "ZeroEvidenceHash": ("the evidence hash is zero", "post the hash of the evidence"),
    "DecisionExpired": ("the decision was usable until {expiry}, and it is {timestamp}", "ask the nodes again"),
    "UnknownOutcome": ("{got} is no outcome, the highest is {highest}", "use a decision of this release"),
    "WrongSignatureCount": ("{got} signatures, the quorum takes exactly {expected}", "send exactly that many"),
    "BadSignerIndex": (
        "signature {position} is of member {got}: not rising, no such member, or removed",
        "sort the signatures by member, each once",
    ),
    "WrongNode": ("the signature of member {index} is by {got}, expected {expected}", "ask that node again"),
    "WrongCommittee": (
        "these are not the members of epoch {epoch}: they hash to {got}, expected {expected}",
        "take the members from the address book or from the announcement",
    ),
    "OnlyProvider": ("only the provider {expected} may do this, not {got}", "send it from that account"),
    "AlreadyStopped": (
        "that the nodes will not release for the job of request {request_hash} is on chain already",
        "nothing: the job ends by it, unless it is settled before its deadline",
    ),
    "NotInterrupted": (
        "neither a stop nor missing shares keep the job of request {request_hash} from going on",
        "wait for the window of this step to pass, or for the job to go on",
    ),
    "NotEnoughGas": (
        "not enough gas was left for this entry of a batch",
        "send it again, with more gas or fewer entries",
    ),
    "WrongEnclave": ("{got} signed this, the accepted enclave is {expected}", "post what that enclave signed"),
    "TooManyUnits": (
        "the enclave metered {got} units, the job allows {most}",
        "nothing: the enclave's metering is final",
    ),
    "UnknownCause": (
        "{got} is no cause of failure",
        "use 1 (input), 2 (workload), 3 (the workload's time) or 4 (a validator)",
    ),
    "NoSuchAsset": ("the job has {assets} assets, none at place {index}", "name one that it has"),
    "TransferNotTaken": (
        "{to} did not take the transfer: it has no code, or answered {got}",
        "name a contract that takes transfers of this ledger; to an account use a plain transfer",
    ),
    # --- sessions
    "UnknownService": (
        "job {job_id} is no open service, or the specification is not its own",
        "check the id; an accepted job of kind 2 is opened first",
    ),
    "ServiceExists": ("the service of job {job_id} is open already", "nothing: it stands"),
    "WrongKind": ("the job is of kind {got}, a service is of kind {expected}", "match a request of that kind"),
    "PartiesDiffer": (
        "consumer {consumer}, payer {payer} and provider {provider} of a service are one account",
        "request the service from the provider's account",
    ),
    "ComputePriced": (
        "the job has the compute prices {compute_price} and {unit_price}; a service's terms alone have a price",
        "sign orders with compute prices of 0",
    ),
    "WrongTerms": (
        "these terms hash to {got}; the job's request commits to {expected}",
        "pass the terms that the request was made with",
    ),
    "WrongSessions": ("the terms name {got}, this contract is {expected}", "make terms for the market's own contract"),
    "WrongRoyalties": (
        "the royalties do not name the job's assets, each once and in order (place or number {index})",
        "list one royalty for each asset of the request, in its order",
    ),
    "WrongToken": ("the transfer is in token {got}, the service's is {expected}", "pay in the service's token"),
    "ServiceOver": (
        "the service of job {job_id} ended at {end}, or its job is over; it is {timestamp}",
        "choose another service; what a tab has not paid returns",
    ),
    "ServiceStands": ("the job of service {job_id} is accepted still", "wait for its end"),
    "BondTooSmall": (
        "the bond of service {job_id} has {got}, and {needed} are needed",
        "let the provider add to the bond",
    ),
    "AccountNotAllowed": (
        "the terms of asset {asset_id} that are in force allow no tab of {account}",
        "check purpose, expiry and consumer set; pass the account's proof where a set is closed",
    ),
    "TabTooSmall": ("the tab would have {limit}, the least is {least}", "lock more"),
    "TabCloses": ("the tab of {account} at {job_id} is closed, or closing", "use another account, or another service"),
    "NoTab": ("{account} has no tab at service {job_id}", "open one, or check the account"),
    "TabOpen": (
        "the tab of {account} at {job_id} can close from {opens_at} on, and it is {timestamp}",
        "ask to close it, and wait for the redemption window",
    ),
    "AlreadyRequested": ("{account} has asked to close its tab at {job_id}", "wait for the nodes' next renewal"),
    "NothingToDo": ("nothing changes at service {job_id} by this", "nothing: what it would do is done"),
    "WrongRenewalBlock": (
        "the renewal is of block {got}, expected {least} to {most}: an older one was paid for",
        "claim a newer renewal",
    ),
    "RenewalTooEarly": ("renewals are paid from {least} on, and it is {timestamp}", "claim it later"),
    # --- libraries
    "SafeERC20FailedOperation": ("token {token} refused the transfer", "check balance and approval"),
}

_ENUMERATIONS: Mapping[str, type[IntEnum]] = {"UnexpectedStatus": Status, "GradeTooLow": Grade}
"""Errors whose numbers are shown as words."""

_PANICS = {
    0x01: "an assertion failed",
    0x11: "a number would overflow",
    0x12: "a division by zero",
    0x21: "a number is not one of an enumeration",
    0x32: "an index is out of range",
    0x41: "too much memory is asked for",
}


_NEVER_PUBLISHED = ("asset {asset_id} was never published, or not in that version", "check the id and the version")


def sentence_of(name: str, arguments: Mapping[str, object]) -> tuple[str, str]:
    """The sentence and the remedy of an error. Unknown names are shown as they are."""
    known = SENTENCES.get(name)
    if known is None:
        shown = ", ".join(f"{key} {_show(key, value)}" for key, value in arguments.items())
        return f"the contract refused: {name}({shown})", "read the contract's documentation of this error"
    if name == "NotOwner" and arguments.get("expected") == ZERO_ADDRESS:
        known = _NEVER_PUBLISHED
    sentence, remedy = known
    return sentence.format_map({key: _show(key, value, name) for key, value in arguments.items()}), remedy


def revert_of(error: RpcRefused) -> Reverted | None:
    """The contract's refusal inside a node's error, or None when the node's error is something else."""
    for payload in _payloads(error.data):
        if payload:
            return decode_revert(payload)
    if "revert" in error.detail.lower():
        return Reverted("", {}, f"the contract refused without a reason ({error.detail[:200]})", _LATER)
    return None


def decode_revert(payload: bytes) -> Reverted:
    """Read revert data: a custom error, a message or a panic."""
    selector, body = payload[:4], payload[4:]
    try:
        if selector == _ERROR_STRING:
            text = str(abi.decode((_parameter("string"),), body, "Error")["value"])
            return Reverted("Error", {"message": text}, text or "the contract refused", _LATER)
        if selector == _PANIC:
            code = int(abi.decode((_parameter("uint256"),), body, "Panic")["value"])
            said = _PANICS.get(code, f"panic {code:#x}")
            return Reverted("Panic", {"code": code}, f"the contract gave up: {said}", "check the arguments")
        if (entry := known_errors().get(selector)) is not None:
            arguments = abi.decode(entry.inputs, body, entry.signature)
            return Reverted(entry.name, arguments, *sentence_of(entry.name, arguments))
    except AbiMismatch:
        # Revert data is the contract's to choose; what does not decode is shown as it is.
        return _unknown(payload)
    return _unknown(payload)


@cache
def known_errors() -> Mapping[bytes, abi.Entry]:
    """Every custom error of the contracts, by selector."""
    return {selector: entry for name in abi.RAISING for selector, entry in abi.load(name).errors.items()}


def _unknown(payload: bytes) -> Reverted:
    shown = "0x" + payload[:36].hex()
    remedy = "the contracts are of another release than this library; update one of the two"
    return Reverted("", {"data": shown}, f"the contract refused with {shown}", remedy)


def _parameter(kind: str) -> abi.Parameter:
    return abi.Parameter("value", kind, False, ())


def _payloads(value: Any) -> Iterator[bytes]:
    """Revert data wherever nodes put it: the error's data itself, or one or two levels inside."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            yield bytes.fromhex(value[2:])
        except ValueError:
            return
    elif isinstance(value, dict):
        for key in ("data", "result", "return", "output"):
            yield from _payloads(value.get(key))
        for inner in value.values():
            if isinstance(inner, dict):
                yield from _payloads(inner)


def _show(key: str, value: object, name: str = "") -> str:
    if isinstance(value, Address):
        return value.checksum
    if key in {"field", "what"} and isinstance(value, bytes):
        return value.rstrip(b"\0").decode("ascii", "replace")
    kind = _ENUMERATIONS.get(name)
    if kind is not None and isinstance(value, int) and value in set(kind):
        return kind(value).name.lower()
    return str(value)
