"""An owner's commands about workloads that consumers propose: list, inspect, approve, decline."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from sealmarket.chain import Chain, Mined
from sealmarket.cli._asking import Yes, confirm
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PassphraseFile,
    PriorityFee,
    RpcUrl,
    Usage,
    answer,
    hash_option,
    home_folder,
    load_key,
    market,
    read_passphrase,
    sending,
)
from sealmarket.cli._proposal_words import changes, details, listed, source, summary
from sealmarket.client.answers import GivenAnswers, InspectedProposals
from sealmarket.client.approvals import Allowed, allowed_by, running_version
from sealmarket.client.owner import Owner
from sealmarket.client.party import Party
from sealmarket.client.proposals import Inspected, inspect, inspect_file, sign_answer
from sealmarket.client.rewrapping import Changes
from sealmarket.client.sealed_asset import KEY, SealedAsset
from sealmarket.client.signing import address_of, identity_of
from sealmarket.client.source_diff import differences
from sealmarket.client.written import moment
from sealmarket.files import read_file
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.proposals import LONGEST_NOTE, ProposedAsset, SignedAnswer
from sealmarket.protocol.purposes import purposes_of
from sealmarket.sealing.keyfile import KeyFile as StoredKey
from sealmarket.service.errors import ItemNotFound, ServiceError
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Address, decode, to_builtins

app = typer.Typer()

_Proposal = Annotated[str, typer.Argument(metavar="PROPOSAL", help="The proposal's hash, or its file.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; the consumer and your records show it.")]


@app.command()
def proposals(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    after: Annotated[str | None, typer.Option(help="Go on where the page before ended, as it says.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the open proposals about your assets, a page of 32; the senders come by turns.

    Example: sealmarket owner proposals --book market.json --rpc URL --key-file owner.key
    """
    account = load_key(key_file)
    with market(book, rpc) as (chain, _store, api):
        api.sign_in_as(identity_of(account, chain.book))
        now = chain.head().timestamp
        page = api.proposals.about(address_of(account), after)
    payload = [{"proposal": str(one.struct_hash()), **to_builtins(one)} for one in page.items]
    lines = []
    for one in page.items:
        names = ", ".join(purpose.name.lower() for purpose in purposes_of(one.purpose))
        lines += [f"{one.struct_hash()}", f"  {names} by {one.consumer.checksum}, open until {moment(one.expiry, now)}"]
    lines = lines or ["no open proposal is about your assets"]
    lines += ["next: sealmarket owner inspect PROPOSAL"] if page.items else []
    lines += [f"more: --after {page.next}"] if page.next else []
    answer({"proposals": payload, "next": page.next}, lines, as_json)


