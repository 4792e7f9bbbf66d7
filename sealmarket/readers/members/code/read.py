"""The reader of archives: holds a zip or tar of images or other files against its data card (docs/spec/card.md).

No member's name leaves: names of files may name people. A run on the owner's machine says which place in the archive.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import archives
import kinds
from unfit import Unfit

_LARGEST = 1 << 30
_MEDIA_TYPES = {archives.ZIP: "application/zip", archives.GZIP: "application/gzip"}


def run(inputs: Mapping[str, memoryview], parameters: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Entry point: ``data`` is the archive, ``card`` its card (with ``infer``: what its owner states of it)."""
    data, card = memoryview(inputs["data"]).cast("B"), json.loads(bytes(inputs["card"]))
    outputs: dict[str, bytes] = {}
    count: int | None = None
    unfit: Unfit | None = None
    try:
        if parameters["infer"]:
            outputs["inferred.json"] = json.dumps(infer(data, card), sort_keys=True).encode()
        else:
            count = hold(data, card)
    except Unfit as error:
        unfit = error
        if parameters["explain"] or parameters["infer"]:
            outputs["explanation.txt"] = error.detail.encode("utf-8", "replace")[:4096]
    report = {"fits": unfit is None, "code": unfit.code if unfit else None, "column": None, "rows": count}
    return outputs | {"report.json": json.dumps(report, sort_keys=True).encode()}


def hold(data: memoryview, card: Mapping[str, Any]) -> int:
    """The number of members, the manifest aside. Raises :class:`Unfit` for the first that is not as promised."""
    promised = card["members"]
    listed: dict[str, str] | None = None
    found: dict[str, str] = {}
    for place, (name, content) in enumerate(archives.members(data, promised["bytes"]["maximum"]), start=1):
        if name == promised["manifest"]:
            listed = manifest(content)
            continue
        found[name] = hashlib.sha256(content).hexdigest()
        _require_member(place, content, promised)
    if promised["manifest"]:
        _require_listed(listed, found)
    rows = card["rows"]
    least, most = (rows["minimum"], rows["maximum"]) if rows is not None else (1, len(found))
    if not max(1, least) <= len(found) <= most:
        raise Unfit("row_count", f"the archive has {len(found)} members, the card promises {least} to {most}")
    return len(found)


def _require_member(place: int, content: bytes, promised: Mapping[str, Any]) -> None:
    kind = kinds.kind_of(content)
    if kind not in promised["mediaTypes"] and kinds.ANY not in promised["mediaTypes"]:
        raise Unfit("member_kind", f"member {place} is {kind}")
    if not promised["bytes"]["minimum"] <= len(content):
        raise Unfit("member_size", f"member {place} has {len(content)} bytes")
    if (bounds := promised["pixels"]) is not None:
        sides = kinds.pixels(content, kind)
        if sides is None or not all(bounds["minimum"] <= side <= bounds["maximum"] for side in sides):
            raise Unfit("member_size", f"member {place} has {'no' if sides is None else 'other'} pixels than promised")


def manifest(content: bytes) -> dict[str, str]:
    """SHA-256 by name from lines ``SHA-256  name``, as ``sha256sum`` writes them. Raises :class:`Unfit`."""
    try:
        lines = [line for line in content.decode().splitlines() if line]
    except UnicodeDecodeError:
        raise Unfit("not_readable", "the manifest is no UTF-8") from None
    listed = {}
    for line in lines:
        digest, gap, name = line[:64], line[64:66], line[66:]
        if gap not in ("  ", " *") or len(digest) != 64 or not name or name in listed:
            raise Unfit("not_readable", "the manifest has a line other than: SHA-256, two blanks, a name of its own")
        listed[name] = digest.lower()
    return listed


def _require_listed(listed: dict[str, str] | None, found: Mapping[str, str]) -> None:
    if listed is None:
        raise Unfit("member_count", "the archive has no manifest")
    if listed.keys() != found.keys():
        others = len(listed.keys() ^ found.keys())
        raise Unfit("member_count", f"{others} names stand in one of manifest and archive only")
    if changed := sum(listed[name] != digest for name, digest in found.items()):
        raise Unfit("not_readable", f"{changed} members have another SHA-256 than the manifest says")


def infer(data: memoryview, stated: Mapping[str, Any]) -> dict[str, Any]:
    """What an archive holds. ``stated`` may name its ``manifest``."""
    kinds_of: Counter[str] = Counter()
    sizes: list[int] = []
    sides: list[int] = []
    unread = 0
    for name, content in archives.members(data, _LARGEST):
        if name == stated.get("manifest"):
            continue
        kind = kinds.kind_of(content)
        kinds_of[kind] += 1
        sizes.append(len(content))
        found = kinds.pixels(content, kind)
        sides += found or ()
        unread += found is None
    if not sizes:
        raise Unfit("row_count", "the archive has no member")
    images = all(kind.startswith("image/") for kind in kinds_of)
    return {
        "kind": "images" if images else "archive",
        "mediaType": _MEDIA_TYPES.get(bytes(data[:2]), "application/x-tar"),
        "mediaTypes": sorted(kinds_of),
        "counts": dict(sorted(kinds_of.items())),
        "rows": len(sizes),
        "bytes": [min(sizes), max(sizes)],
        "pixels": [min(sides), max(sides)] if sides and not unread else None,
        "manifest": stated.get("manifest") or "",
    }
