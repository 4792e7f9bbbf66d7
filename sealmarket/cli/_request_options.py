"""What `quote` and `request` take alike, and what they make of it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._options import Usage, amount, asset_option, choice, hash_option, read_passphrase
from sealmarket.client.limits import JobLimits
from sealmarket.client.requests import AssetWish, Wanted, complete_parameters
from sealmarket.client.result_keys import load_result_key
from sealmarket.client.secret_parameters import MAXIMUM_SECRET
from sealmarket.files import read_file
from sealmarket.protocol.orders import Purpose
from sealmarket.sealing.keyfile import KeyFile as StoredKey
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_enclave.sealed.hpke import PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """The options of one request, as the command line has them."""

    workload: Annotated[Path, typer.Option("--workload", help="The workload's folder.", exists=True)]
    asset: Annotated[list[str], typer.Option("--asset", help="0xID, 0xID:VERSION, or its card; repeat in order.")]
    result_key: Annotated[Path, typer.Option("--result-key", help="Your result key file (`consumer key`).")]
    max_compute_price: Annotated[str, typer.Option(help="Most for the computation: 1500, or 1.5coin.")]
    parameter: Annotated[list[str] | None, typer.Option("--parameter", help="name=value; values are JSON or text.")] = (
        None
    )
    max_unit_price: Annotated[str, typer.Option(help="Most for one metered unit.")] = "0"
    max_units: Annotated[int, typer.Option(help="Most units.", min=0)] = 0
    min_penalty: Annotated[
        str, typer.Option(help="Least that a provider loses when it is at fault; the market has a least of its own.")
    ] = "0"
    timeout_limit: Annotated[
        str | None,
        typer.Option(
            help="Most that owners and provider together get when the workload's time is used up. Without it: the"
            " assets' prices and the compute price."
        ),
    ] = None
    run_seconds: Annotated[
        int | None, typer.Option(help="For importing and running the workload. Without it: by its manifest.", min=1)
    ] = None
    read_seconds: Annotated[
        int | None, typer.Option(help="For reading its inputs. Without it: by the memory that it may use.", min=1)
    ] = None
    validate_seconds: Annotated[
        int | None,
        typer.Option(
            help="For the owners' checks of its outputs. Without it: what is fair to each, and a minute.", min=1
        ),
    ] = None
    capability: Annotated[
        list[str] | None,
        typer.Option(
            help="The hash of a capability document that you accept; repeat; or any. Without it: offers without one;"
            " an owner who does not accept the machine then costs you the oracle's fees, and no hold fee."
        ),
    ] = None
    purpose: Annotated[str, typer.Option(help="train, fine_tune, infer or query.")] = "train"
    tee: Annotated[str, typer.Option(help="sgx, tdx, snp, cca or nitro.")] = "tdx"
    allow_simulated: Annotated[
        bool, typer.Option("--allow-simulated", help="Accept an enclave that NO hardware stands behind.")
    ] = False
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="A file with the passphrase; asked for otherwise.")
    ] = None


def result_key_of(options: RequestOptions) -> PrivateKey:
    """The result key, which asks for its passphrase where it has one."""
    return open_result_key(options.result_key, options.passphrase_file)


def open_result_key(path: Path, passphrase_file: Path | None) -> PrivateKey:
    """Read a result key. Raises :class:`Usage` for a file that is none."""
    try:
        encrypted = decode(StoredKey, read_file(path)).scrypt is not None
    except (OSError, MalformedDocument) as error:
        why = error.message if isinstance(error, MalformedDocument) else error.strerror
        raise Usage(f"{path} is no key file: {why}", remedy="make one with `sealmarket consumer key`") from error
    passphrase = read_passphrase(passphrase_file, f"Passphrase of {path}") if encrypted else None
    return load_result_key(path, passphrase=passphrase)


def wanted(options: RequestOptions, secrets: int = 0) -> Wanted:
    """What is asked for, with parameters that the workload takes. Reads files only.

    ``secrets``: so many inputs are still to come.
    """
    wishes = [_wish(text) for text in options.asset]
    bundle = read_bundle(options.workload)
    values = complete_parameters(bundle, parameters_of(options.parameter), len(wishes) + secrets)
    purpose = Purpose[choice(options.purpose, "train", "fine_tune", "infer", "query").upper()]
    return Wanted(workload=bundle, parameters=values, assets=wishes, limits=limits_of(options), purpose=purpose)


def secret_values(given: list[str] | None) -> dict[str, bytes]:
    """The values of ``NAME=@FILE``; ``@-`` reads the input. Raises :class:`Usage`."""
    found: dict[str, bytes] = {}
    for text in given or []:
        name, separator, path = text.partition("=@")
        if not separator or not name or not path or name in found:
            raise Usage(f"{text!r} is no secret parameter", remedy="write NAME=@FILE, each name once")
        try:
            found[name] = sys.stdin.buffer.read(MAXIMUM_SECRET + 1) if path == "-" else read_file(Path(path))
        except OSError as error:
            raise Usage(f"{path} cannot be read: {error.strerror}", remedy="name a file that is there") from error
    return found


def limits_of(options: RequestOptions) -> JobLimits:
    """The limits of a request."""
    return JobLimits(
        max_compute_price=amount(options.max_compute_price),
        max_unit_price=amount(options.max_unit_price),
        max_units=options.max_units,
        min_penalty=amount(options.min_penalty),
        timeout_limit=None if options.timeout_limit is None else amount(options.timeout_limit),
        run_seconds=options.run_seconds,
        read_seconds=options.read_seconds,
        validate_seconds=options.validate_seconds,
        capabilities=_capabilities(options.capability),
        tee=Tee[choice(options.tee, "sgx", "tdx", "snp", "cca", "nitro").upper()],
        min_grade=Grade.SIMULATED if options.allow_simulated else Grade.HARDWARE,
    )


def parameters_of(given: list[str] | None) -> dict[str, object]:
    """The values of ``name=value``, JSON or text. Raises :class:`Usage`."""
    found: dict[str, object] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Usage(f"{text!r} is no parameter", remedy="write name=value")
        try:
            found[name] = json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            found[name] = value
    return found


def _capabilities(named: list[str] | None) -> tuple[Bytes32, ...]:
    """The accepted capability documents, as :class:`JobLimits` names them."""
    if named is None:
        return (ZERO_HASH,)
    return () if named == ["any"] else tuple(map(hash_option, named))


def _wish(text: str) -> AssetWish:
    asset, version = asset_option(text)
    return AssetWish(asset_id=asset, version=version or 1)
