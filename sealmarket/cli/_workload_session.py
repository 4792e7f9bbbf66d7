"""``sealmarket workload run`` for kind session: requests from a file, answers to standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._options import Usage
from sealmarket.cli._plain import harmless
from sealmarket.workloads.cache import WorkloadCache
from sealmarket_enclave.workload.bundle import Bundle

_MOST_LINE = 1 << 20
_MOST_UNITS = 1 << 16


def serve_requests(
    bundle: Bundle,
    folder: Path,
    inputs: Mapping[str, str],
    parameters: Sequence[str],
    requests: Path,
    cache: WorkloadCache,
    wheels: Path | None,
    meter: Path | None = None,
) -> int:
    """Answer each request of a file; the exit code. ``meter``: the folder of one, which counts each answer too."""
    from sealmarket.workloads.local import read_inputs, read_parameters
    from sealmarket.workloads.local_session import LocalSession

    files = read_inputs(bundle.manifest, [(name, Path(file)) for name, file in inputs.items()])
    values = read_parameters(bundle.manifest, dict(_pairs(parameters)))
    environment = cache.environment(bundle, folder, wheels)
    progress("serving in the sandbox; the first time, its packages are fetched")
    with LocalSession(bundle, environment, files, values) as session:
        for endpoint, body, most in _asked(requests):
            answered = bytearray()
            for part in session.ask(endpoint, body, most):
                typer.echo(harmless(part.decode("utf-8", "replace")), nl=False)
                answered += part
            used = session.used
            if used is not None:
                typer.echo()
                progress(f"{used.prompt_units} units of prompt, {used.output_units} of answer, {dict(used.engine)}")
            if meter is not None:
                progress(_metered(meter, cache, endpoint, body, bytes(answered)))
    return 0


def _metered(folder: Path, cache: WorkloadCache, endpoint: str, body: bytes, answered: bytes) -> str:
    """What a meter counts of one answer. Raises :class:`SessionFailed` where it cannot count it."""
    from sealmarket.workloads.folders import read_bundle
    from sealmarket.workloads.meters import count_again
    from sealmarket.workloads.steps import Step

    bundle = read_bundle(folder)
    counted = count_again(Step(bundle.manifest.name, bundle, folder, cache), endpoint, body, answered)
    return f"the meter counts {counted.prompt} units of prompt and {counted.output} of answer"


def _pairs(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise Usage(f"{text!r} has no name or no value", remedy="write NAME=VALUE")
        yield name, value


def _asked(path: Path) -> Iterator[tuple[str, bytes, int]]:
    """Endpoint, body and most units of each line."""
    with sys.stdin.buffer if str(path) == "-" else path.open("rb") as source:
        while line := source.readline(_MOST_LINE + 1):
            if line.strip():
                yield _one(line)


def _one(line: bytes) -> tuple[str, bytes, int]:
    try:
        asked: Any = json.loads(line) if len(line) <= _MOST_LINE else None
        endpoint, body, most = asked["endpoint"], asked.get("body", {}), asked.get("mostUnits", _MOST_UNITS)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        endpoint = body = most = None
    if not isinstance(endpoint, str) or not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise Usage(
            f"a line is no request: {line[:80]!r}",
            remedy='write {"endpoint": "chat", "body": {...}}, and mostUnits if the default of 65,536 is not meant',
        )
    return endpoint, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), most
