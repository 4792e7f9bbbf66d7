"""Move sealed containers, check them without a key, prove one chunk, open your own."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._options import AsJson, PassphraseFile, Usage, answer, hash_option, read_passphrase
from sealmarket.files import read_file
from sealmarket.sealing.chunk_proof import MAXIMUM_CHUNK, MAXIMUM_PROOF, ChunkProof, check_chunk, prove_chunk
from sealmarket.sealing.keyfile import KeyKind, is_encrypted, read_key_file
from sealmarket.store.download import download
from sealmarket.store.places import put_at, source_at
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.errors import NotAContainer
from sealmarket_enclave.sealed.header import HEADER_BYTES, TAG_BYTES

app = typer.Typer(no_args_is_help=True, help="Move sealed containers, check them without a key, prove one chunk.")

_File = Annotated[Path, typer.Argument(help="The sealed container.", exists=True, dir_okay=False)]
_Root = Annotated[str, typer.Option("--root", help="Its content root, from the chain or an asset card.")]


@app.command()
def put(
    file: _File,
    place: Annotated[str, typer.Argument(help="A folder, s3://BUCKET/KEY, or the URL of a store.")],
    root: Annotated[str | None, typer.Option("--root", help="Put nothing but the container of this root.")] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a sealed container to a folder, a bucket or a store. One that was interrupted goes on.

    Example: sealmarket container put sealed/container.sealed s3://bucket/data/
    """
    wanted = _root_of(file) if root is None else hash_option(root)
    found = put_at(place, file, wanted)
    answer({"contentRoot": str(wanted), "place": found}, [f"put {wanted}", f"  at {found}"], as_json)


@app.command()
def fetch(
    place: Annotated[str, typer.Argument(help="A file or folder, s3://BUCKET/KEY, or a URL.")],
    file: Annotated[Path, typer.Argument(help="Where it goes.", dir_okay=False)],
    root: _Root,
    as_json: AsJson = False,
) -> None:
    """Fetch a sealed container and hold every byte against its root. One that was interrupted goes on.

    Example: sealmarket container fetch s3://bucket/data/ container.sealed --root ROOT
    """
    wanted = hash_option(root)
    with source_at(place, wanted) as source:
        download(source, wanted, file)
    size = file.stat().st_size
    answer({"contentRoot": str(wanted), "bytes": size}, [f"fetched {wanted}", f"  {size} bytes in {file}"], as_json)


@app.command()
def prove(
    file: _File,
    index: Annotated[int, typer.Argument(help="The chunk; the first is 0.", min=0)],
    out: Annotated[Path, typer.Option("--out", help="Where the proof goes.")],
    chunk: Annotated[Path | None, typer.Option("--chunk", help="Where the chunk itself goes, still sealed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the proof that one chunk is in a container. The chunk stays sealed; no key is needed.

    Example: sealmarket container prove sealed/container.sealed 0 --out proof.json --chunk chunk.bin
    """
    with _opened(file) as opened:
        raw = opened.read(HEADER_BYTES)
        opened.seek(0)
        reader = ContainerReader(opened, bytes(Bytes32.length))
        root, leaves = reader.hashed()
        proof = prove_chunk(raw, leaves, index)
        start = HEADER_BYTES + index * (reader.header.chunk_size + TAG_BYTES)
        sealed = os.pread(opened.fileno(), reader.header.plain_size(index) + TAG_BYTES, start)
    check_chunk(proof, sealed, root)
    out.write_bytes(proof.canonical())
    if chunk is not None:
        chunk.write_bytes(sealed)
    lines = [f"chunk {index} of {reader.header.chunk_count} of {root}", f"  proof in {out}"]
    answer({"contentRoot": str(root), "index": index, "siblings": len(proof.siblings)}, lines, as_json)


@app.command()
def check(
    proof: Annotated[Path, typer.Argument(help="What `container prove` wrote.", exists=True, dir_okay=False)],
    chunk: Annotated[Path, typer.Argument(help="The chunk, still sealed.", exists=True, dir_okay=False)],
    root: _Root,
    as_json: AsJson = False,
) -> None:
    """Hold one chunk against a content root by its proof, without the rest of the container and without a key.

    Example: sealmarket container check proof.json chunk.bin --root ROOT
    """
    wanted = hash_option(root)
    read = decode_canonical(ChunkProof, read_file(proof, MAXIMUM_PROOF))
    header = check_chunk(read, read_file(chunk, MAXIMUM_CHUNK), wanted)
    payload = {"contentRoot": str(wanted), "index": read.index, "assetId": str(header.asset_id),
               "assetVersion": header.asset_version}  # fmt: skip
    lines = [
        f"the chunk is number {read.index} of {header.chunk_count} of {wanted}",
        f"  of asset {header.asset_id} version {header.asset_version}",
    ]
    answer(payload, lines, as_json)


@app.command("open")
def open_(
    file: _File,
    key: Annotated[
        Path, typer.Option("--key", help="Its data key: `data.key` of the sealed folder.", exists=True, dir_okay=False)
    ],
    root: _Root,
    out: Annotated[Path, typer.Option("--out", help="Where the plaintext goes: a new file of mode 0600.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Open a container of your own with its data key: to see that a backup holds. The file appears when all is right.

    Example: sealmarket container open sealed/container.sealed --key sealed/data.key --root ROOT --out plain.csv
    """
    wanted = hash_option(root)
    if out.exists():
        raise Usage(f"{out} is there already", remedy="name a new file")
    encrypted = is_encrypted(key, KeyKind.DATA_KEY)
    passphrase = read_passphrase(passphrase_file, f"Passphrase of {key}") if encrypted else None
    secret, _about = read_key_file(key, KeyKind.DATA_KEY, passphrase=passphrase)
    with _opened(file) as sealed:
        _write_plain(ContainerReader(sealed, wanted), secret, out)
    size = out.stat().st_size
    answer({"contentRoot": str(wanted), "bytes": size}, [f"opened {wanted}", f"  {size} bytes in {out}"], as_json)


@contextmanager
def _opened(file: Path) -> Iterator[io.FileIO]:
    try:
        with file.open("rb", buffering=0) as opened:
            yield opened
    except NotAContainer as error:
        raise Usage(f"{file}: {error.message}", remedy=error.remedy) from error


def _write_plain(reader: ContainerReader, key: bytes, out: Path) -> None:
    """The plaintext, under its name once it is held against the root; a file without a name until then."""
    with tempfile.NamedTemporaryFile(dir=out.absolute().parent, prefix=".opening-", buffering=0) as plain:
        reader.open_into(key, plain)
        os.fsync(plain.fileno())
        os.link(plain.name, out)


def _root_of(file: Path) -> Bytes32:
    with _opened(file) as opened:
        return ContainerReader(opened, bytes(Bytes32.length)).hashed()[0]