@app.command("inspect")
def inspect_command(
    proposal: _Proposal,
    book: BookFile,
    rpc: RpcUrl,
    diff: Annotated[str | None, typer.Option("--diff", help="An earlier proposal to compare with.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="Show one file of the source, whole.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new folder for the source.")] = None,
    dependencies: Annotated[
        bool, typer.Option("--dependencies", help="Fetch the locked wheels, and compare what it lists of them.")
    ] = False,
    wheels: Annotated[Path | None, typer.Option("--wheels", help="A folder that holds the wheels: compare.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a proposal asks for, its source, samples and what changed. Nothing in it is run.

    The source is what you read; its dependencies are wheels, listed file by file. With --dependencies or --wheels the
    list, and the bytecode in it, is compared with the wheels.

    Example: sealmarket owner inspect 0xPROPOSAL --diff 0xEARLIER --book market.json --rpc URL
    """
    with market(book, rpc) as (chain, store, api):
        found = _read(proposal, chain, store, api)
        earlier = _read(diff, chain, store, api) if diff else None
        now = chain.head().timestamp
        if compared := dependencies or wheels is not None:
            _compare_dependencies(found, wheels)
        InspectedProposals(home_folder(), chain.book).keep(found.hash)
    if file is not None and file not in found.bundle.files:
        raise Usage(f"the source has no file {file[:200]!a}", remedy="see the list without --file")
    if out is not None:
        found.bundle.write(out)
    lines = [f"proposal    {found.hash}", *summary(found.proposal, now), *details(found)]
    lines += list(changes(list(differences(earlier.bundle, found.bundle)))) if earlier else []
    lines += list(source(found.bundle, file)) if earlier is None or file else []
    lines += listed(found.bundle, compared=compared)
    lines += [f"the source is in {out}"] if out else []
    lines += [
        f"next: sealmarket owner approve {quote(proposal)}, or decline it",
        "      what you approve may read all rows inside the enclave; read the source first",
    ]
    payload = {"proposal": str(found.hash), **to_builtins(found.proposal), "files": sorted(found.bundle.files)}
    payload["dependenciesCompared"] = compared
    answer(payload, lines, as_json)


@app.command()
def approve(
    proposal: _Proposal,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    reason: _Reason = "",
    sealed: Annotated[
        Path | None, typer.Option("--sealed", help="The asset's sealed folder, where a new version is needed.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new folder for that version.")] = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Approve a proposal for your assets: sign it, and let the workload onto the list on chain.

    A workload that your policy does not name needs key shares under one that does: the next version of the same
    content, made from --sealed, with the terms in force and the uses that are left.

    Example: sealmarket owner approve 0xPROPOSAL --sealed sealed --out sealed-2 --book market.json --rpc URL
    --key-file owner.key
    """
    _require_reason(reason)
    with market(book, rpc, accept_code) as (chain, store, api):
        found, account = _read(proposal, chain, store, api), load_key(key_file)
        _require_inspected(chain, found, proposal)
        owner = Owner(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        mine = _mine(chain, store, found, owner.address)
        folder = _sealed_for(mine, found, sealed, out)
        confirm(_consequence(mine, found), yes=yes)
        party = Party(chain, account, development=development)
        signed = []
        for case in mine:
            base = partial(allowed_by, chain, store, chain.head(), case.asset.asset_id)
            version = _allow(owner, case, found, base, folder, out, passphrase_file)
            now = chain.head().timestamp
            signed.append(sign_answer(party, found.proposal, case.asset, version, reason, now))
            _keep(chain, api, found, signed[-1], owner.address)
    payload = {"proposal": str(found.hash), "approved": [to_builtins(one.answer) for one in signed]}
    lines = [f"proposal {found.hash} is approved and signed"]
    for one in signed:
        lines.append(
            f"  asset {one.answer.asset_id} version {one.answer.allowed_version} runs {one.answer.workload_digest}"
        )
        if version != one.answer.version:
            lines.append(f"  version {one.answer.version} stays on sale until you revoke it")
    answer(payload, lines, as_json)


@app.command()
def decline(
    proposal: _Proposal,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    reason: _Reason = "",
    accept_code: AcceptCode = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Decline a proposal for your assets, by signature. It changes nothing on chain.

    Example: sealmarket owner decline 0xPROPOSAL --reason "it writes rows out" --book market.json --rpc URL
    --key-file owner.key
    """
    _require_reason(reason)
    with market(book, rpc, accept_code) as (chain, store, api):
        found, account = _read(proposal, chain, store, api), load_key(key_file)
        party = Party(chain, account, development=development)
        signed = []
        for case in _mine(chain, store, found, party.address):
            signed.append(sign_answer(party, found.proposal, case.asset, 0, reason, chain.head().timestamp))
            _keep(chain, api, found, signed[-1], party.address)
    payload = {"proposal": str(found.hash), "declined": [to_builtins(one.answer) for one in signed]}
    answer(payload, [f"proposal {found.hash} is declined and signed"], as_json)


def _compare_dependencies(found: Inspected, wheels: Path | None) -> None:
    """Hold what the workload lists of its wheels against them; raises as :func:`.dependencies.compare`."""
    from sealmarket.workloads.cache import WorkloadCache
    from sealmarket.workloads.dependencies import compare

    compare(found.bundle, WorkloadCache.of_user(), wheels)


def _read(proposal: str, chain: Chain, store: Store, api: MarketApi) -> Inspected:
    path = Path(proposal)
    if not proposal.startswith("0x") and path.exists():
        return inspect_file(path, chain, store)
    return inspect(hash_option(proposal), chain, store, api)


def _require_inspected(chain: Chain, found: Inspected, proposal: str) -> None:
    """Refuse what was not shown here: another proposal may have taken the place of the one that was."""
    if found.hash not in InspectedProposals(home_folder(), chain.book):
        raise Usage(
            f"proposal {found.hash} was not inspected on this machine",
            remedy=f"read it first: sealmarket owner inspect {quote(proposal)}",
        )


def _require_reason(reason: str) -> None:
    if len(reason) > LONGEST_NOTE:
        raise Usage(f"a reason has at most {LONGEST_NOTE} characters, found {len(reason)}", remedy="shorten it")


@dataclass(frozen=True, slots=True)
class _Case:
    """One of the owner's versions in a proposal: what it allows, and the version that runs the workload already."""

    asset: ProposedAsset
    allowed: Allowed
    runs_in: int | None


def _mine(chain: Chain, store: Store, found: Inspected, owner: Address) -> list[_Case]:
    """The proposal's versions that belong to an owner, as they stand now. Raises :class:`Usage` where none does."""
    head, digest, mine = chain.head(), found.proposal.workload_digest, []
    for one in found.proposal.assets:
        allowed = allowed_by(chain, store, head, one.asset_id, one.version)
        if allowed.state.owner == owner:
            running = running_version(chain, store, head, one.asset_id, one.version, digest)
            mine.append(_Case(one, allowed, running))
    if not mine:
        raise Usage(
            f"no asset of proposal {found.hash} belongs to {owner.checksum}",
            remedy="use the owner's account (--key-file)",
        )
    return mine


def _sealed_for(mine: list[_Case], found: Inspected, sealed: Path | None, out: Path | None) -> SealedAsset | None:
    """The sealed folder, where a version has to be made for the workload; None where lists suffice."""
    digest = found.proposal.workload_digest
    lacking = [case.asset for case in mine if case.runs_in is None and not case.allowed.named(digest)]
    if not lacking:
        return None
    if len(lacking) > 1:
        raise Usage(
            f"{len(lacking)} of your assets need a new version for this workload, and one command makes one",
            remedy="ask the consumer for a proposal for each, or seal them anew with the workload in their policies",
        )
    if sealed is None or out is None:
        raise Usage(
            f"the policy of asset {lacking[0].asset_id} version {lacking[0].version} does not name this workload, so"
            " its key shares open for no list on chain that does",
            remedy="name the asset's newest folder with --sealed and a new one with --out: it makes the next version",
        )
    folder = SealedAsset.load(sealed)
    if folder.asset_id != lacking[0].asset_id or folder.version < lacking[0].version:
        raise Usage(
            f"{sealed} holds asset {folder.asset_id} version {folder.version}, expected {lacking[0].asset_id} version"
            f" {lacking[0].version} or later",
            remedy="name the folder of the asset's newest version",
        )
    return folder


def _consequence(mine: list[_Case], found: Inspected) -> str:
    digest = found.proposal.workload_digest
    known = all(case.runs_in for case in mine)
    assets = ", ".join(f"{case.asset.asset_id} version {case.asset.version}" for case in mine)
    done = "the chain lets it in already" if known else "your approval lets it in on chain"
    return f"workload {digest} may read all rows of {assets}, inside the enclave: {done}"


def _allow(
    owner: Owner,
    case: _Case,
    found: Inspected,
    base: Callable[[int], Allowed],
    folder: SealedAsset | None,
    out: Path | None,
    passphrase_file: Path | None,
) -> int:
    """Let the workload in; returns the version that allows it. ``base`` reads what another version allows."""
    digest, asset = found.proposal.workload_digest, case.asset
    if case.runs_in is not None:
        return case.runs_in
    if case.allowed.named(digest):
        mined = owner.replace_allow_list(asset.asset_id, asset.version, case.allowed.with_workload(digest))
        _tell(mined, "the list")
        return asset.version
    assert folder is not None
    assert out is not None
    passphrase = _passphrase(folder.folder / KEY, passphrase_file)
    workloads = (*base(folder.version).workloads(), digest)
    made = owner.rewrap(folder, out, Changes(workloads=workloads), passphrase=passphrase)
    _tell(owner.publish(made), f"version {made.version}, in {out},")
    return made.version


def _tell(mined: Mined, what: str) -> None:
    typer.echo(f"{what} is on chain in block {mined.block.number}, transaction {mined.transaction}", err=True)


def _passphrase(path: Path, file: Path | None) -> str | None:
    encrypted = decode(StoredKey, read_file(path)).scrypt is not None
    return read_passphrase(file, f"Passphrase of {path}") if encrypted else None


def _keep(chain: Chain, api: MarketApi, found: Inspected, signed: SignedAnswer, owner: Address) -> None:
    """Note an answer here first, so that the owner's own record does not rest on a server; then post it.

    A proposal that came as a file may be unknown to the server: it is posted with the answer.
    """
    GivenAnswers(home_folder(), chain.book, owner).keep(signed)
    try:
        with suppress(ItemNotFound):
            api.proposals.answer(signed)
            return
        api.proposals.post(found.signed)
        api.proposals.answer(signed)
    except ServiceError as error:
        typer.echo(f"WARNING: the answer is kept on this machine alone: {error.message}", err=True)
