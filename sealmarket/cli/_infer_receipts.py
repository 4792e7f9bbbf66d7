"""``sealmarket infer receipts``, ``receipt`` and ``status``: what was asked of a service, checked without a network."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._infer_service import ServiceId, folder_of
from sealmarket.cli._options import AsJson, Usage, answer, choice, coins, hash_option
from sealmarket.cli._plain import harmless
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.protocol.errors import SealmarketError

if TYPE_CHECKING:
    from sealmarket.inference.receipts import KeptReceipt

_MOST_BODY = 64 << 20
_AIR_KEY = "air.key"


def receipts(service: ServiceId, as_json: AsJson = False) -> None:
    """List the receipts of a service, each checked offline. Exit 0 if all hold, else 1.

    Example: sealmarket infer receipts --service ID
    """
    rows = [(one, _wrong(one)) for one in _kept(service)]
    payload = [
        {
            "receipt": str(one.name),
            "number": int(one.signed.receipt.number),
            "promptUnits": int(one.signed.receipt.prompt_units),
            "outputUnits": int(one.signed.receipt.output_units),
            "keptAt": int(one.kept_at),
            "brokenOff": one.code.value if one.code else None,
            "holds": not wrong,
        }
        for one, wrong in rows
    ]
    answer(payload, [_line(one, wrong) for one, wrong in rows] or ["no receipt"], as_json)
    raise typer.Exit(1 if any(wrong for _, wrong in rows) else 0)


def receipt(
    name: Annotated[str, typer.Argument(help="The receipt, as `sealmarket infer receipts` lists it.")],
    service: ServiceId,
    request: Annotated[Path | None, typer.Option(help="The body that was asked, to be held against it.")] = None,
    response: Annotated[Path | None, typer.Option(help="The body that was answered, likewise.")] = None,
    meter: Annotated[
        Path | None, typer.Option(help="The folder of the service's meter, which then counts again.", exists=True)
    ] = None,
    wheels: Annotated[Path | None, typer.Option(help="A folder that holds the meter's wheels already.")] = None,
    form: Annotated[str, typer.Option("--format", help="json or air.")] = "json",
    nonce: Annotated[
        str | None, typer.Option(help="Of format air: 8 to 64 bytes in hex that its reader chose.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new file for it.")] = None,
) -> None:
    """Check one receipt offline, with the bodies if you kept them, and print it or write it.

    With --meter and both bodies the meter counts the units again, in an enclave's sandbox on this machine.

    Format air is an Attested Inference Receipt, signed by a key of yours, whose public half is printed.

    Example: sealmarket infer receipt NAME --service ID --request asked.json --response answered.json
    """
    from sealmarket.inference.receipts import check_kept

    choice(form, "json", "air")
    wanted = hash_option(name)
    found = next((one for one in _kept(service) if one.name == wanted), None)
    if found is None:
        raise Usage(f"there is no receipt {name}", remedy="`sealmarket infer receipts` lists them")
    bodies = [read_file(path, _MOST_BODY) if path else None for path in (request, response)]
    check_kept(found, request=bodies[0], response=bodies[1])
    if meter is not None:
        progress(_recounted(found, meter, wheels, *bodies))
    if form == "air" and out is None:
        raise Usage("an AIR is no text", remedy="name a new file with --out")
    raw = _air(found, folder_of(service), nonce) if form == "air" else found.canonical()
    if out is None:
        typer.echo(raw.decode())
        return
    with out.open("xb") as file:
        file.write(raw)


def air(
    file: Annotated[Path, typer.Argument(help="An Attested Inference Receipt (COSE).", exists=True, dir_okay=False)],
    key: Annotated[str, typer.Option(help="The issuer's Ed25519 public key that you trust: 32 bytes in 0x hex.")],
    nonce: Annotated[str | None, typer.Option(help="The nonce that it must have, in hex.")] = None,
    model: Annotated[str | None, typer.Option(help="The model hash that it must have: 32 bytes in 0x hex.")] = None,
    platform: Annotated[str | None, typer.Option(help="The platform: nitro-pcr or tdx-mrtd-rtmr.")] = None,
) -> None:
    """Verify an Attested Inference Receipt of any issuer. Exit 0 if it is accepted, else 1 with layer and code.

    Example: sealmarket infer air receipt.air --key 0xPUBLIC
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from sealmarket.inference.air import MOST_BYTES, AirPolicy, verify_air

    policy = AirPolicy(
        nonce=_hex(nonce), model_hash=bytes(hash_option(model)) if model is not None else None, platform=platform
    )
    public = Ed25519PublicKey.from_public_bytes(bytes(hash_option(key)))
    claims = verify_air(read_file(file, MOST_BYTES), public, policy)
    for label, value in claims.items():
        typer.echo(harmless(f"{label}: {value.hex() if isinstance(value, bytes) else value}"))


