"""Meters of services on a user's own machine: one made of a model, and one that counts kept answers again.

A meter (docs/spec/session.md, "Meter") is a workload of kind session that an owner's policy names. ``plain`` comes
with Sealmarket whole. ``tokens`` is made of a model: its code comes with Sealmarket, the vocabulary and the chat
template are the model's, in ``tokenizer.json`` (Hugging Face) and ``model.json`` beside the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sealmarket
from sealmarket.workloads.errors import FolderTaken
from sealmarket.workloads.folders import read_files
from sealmarket.workloads.gguf import read_metadata
from sealmarket.workloads.local_session import LocalSession, SessionFailed
from sealmarket.workloads.steps import MADE, Step, shipped_as
from sealmarket.workloads.vocabularies import read_vocabulary, written
from sealmarket_enclave.workload.bundle import ENVIRONMENT, Bundle

_SOURCE = Path(sealmarket.__file__).parent / "meters" / MADE
VOCABULARY, MODEL = "code/tokenizer.json", "code/model.json"


@dataclass(frozen=True, slots=True)
class Counted:
    """What a meter counts of one answer, in units."""

    prompt: int
    output: int


def make_meter(folder: Path, model: Path | None) -> None:
    """Write a meter that counts the tokens of a model in GGUF into a new folder, or the plain one; it is to be locked.

    Raises:
        ModelRefused: the model's vocabulary is of another kind.
        FolderTaken: something is there already.
        OSError: it cannot be read or written.
    """
    made: dict[str, bytes] = {}
    if model is not None:
        with model.open("rb") as source:
            made = tokenizer_files(read_metadata(source))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderTaken(folder)
    source_folder = _SOURCE if model is not None else _SOURCE.with_name("plain")
    files = {path: file.data for path, file in read_files(source_folder).items()}
    for path, data in (files | made).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def tokenizer_files(header: Mapping[str, Any]) -> dict[str, bytes]:
    """``tokenizer.json`` and ``model.json`` of a model by its header. Raises :class:`ModelRefused`."""
    tokenizer, model = read_vocabulary(header)
    return {VOCABULARY: written(tokenizer), MODEL: written(model)}


def count_again(
    meter: Step, endpoint: str, request: bytes, response: bytes, *, whole: bool = True, wheels: Path | None = None
) -> Counted:
    """What a meter counts of one answer, in the sandbox of an enclave, on this machine.

    ``whole``: the answer was not broken off. ``wheels``: a folder that holds the meter's wheels already.

    Raises:
        SessionFailed: it cannot count this.
        SandboxUnavailable, EnvironmentRefused, FetchFailed: it cannot run here.
    """

    def counted(environment: Path) -> Counted:
        parameters = meter.bundle.manifest.check_parameters({})
        body = len(request).to_bytes(4) + request + response
        with LocalSession(meter.bundle, environment, {}, parameters) as session:
            if list(session.ask(f"{'answer' if whole else 'cut'}/{endpoint}", body, 0)):
                raise SessionFailed("a meter sends nothing but its count")
            assert session.used is not None
            return Counted(int(session.used.prompt_units), int(session.used.output_units))

    return meter.cache.using(meter.bundle, meter.folder, counted, wheels)


def meter_name(bundle: Bundle) -> str | None:
    """What of Sealmarket's a meter is: ``plain``, or ``tokens`` with a vocabulary of its author's; None for another."""
    if (name := shipped_as(bundle)) is not None:
        return name
    own = {ENVIRONMENT, VOCABULARY, MODEL}
    files = {path: file.data for path, file in bundle.files.items() if path not in own}
    return MADE if files == {path: file.data for path, file in read_files(_SOURCE).items()} else None
