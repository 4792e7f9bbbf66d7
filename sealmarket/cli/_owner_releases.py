"""An owner's commands that deal the key of sealed data anew: for a release of the runtime, a committee, other terms.

The data is not encrypted again, and the version before goes on until its owner ends it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sealmarket.attestation.registry import Measurement
from sealmarket.chain import Chain
from sealmarket.cli._asking import Yes, confirm
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    DealtEpoch,
    KeyFile,
    MaxFee,
    OwnChain,
    PassphraseFile,
    PriorityFee,
    RpcUrl,
    Usage,
    amount,
    answer,
    load_key,
    market,
    read_passphrase,
    sending,
    written,
)
from sealmarket.cli._owner_terms import AssetArgument, version_of
from sealmarket.cli.release import ReleaseFolder, ReleaseKeys, checked_release
from sealmarket.client.approvals import Allowed, allowed_by
from sealmarket.client.committee import current_committee
from sealmarket.client.owner import Owner
from sealmarket.client.rewrapping import Changes, enclaves_in_force, without_enclaves
from sealmarket.client.sealed_asset import KEY, SealedAsset
from sealmarket.client.verified import VerifiedMarket
from sealmarket.client.written import moment_of
from sealmarket.files import read_file
from sealmarket.protocol.purposes import purpose_bits
from sealmarket.releases.documents import ReleasedMeasurements
from sealmarket.sealing.keyfile import KeyFile as StoredKey
from sealmarket_enclave.protocol.codec import decode

app = typer.Typer()

_Sealed = Annotated[
    Path, typer.Option("--asset", exists=True, file_okay=False, help="The version's sealed folder, with its data key.")
]
_Out = Annotated[Path, typer.Option("--out", help="A new folder for the next version.")]
_Kind = Annotated[str, typer.Option("--kind", help="The kind of job whose enclaves are meant: batch or session.")]


@app.command("approve-release")
def approve_release(
    release: ReleaseFolder,
    release_key: ReleaseKeys,
    asset: _Sealed,
    out: _Out,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    kind: _Kind = "batch",
    only: Annotated[bool, typer.Option("--only", help="Its enclaves alone, and none that are allowed now.")] = False,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Let the enclaves of a release open your data, under the next version: the key is dealt anew, the data stays.

    Example: sealmarket owner approve-release release --release-key publisher.pub --asset sealed --out next
    """
    sealed = SealedAsset.load(asset)
    measured = checked_release(release, release_key).measured
    with market(book, rpc, accept_code) as (chain, store, api):
        account = load_key(key_file)
        owner = Owner(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        VerifiedMarket(chain).require()
        allowed = allowed_by(chain, store, chain.head(), sealed.asset_id, sealed.version)
        present = enclaves_in_force(allowed)
        wanted = released_for(measured, allowed, kind)
        images = wanted if only else (*present, *(one for one in wanted if one not in present))
        if images == present:
            raise Usage("the version allows these enclaves already", remedy="nothing has to be done")
        confirm(_approval(measured, sealed, wanted, only=only), yes=yes)
        passphrase = _passphrase(asset, passphrase_file)
        made = owner.rewrap(sealed, out, Changes(enclaves=images), passphrase=passphrase)
        mined = owner.publish(made)
    lines = [
        f"version {made.version}, in {out}, is on chain in block {mined.block.number}; version {sealed.version} goes on"
    ]
    answer(made.summary, lines, as_json)


@app.command("withdraw-release")
def withdraw_release(
    release: ReleaseFolder,
    release_key: ReleaseKeys,
    asset: AssetArgument,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Take the enclaves of a release off a version's list, at once: no node accepts or releases for them any more.

    Example: sealmarket owner withdraw-release old-release --release-key publisher.pub 0xASSET:2
    """
    asset_id, version = version_of(asset, None)
    measured = checked_release(release, release_key).measured
    with market(book, rpc, accept_code) as (chain, store, api):
        account = load_key(key_file)
        owner = Owner(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        VerifiedMarket(chain).require()
        allowed = allowed_by(chain, store, chain.head(), asset_id, version)
        left = without_enclaves(allowed, (one.measurement for one in measured.enclaves))
        if left == allowed.pairs:
            raise Usage("the version allows no enclave of this release", remedy="name the version that does")
        if not left:
            remedy = f"approve another release first, or end the version: sealmarket owner revoke {asset}"
            raise Usage("the version allows no other enclave than this release's", remedy=remedy)
        confirm(f"enclaves of release {measured.release} open version {version} no more, in running jobs too", yes=yes)
        mined = owner.replace_allow_list(asset_id, version, left)
    answer(
        {"block": mined.block.number, "transaction": str(mined.transaction)},
        [f"on chain in block {mined.block.number}"],
        as_json,
    )


@app.command()
def rewrap(
    asset: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="The version's sealed folder, with its data key.")
    ],
    out: _Out,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    price: Annotated[str | None, typer.Option(help="Another price: 0.5coin, or 1500 in the smallest unit.")] = None,
    expiry: Annotated[str | None, typer.Option(help="Another end: 2027-01-31, in 90 days, or seconds.")] = None,
    max_uses: Annotated[int | None, typer.Option(help="So many uses; those that are left without it.", min=1)] = None,
    purposes: Annotated[str | None, typer.Option(help="Purposes, with commas: train, fine_tune, infer, query.")] = None,
    epoch: DealtEpoch = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Deal the key of a version anew to the newest committee, under other terms where you name some: the data stays.

    Example: sealmarket owner rewrap sealed --out next --price 0.5coin --expiry "in 90 days"
    """
    sealed = SealedAsset.load(asset)
    with market(book, rpc, accept_code) as (chain, store, api):
        account = load_key(key_file)
        owner = Owner(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        VerifiedMarket(chain).require()
        terms = _terms(chain, price, expiry, max_uses, purposes)
        committee = current_committee(chain, epoch)
        confirm(
            f"version {sealed.version + 1} gives the uses that are left again, to the committee of epoch"
            f" {committee.epoch}",
            yes=yes,
        )
        passphrase = _passphrase(asset, passphrase_file)
        made = owner.rewrap(sealed, out, Changes(terms=terms), epoch=committee.epoch, passphrase=passphrase)
        mined = owner.publish(made)
    lines = [
        f"version {made.version}, in {out}, is on chain in block {mined.block.number}; version {sealed.version} goes on"
    ]
    answer(made.summary, lines, as_json)


def released_for(measured: ReleasedMeasurements, allowed: Allowed, kind: str) -> tuple[Measurement, ...]:
    """The enclaves of a release for a kind of job, on the TEEs and of the grade that a version's policy accepts.

    Raises:
        Usage: there is none.
    """
    rules = allowed.rules()
    tees = {one.tee.slug for one in enclaves_in_force(allowed)}
    found = (one for one in measured.enclaves if (one.kind, one.tee in tees) == (kind, True))
    accepted = (one.measurement for one in found if one.grade == "hardware" or rules.lowest_grade == one.grade)
    graded = tuple(dict.fromkeys(accepted))  # two drivers may launch one image alike
    if not graded:
        wanted = f"an enclave of kind {kind} on {', '.join(sorted(tees))}, of grade {rules.lowest_grade} or better"
        raise Usage(f"release {measured.release} has not got {wanted}", remedy="look at it: sealmarket release check")
    return graded


def _approval(
    measured: ReleasedMeasurements, sealed: SealedAsset, wanted: tuple[Measurement, ...], *, only: bool
) -> str:
    names = ", ".join(str(one.digest()) for one in wanted)
    others = "alone" if only else "beside those that may now"
    version = f"{sealed.asset_id} as version {sealed.version + 1}"
    return f"enclaves {names} of release {measured.release} may open {version}, {others}"


def _terms(
    chain: Chain, price: str | None, expiry: str | None, max_uses: int | None, purposes: str | None
) -> dict[str, Any]:
    now = chain.head().timestamp
    named = {
        "price": amount(price) if price else None,
        "expiry": written(lambda text: moment_of(text, now), expiry) if expiry else None,
        "max_uses": max_uses,
        "purposes": written(purpose_bits, purposes) if purposes else None,
    }
    return {name: value for name, value in named.items() if value is not None}


def _passphrase(folder: Path, file: Path | None) -> str | None:
    path = folder / KEY
    encrypted = decode(StoredKey, read_file(path)).scrypt is not None
    return read_passphrase(file, f"Passphrase of {path}") if encrypted else None
