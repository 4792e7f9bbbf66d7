"""Proposing a workload, and reading what others proposed: every byte is held against the hash that was asked for.

1. A proposal is the one of its hash, its detail is the one that it signs, and its consumer signed it for this market.
2. Its workload is measured again: a store that sends another source is refused.
3. An answer counts if it is about this proposal, word for word, and the owner of that version on chain signed it for
   this market. What does not count is left out, never shown as an answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sealmarket.chain import Block, Chain
from sealmarket.chain.interface import ChainReader
from sealmarket.client.assets import asset_state
from sealmarket.client.errors import ClientError
from sealmarket.client.party import Party
from sealmarket.files import read_file
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.proposals import (
    MAXIMUM_PROPOSAL,
    MOST_SAMPLES,
    Proposal,
    ProposalAnswer,
    ProposalDetail,
    ProposalRefused,
    ProposedAsset,
    SampleOutput,
    SignedAnswer,
    SignedProposal,
    require_answer,
    require_whole,
)
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape, Uint, decode
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_enclave.workload.bundle import Bundle, pack, unpack
from sealmarket_enclave.workload.errors import WorkloadError

LIFE_SECONDS = 30 * 86_400
MAXIMUM_ARCHIVE = 4 << 20
"""Bytes of a workload's archive in a proposal's file; a larger one is in the store alone."""
MAXIMUM_FILE = 3 * MAXIMUM_ARCHIVE


class ProposalFileRefused(ClientError):
    """A file is no proposal."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"{path} is no proposal: {detail}", remedy="name the file that `consumer propose --file` wrote"
        )


class ProposalFile(Shape, frozen=True, kw_only=True):
    """A proposal as one file, to be sent by other ways than the market's server. ``archive`` may be empty."""

    version: Literal["sealmarket/proposal-file/1"] = "sealmarket/proposal-file/1"
    signed: SignedProposal
    archive: HexBytes


