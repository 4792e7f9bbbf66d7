"""A consumer's commands for workloads that owners have not allowed yet, and the card of what one made."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from sealmarket.chain import Chain
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    OwnChain,
    RpcUrl,
    Usage,
    answer,
    asset_option,
    hash_option,
    load_key,
    market,
    require_cards_of,
    written,
)
from sealmarket.cli._proposal_words import standing_lines, summary
from sealmarket.client.approvals import running_version
from sealmarket.client.party import Party
from sealmarket.client.proposals import (
    Standing,
    draft_proposal,
    inspect,
    post_proposal,
    proposal_file,
    read_samples,
    standings,
    write_proposal,
)
from sealmarket.client.requests import complete_parameters
from sealmarket.protocol.proposals import ProposalDetail, ProposedAsset
from sealmarket.protocol.purposes import purpose_bits
from sealmarket.store.blobs import Store
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import Bytes32, to_builtins

app = typer.Typer()


@app.command()
def propose(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    workload: Annotated[Path, typer.Option("--workload", help="The workload's folder.", exists=True)],
    asset: Annotated[list[str], typer.Option("--asset", help="0xID, 0xID:VERSION, or a card; repeat in order.")],
    purpose: Annotated[str, typer.Option(help="train, fine_tune, infer or query.")] = "train",
    parameter: Annotated[list[str] | None, typer.Option("--parameter", help="name=value, as for `request`.")] = None,
    sample_output: Annotated[
        list[Path] | None,
        typer.Option("--sample-output", help="A file that it made; repeat.", exists=True),
    ] = None,
    note: Annotated[str, typer.Option("--note", help="What the owners should know.")] = "",
    file: Annotated[Path | None, typer.Option("--file", help="Also write it to this new file.")] = None,
    accept_code: AcceptCode = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Show owners a workload that they have not allowed: source, purpose, parameters and samples, signed by you.

    Example: sealmarket consumer propose --workload workload --asset 0xA --asset 0xB --parameter target=mdvis
    --sample-output metrics.json --book market.json --rpc URL --key-file consumer.key
    """
    bundle, assets = read_bundle(workload), [_version(text) for text in asset]
    values = complete_parameters(bundle, _parameters(parameter or []), len(assets))
    detail = ProposalDetail(parameters=dict(values), note=note, samples=read_samples(sample_output or ()))
    with market(book, rpc, accept_code) as (chain, store, api):
        require_cards_of(chain.book, asset)
        party, now = Party(chain, load_key(key_file), development=development), chain.head().timestamp
        wanted = written(purpose_bits, purpose)
        proposal = draft_proposal(party.address, bundle, assets, wanted, detail, now)
        signed = proposal_file(party, proposal, detail, bundle, now)
        if file is not None:
            write_proposal(file, signed)
        typer.echo(f"uploading workload {bundle.digest}", err=True)
        post_proposal(chain, store, api, signed, bundle)
    key = proposal.struct_hash()
    lines = [f"proposal {key} is with the owners of {len(assets)} assets"]
    lines += [f"  and in {quote(str(file))}, to be sent by other ways"] if file else []
    lines.append(f"next: sealmarket consumer proposal {key} shows who has signed")
    answer({"proposal": str(key), **to_builtins(proposal)}, lines, as_json)


@app.command()
def proposal(
    proposal: Annotated[str, typer.Argument(metavar="PROPOSAL", help="The proposal's hash.")],
    book: BookFile,
    rpc: RpcUrl,
    as_json: AsJson = False,
) -> None:
    """Show which owners have approved or declined a proposal, and whether the chain lets the workload run.

    Example: sealmarket consumer proposal 0xPROPOSAL --book market.json --rpc URL
    """
    key = hash_option(proposal)
    with market(book, rpc) as (chain, store, api):
        found, block = inspect(key, chain, store, api), chain.final()
        stands = standings(chain, block, found.proposal, api.proposals.answers(key))
        digest = found.proposal.workload_digest
        versions = [_runs_in(chain, store, one, digest) for one in stands]
    lines = [f"proposal    {key}", *summary(found.proposal, block.timestamp)]
    for one, version in zip(stands, versions, strict=True):
        lines += [*standing_lines(one, block.timestamp), f"  {_on_chain(version)}"]
    ready = all(versions)
    lines.append("next: " + (_request(stands, versions) if ready else "wait until every owner lets it in"))
    payload = {
        "proposal": str(key),
        "ready": ready,
        "owners": [
            {
                "owner": one.owner.checksum,
                "assetId": str(one.asset.asset_id),
                "version": one.asset.version,
                "answer": None if one.answer is None else "approved" if one.approved else "declined",
                "runsIn": version,
            }
            for one, version in zip(stands, versions, strict=True)
        ],
    }
    answer(payload, lines, as_json)


def _runs_in(chain: Chain, store: Store, standing: Standing, digest: Bytes32) -> int | None:
    """The version that lets the workload run at the newest final block: what the chain says, not what was signed."""
    return running_version(chain, store, chain.final(), standing.asset.asset_id, standing.asset.version, digest)


def _on_chain(version: int | None) -> str:
    return "on chain: not allowed to run yet" if version is None else f"on chain: version {version} lets it run"


def _request(stands: list[Standing], versions: list[int | None]) -> str:
    named = " ".join(f"--asset {one.asset.asset_id}:{version}" for one, version in zip(stands, versions, strict=True))
    return f"sealmarket consumer request {named} with the same workload and parameters"


def _version(text: str) -> ProposedAsset:
    asset, version = asset_option(text)
    return ProposedAsset(asset_id=asset, version=version or 1)


def _parameters(given: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Usage(f"{text[:80]!a} is no parameter", remedy="write name=value")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
