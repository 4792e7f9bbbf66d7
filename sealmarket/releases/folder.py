"""A release as a folder of files that common tools read, and the check that an owner makes of it.

provenance.dsse.json    DSSE envelope: in-toto statement with SLSA provenance, over the digests of the other files
measurements.json       ReleasedMeasurements, canonical
sbom.cdx.json           CycloneDX 1.6
measurements.corim      the same measurements as a CoRIM
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from sealmarket.files import read_file
from sealmarket.releases.corim import corim_of
from sealmarket.releases.documents import (
    BUILD_TYPE,
    PREDICATE_TYPE,
    Component,
    Provenance,
    ReleasedMeasurements,
    bill_of_materials,
    provenance,
)
from sealmarket.releases.dsse import SignedStatement, sign, verified
from sealmarket.releases.errors import ProvenanceRefused, ReleaseDisagrees, ReleaseFileDiffers
from sealmarket_enclave.protocol.codec import Bytes32, decode, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.receipt import STATEMENT_TYPE

PROVENANCE: Final = "provenance.dsse.json"
MEASUREMENTS: Final = "measurements.json"
BILL: Final = "sbom.cdx.json"
CORIM: Final = "measurements.corim"
_FILES = (MEASUREMENTS, BILL, CORIM)
_LONGEST = 1 << 20
"""Bytes of each file."""


@dataclass(frozen=True, slots=True)
class CheckedRelease:
    """A release whose files are those that a named key signed for, and agree with each other."""

    measured: ReleasedMeasurements
    components: tuple[Component, ...]
    source: str
    """The commit that it was made of, as its publisher says; empty where none is named."""


def write_release(
    folder: Path,
    measured: ReleasedMeasurements,
    components: Sequence[Component],
    key: EllipticCurvePrivateKey,
    source: str = "",
) -> None:
    """Write a release to a new folder. Raises ``FileExistsError`` where there is one."""
    files = {
        MEASUREMENTS: measured.canonical(),
        BILL: bill_of_materials(measured.release, measured.interpreter, components),
        CORIM: corim_of(measured),
    }
    statement = sign(provenance(measured, source, components, files), key)
    folder.mkdir(parents=True)
    for name, raw in (files | {PROVENANCE: statement.canonical()}).items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as out:
            out.write(raw)


def check_release(folder: Path, keys: Sequence[EllipticCurvePublicKey]) -> CheckedRelease:
    """Hold a release's files against its provenance, the provenance against the keys, and the documents together.

    Raises:
        ProvenanceRefused, ReleaseFileDiffers, ReleaseDisagrees.
        MalformedDocument: a file is of another form.
        OSError: one cannot be read.
    """
    statement = _statement(verified(decode(SignedStatement, read_file(folder / PROVENANCE, _LONGEST)), keys))
    files = {name: read_file(folder / name, _LONGEST) for name in _FILES}
    named = {subject.name: subject.digest.get("sha256", "") for subject in statement.subject}
    if set(named) != set(files):
        raise ReleaseDisagrees("files that the provenance is about", sorted(files), sorted(named))
    for name, raw in files.items():
        if (found := sha256(raw).hexdigest()) != named[name]:
            raise ReleaseFileDiffers(name, named[name], found)
    measured = decode_canonical(ReleasedMeasurements, files[MEASUREMENTS])
    for one in measured.enclaves:
        if one.tee != one.measurement.tee.slug:
            what = f"TEE of the enclave {one.kind} by {one.driver}"
            raise ReleaseDisagrees(what, one.tee, f"{one.measurement.tee.slug} in its measurement")
    source, components = _materials(statement)
    wanted = {
        BILL: bill_of_materials(measured.release, measured.interpreter, components),
        CORIM: corim_of(measured),
    }
    for name, raw in wanted.items():
        if files[name] != raw:
            agreed = f"what the measurements and the provenance say, SHA-256 {sha256(raw).hexdigest()}"
            raise ReleaseDisagrees(name, agreed, sha256(files[name]).hexdigest())
    expected = provenance(measured, source, components, files)
    if decode(Provenance, expected) != statement:
        raise ReleaseDisagrees("provenance", "the release, interpreter and images of the measurements", "others")
    return CheckedRelease(measured, components, source)


def _statement(payload: bytes) -> Provenance:
    try:
        statement = decode(Provenance, payload)
    except MalformedDocument as error:
        raise ProvenanceRefused("an in-toto statement", error.message[:200]) from error
    for expected, found in ((STATEMENT_TYPE, statement.type_), (PREDICATE_TYPE, statement.predicate_type)):
        if found != expected:
            raise ProvenanceRefused(expected, found)
    return statement


def _materials(statement: Provenance) -> tuple[str, tuple[Component, ...]]:
    """The commit and the distributions that the provenance names."""
    definition = statement.predicate.get("buildDefinition")
    if not isinstance(definition, dict) or definition.get("buildType") != BUILD_TYPE:
        raise ProvenanceRefused(f"a build of type {BUILD_TYPE}", "another")
    source, components = "", []
    try:
        for one in definition["resolvedDependencies"]:
            if "gitCommit" in one["digest"]:
                source = str(one["digest"]["gitCommit"])
            else:
                components.append(_component(one))
    except (KeyError, TypeError, ValueError) as error:
        raise ProvenanceRefused("dependencies with digests", repr(error)[:200]) from error
    return source, tuple(components)


def _component(one: dict[str, Any]) -> Component:
    name, _, version = str(one["uri"]).removeprefix("pkg:pypi/").partition("@")
    made = Component(name=name, version=version, files=Bytes32(bytes.fromhex(one["digest"]["sha256"])))
    return decode(Component, made.canonical())