@dataclass(frozen=True, slots=True)
class Inspected:
    """A proposal whose parts all belong to its hash."""

    hash: Bytes32
    signed: SignedProposal
    bundle: Bundle

    @property
    def proposal(self) -> Proposal:
        """What its consumer signed."""
        return self.signed.proposal

    @property
    def detail(self) -> ProposalDetail:
        """Parameters, note and samples."""
        return self.signed.detail


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a proposal stands with the owner of one of its versions. ``answer`` None: not answered yet."""

    asset: ProposedAsset
    owner: Address
    answer: SignedAnswer | None

    @property
    def approved(self) -> bool:
        """Whether the owner approved it."""
        return self.answer is not None and self.answer.answer.approved


def draft_proposal(
    consumer: Address,
    bundle: Bundle,
    assets: Sequence[ProposedAsset],
    purpose: int,
    detail: ProposalDetail,
    now: int,
    life: int = LIFE_SECONDS,
) -> Proposal:
    """A proposal that no party has signed yet."""
    return Proposal(
        consumer=consumer,
        workload_digest=bundle.digest,
        purpose=purpose,
        detail_hash=detail.hash(),
        expiry=now + life,
        salt=Uint(int.from_bytes(secrets.token_bytes(24), "big")),
        assets=tuple(assets),
    )


def read_samples(paths: Iterable[Path]) -> tuple[SampleOutput, ...]:
    """Sample outputs from files.

    Raises:
        ProposalRefused: too many of them.
        OSError: one cannot be read, or is larger than a whole proposal.
    """
    chosen = tuple(paths)
    if len(chosen) > MOST_SAMPLES:
        raise ProposalRefused(f"{len(chosen)} samples, expected at most {MOST_SAMPLES}", remedy="choose fewer")
    return tuple(
        SampleOutput(name=path.name[:200], content=HexBytes(read_file(path, MAXIMUM_PROPOSAL))) for path in chosen
    )


def post_proposal(chain: ChainReader, store: Store, api: MarketApi, file: ProposalFile, bundle: Bundle) -> None:
    """Upload a workload, and post its signed proposal. Raises as their servers do, and :class:`UnknownAsset`."""
    head = chain.head()
    for one in file.signed.proposal.assets:
        asset_state(chain, head, one.asset_id, one.version)
    store.put_workload(bundle)
    api.proposals.post(file.signed)


def proposal_file(party: Party, proposal: Proposal, detail: ProposalDetail, bundle: Bundle, now: int) -> ProposalFile:
    """Sign a proposal, and put it together with its source. Raises :class:`ProposalRefused`."""
    signed = SignedProposal(proposal=proposal, detail=detail, signature=party.sign(proposal))
    require_whole(signed, now)
    return ProposalFile(signed=signed, archive=HexBytes(pack(bundle)))


def write_proposal(path: Path, file: ProposalFile) -> None:
    """Write a proposal to a new file, without its source where that is large. Raises FileExistsError."""
    archive = file.archive if len(file.archive) <= MAXIMUM_ARCHIVE else HexBytes()
    with path.open("xb") as out:
        out.write(ProposalFile(signed=file.signed, archive=archive).canonical())


def inspect_file(path: Path, chain: ChainReader, store: Store) -> Inspected:
    """A proposal from a file.

    Raises:
        ProposalFileRefused: it cannot be read, or is none.
        ProposalRefused, SignatureRefused: it does not hold together.
    """
    try:
        file = decode(ProposalFile, read_file(path, MAXIMUM_FILE))
    except OSError as error:
        raise ProposalFileRefused(path, error.strerror or "it cannot be read") from error
    except MalformedDocument as error:
        raise ProposalFileRefused(path, error.message) from error
    return _inspected(file.signed, chain, store, bytes(file.archive), chain.head().timestamp)


def inspect(proposal_hash: Bytes32, chain: ChainReader, store: Store, api: MarketApi) -> Inspected:
    """A proposal of the market by its hash, with its source measured again.

    Raises:
        ItemNotFound: the server has no such proposal, or the store no such workload.
        ProposalRefused, SignatureRefused, ContentMismatch: what they sent is something else.
    """
    now = chain.head().timestamp
    return _inspected(api.proposals.proposal(proposal_hash), chain, store, b"", now)


def _inspected(signed: SignedProposal, chain: ChainReader, store: Store, archive: bytes, now: int) -> Inspected:
    proposal_hash = require_whole(signed, now)
    require_signed(chain, signed.proposal, signed.signature, signed.proposal.consumer)
    wanted = signed.proposal.workload_digest
    try:
        bundle = unpack(archive) if archive else store.workload(wanted)
        bundle.require(wanted)
    except (WorkloadError, MalformedDocument) as error:
        raise ProposalRefused(
            f"its source is not workload {wanted}: {error.message}", remedy="do not use it"
        ) from error
    return Inspected(proposal_hash, signed, bundle)


def require_signed(chain: ChainReader, statement: TypedShape, signature: bytes, signer: Address) -> None:
    """Return if an account's key signed a statement for this market, or its contract says so.

    Raises:
        ProposalRefused: neither.
        ChainError: a contract cannot be asked.
    """
    if not signed_by(chain, statement, signature, signer):
        raise ProposalRefused(
            f"the {type(statement).__name__} is not signed by {signer.checksum} for this market", remedy="do not use it"
        )


def signed_by(chain: ChainReader, statement: TypedShape, signature: bytes, signer: Address) -> bool:
    """Whether an account signed a statement for this market."""
    digest = statement.digest(chain.book.chain_id, chain.book.market)
    try:
        if recover(digest, signature) == signer:
            return True
    except SignatureRefused:
        pass
    if not isinstance(chain, Chain):
        return False
    from sealmarket.chain.erc1271 import contract_accepts

    return contract_accepts(chain, signer, digest, signature)


def standings(chain: ChainReader, at: Block, proposal: Proposal, answers: Iterable[SignedAnswer]) -> list[Standing]:
    """Where a proposal stands with each owner: answers that do not count are left out."""
    given = list(answers)
    found = []
    for one in proposal.assets:
        owner = asset_state(chain, at, one.asset_id, one.version).owner
        newest = max(_counting(chain, proposal, one, owner, given), key=lambda a: a.answer.signed_at, default=None)
        found.append(Standing(one, owner, newest))
    return found


def _counting(
    chain: ChainReader, proposal: Proposal, asset: ProposedAsset, owner: Address, answers: list[SignedAnswer]
) -> Iterator[SignedAnswer]:
    for signed in answers:
        answer = signed.answer
        try:
            require_answer(signed, proposal)
        except ProposalRefused:
            continue
        about = (answer.asset_id, answer.version) == (asset.asset_id, asset.version)
        if about and signed_by(chain, answer, signed.signature, owner):
            yield signed


def sign_answer(
    party: Party, proposal: Proposal, asset: ProposedAsset, allowed_version: int, reason: str, now: int
) -> SignedAnswer:
    """An owner's answer about one version of a proposal that they have inspected; ``allowed_version`` 0 declines."""
    answer = ProposalAnswer(
        proposal_hash=proposal.struct_hash(),
        asset_id=asset.asset_id,
        version=asset.version,
        workload_digest=proposal.workload_digest,
        purpose=proposal.purpose,
        approved=bool(allowed_version),
        allowed_version=allowed_version,
        reason_hash=keccak(reason.encode()),
        signed_at=now,
    )
    return SignedAnswer(answer=answer, reason=reason, signature=party.sign(answer))