def _recounted(
    found: KeptReceipt, folder: Path, wheels: Path | None, request: bytes | None, response: bytes | None
) -> str:
    from sealmarket.inference.recount import recount
    from sealmarket.workloads.cache import WorkloadCache
    from sealmarket.workloads.folders import read_bundle
    from sealmarket.workloads.steps import Step

    if request is None or response is None:
        raise Usage("a meter counts bodies", remedy="name both with --request and --response")
    bundle = read_bundle(folder)
    step = Step(bundle.manifest.name, bundle, folder, WorkloadCache.of_user())
    counted = recount(found, step, request, response, wheels)
    return f"the meter counts {counted.prompt} units of prompt and {counted.output} of answer: no more was charged"


def _air(found: KeptReceipt, folder: Path, nonce: str | None) -> bytes:
    """The receipt as an AIR under the user's key for this service, which is made with the first."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from sealmarket.inference.air import make_air
    from sealmarket.private_files import read_private, write_private

    path = folder / _AIR_KEY
    if not path.exists():
        write_private(path, Ed25519PrivateKey.generate().private_bytes_raw())
    key = Ed25519PrivateKey.from_private_bytes(read_private(path))
    typer.echo(f"issuer's key 0x{key.public_key().public_bytes_raw().hex()}", err=True)
    return make_air(found, key, _hex(nonce))


def _hex(text: str | None) -> bytes | None:
    try:
        return None if text is None else bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise Usage(f"{text!r} is no hex", remedy="write an even number of digits 0-9 and a-f") from error


def status(service: ServiceId, as_json: AsJson = False) -> None:
    """What was proven of a service, its grants, and what it has cost you.

    Example: sealmarket infer status --service ID
    """
    from sealmarket.inference.grants import read_grants
    from sealmarket.inference.opening import known_facts
    from sealmarket.inference.receipts import units_of
    from sealmarket.serving.lock import holder_of

    folder = folder_of(service)
    try:
        facts = known_facts(folder)
    except OSError as error:
        raise _never_asked(service) from error
    grants, kept, holder = list(read_grants(folder)), list(_kept(service)), holder_of(folder)
    units, price = units_of(kept), int(facts.unit_price)
    lost = sum(grant.reserved for grant in grants if grant.state == "retired")
    payload: dict[str, Any] = {
        "service": facts,
        "process": holder,
        "grants": [
            {"state": one.state, "spent": one.spent, "cap": int(one.grant.cap), "why": one.why} for one in grants
        ],
        "receipts": len(kept),
        "units": units,
        "cost": str(units * price),
        "mostLostUnits": lost,
    }
    lines = [f"service {facts.job_id}, {facts.grade}", f"  asked by process {holder}" if holder else "  not asked now"]
    lines += [
        f"  grant {one.grant.struct_hash()}: {one.state}, {one.spent} of {one.grant.cap} units{_why(one.why)}"
        for one in grants
    ]
    lines += [f"  {len(kept)} receipts, {units} units, {coins(Wei(units * price))}"]
    lines += [f"  at most {lost} units more for answers that were lost"] if lost else []
    answer(payload, lines, as_json)


def _why(text: str) -> str:
    return f" ({text})" if text else ""


def _kept(service: str) -> list[KeptReceipt]:
    from sealmarket.inference.receipts import FILE, read_receipts

    folder = folder_of(service)
    if not folder.is_dir():
        raise _never_asked(service)
    path = folder / FILE
    return list(read_receipts(path)) if path.is_file() else []


def _never_asked(service: str) -> Usage:
    return Usage(f"service {service} was never asked from here", remedy="`sealmarket infer proxy` or `chat` asks it")


def _wrong(one: KeptReceipt) -> str:
    from sealmarket.inference.receipts import check_kept

    try:
        check_kept(one)
    except SealmarketError as error:
        return error.message
    return ""


def _line(one: KeptReceipt, wrong: str) -> str:
    found = one.signed.receipt
    when = datetime.fromtimestamp(int(one.kept_at), UTC).strftime("%Y-%m-%d %H:%M:%S")
    state = f"FAILED: {wrong}" if wrong else "holds"
    broken = f", broken off ({one.code.value})" if one.code else ""
    return f"{one.name} {when} number {found.number}: {found.prompt_units}+{found.output_units} units{broken}, {state}"
