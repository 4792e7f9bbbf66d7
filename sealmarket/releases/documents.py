"""The documents of a release: measurements, bill of materials, provenance. Pure, and the same bytes each time.

Sources: in-toto Attestation Framework v1 (Statement), SLSA v1.0 (provenance), CycloneDX 1.6 (bill of materials).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sealmarket.attestation.policy.rules import GradeSlug
from sealmarket.attestation.registry import Measurement
from sealmarket_enclave.protocol.codec import Bytes32, Shape, canonical_json
from sealmarket_enclave.protocol.receipt import STATEMENT_TYPE, Subject

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://sealmarket.org/enclave-image/v1"
BUILDER = "https://sealmarket.org/worker-image-release/v1"
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,80}\Z")]
Version = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._+!-]{1,80}\Z")]


class Component(Shape, frozen=True, kw_only=True):
    """One distribution in an image: SHA-256 over its files there (:func:`digest_of_files`)."""

    name: Name
    version: Version
    files: Bytes32

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


class ReleasedEnclave(Shape, frozen=True, kw_only=True):
    """One image on one kind of TEE: what its evidence will say. ``image`` is SHA-256 over the image's files.

    ``tee`` is the measurement's. ``driver`` names what launches it, ``grade`` what stands behind such evidence.
    """

    kind: Name
    tee: Name
    driver: Name
    grade: GradeSlug
    image: Bytes32
    measurement: Measurement


class ReleasedMeasurements(Shape, frozen=True, kw_only=True):
    """The measurements of a release, for policies. ``release`` is its version, ``interpreter`` Python's."""

    version: Literal["sealmarket/runtime-release/1"] = "sealmarket/runtime-release/1"
    release: Version
    interpreter: Version
    enclaves: Annotated[tuple[ReleasedEnclave, ...], Meta(min_length=1, max_length=64)]


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An in-toto statement whose predicate is SLSA's provenance."""

    type_: Annotated[str, Meta(max_length=100)] = msgspec.field(name="_type", default=STATEMENT_TYPE)
    subject: Annotated[tuple[Subject, ...], Meta(min_length=1, max_length=16)]
    predicate_type: Annotated[str, Meta(max_length=100)] = PREDICATE_TYPE
    predicate: dict[str, Any]


def digest_of_files(files: Mapping[str, bytes]) -> Bytes32:
    """SHA-256 over the RFC 8785 object that names SHA-256 of each file by its path."""
    return Bytes32(sha256(canonical_json({path: sha256(raw).hexdigest() for path, raw in files.items()})).digest())


def bill_of_materials(release: str, interpreter: str, components: Sequence[Component]) -> bytes:
    """CycloneDX 1.6 as JSON: the enclave, the interpreter that is measured with it, and each distribution."""
    root = {"type": "application", "name": "sealmarket-enclave", "version": release, "bom-ref": "sealmarket-enclave"}
    python = {"type": "platform", "name": "CPython", "version": interpreter, "bom-ref": "cpython"}
    return canonical_json(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": root},
            "components": [python, *map(_listed, components)],
            "dependencies": [
                {"ref": "sealmarket-enclave", "dependsOn": ["cpython", *(component.purl for component in components)]}
            ],
        }
    )


def provenance(
    measured: ReleasedMeasurements, source: str, components: Sequence[Component], files: Mapping[str, bytes]
) -> bytes:
    """The statement about the files of a release. ``source`` is the commit, 40 hex digits, or empty."""
    commit = [{"uri": "git+https://sealmarket.org/sealmarket", "digest": {"gitCommit": source}}] if source else []
    parts = [{"uri": component.purl, "digest": {"sha256": component.files.hex()}} for component in components]
    images = sorted({f"image-{one.kind}-{one.tee}-{one.driver}" for one in measured.enclaves})
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"release": measured.release, "interpreter": measured.interpreter, "images": images},
        "resolvedDependencies": [*commit, *parts],
    }
    named = (Subject(name=name, digest={"sha256": sha256(raw).hexdigest()}) for name, raw in sorted(files.items()))
    statement = Provenance(
        subject=tuple(named),
        predicate={"buildDefinition": definition, "runDetails": {"builder": {"id": BUILDER}}},
    )
    return canonical_json(statement)


def _listed(component: Component) -> dict[str, Any]:
    return {
        "type": "library",
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
        "bom-ref": component.purl,
        "properties": [{"name": "sealmarket:files:sha256", "value": component.files.hex()}],
    }
