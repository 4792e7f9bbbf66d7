"""A proposal on a terminal: what it asks for, its source, and what changed. All texts in it are a stranger's."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sealmarket.cli._plain import indented, plain, plain_lines, readable
from sealmarket.client.proposals import Inspected, Standing
from sealmarket.client.source_diff import FileDifference
from sealmarket.client.written import moment
from sealmarket.protocol.proposals import Proposal
from sealmarket.protocol.purposes import MEANINGS, purposes_of
from sealmarket_enclave.protocol.codec import to_builtins
from sealmarket_enclave.workload.bundle import Bundle

MOST_LINES = 200
"""Of one file, of one sample and of one difference; ``--file`` shows a file whole."""
MOST_SHOWN = 64
"""Files of a workload."""


def summary(proposal: Proposal, now: int) -> Iterator[str]:
    """The lines about what a consumer asks for."""
    yield f"from        {proposal.consumer.checksum}"
    yield f"workload    {proposal.workload_digest}"
    for purpose in purposes_of(proposal.purpose):
        yield f"purpose     {purpose.name.lower()}: {MEANINGS[purpose]}"
    for one in proposal.assets:
        yield f"asset       {one.asset_id} version {one.version}"
    yield f"open until  {moment(proposal.expiry, now)}"


def details(found: Inspected) -> Iterator[str]:
    """Parameters, note and samples, which the consumer claims."""
    yield "parameters:"
    shown = json.dumps(to_builtins(found.detail.parameters), indent=2, ensure_ascii=False)
    yield from indented(plain_lines(shown, MOST_LINES))
    if found.detail.note:
        yield "note of the consumer:"
        yield from indented(plain_lines(found.detail.note, MOST_LINES))
    for sample in found.detail.samples:
        yield f"sample {plain(sample.name, 200)}, {len(sample.content)} bytes, claimed by the consumer:"
        yield from indented(_content(bytes(sample.content)))


def source(bundle: Bundle, file: str | None) -> Iterator[str]:
    """The files of a workload, each up to a number of lines, or one whole file by name."""
    if file is not None:
        yield from indented(plain_lines((readable(bundle.files[file].data) or "bytes that are no text"), 1 << 20))
        return
    yield f"source: {len(bundle.files)} files"
    for path, one in sorted(bundle.files.items())[:MOST_SHOWN]:
        yield f"{plain(path, 200)}  {len(one.data)} bytes"
        yield from indented(_content(one.data))
    if len(bundle.files) > MOST_SHOWN:
        yield f"... ({len(bundle.files) - MOST_SHOWN} more files; --file NAME shows one, --out writes all)"


def listed(bundle: Bundle, *, compared: bool) -> list[str]:
    """What it lists of its dependencies, and whether that was held against the wheels."""
    from sealmarket.workloads.dependencies import described

    if not (what := described(bundle)):
        return []
    if compared:
        return [f"dependencies: {what}: as in the wheels"]
    return [
        f"dependencies: {what}, by the consumer's list, which was NOT compared with the wheels",
        "      an enclave runs what is listed: compare with --dependencies, or --wheels FOLDER, before you approve",
    ]


def changes(differences: list[FileDifference]) -> Iterator[str]:
    """What differs from an earlier proposal's source."""
    if not differences:
        yield "the same source as the earlier one, file for file"
    for one in differences:
        compared = "" if one.lines is not None or one.how != "changed" else " (too large to compare, or no text)"
        yield f"{one.how}: {plain(one.path, 200)}{compared}"
        yield from indented(plain_lines("\n".join(one.lines), MOST_LINES) if one.lines else ())


def standing_lines(standing: Standing, now: int) -> Iterator[str]:
    """Where a proposal stands with one owner."""
    of = f"{standing.asset.asset_id} version {standing.asset.version}"
    yield of
    if standing.answer is None:
        yield f"  not answered yet by {standing.owner.checksum}"
        return
    answer = standing.answer.answer
    what = "approved" if standing.approved else "declined"
    yield f"  {what} by {standing.owner.checksum}, signed {moment(answer.signed_at, now)}"
    if standing.answer.reason:
        yield from indented([plain(standing.answer.reason)])


def _content(data: bytes) -> Iterator[str]:
    text = readable(data)
    return plain_lines(text, MOST_LINES) if text is not None else iter((f"{len(data)} bytes that are no text",))
