"""The validators of a new policy draft: what `owner policy new` puts into its output rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sealmarket.cli._options import Usage
from sealmarket.workloads.cache import WorkloadCache


def add_validators(document: dict[str, Any], *, wanted: bool, smallest_group: int | None) -> None:
    """Put the default validators of the draft's media types into ``document``, if they are wanted.

    ``smallest_group``: the rows behind each leaf of a tree, which needs a card that its reader makes tables of, and
    workloads that take them.
    """
    if not wanted and smallest_group is None:
        return
    from sealmarket.workloads.validators import default_validators

    card = document["dataCard"]
    if smallest_group is not None and (card.get("kind") != "table" or "reader" not in card):
        raise Usage(
            "--smallest-group counts rows of tables, and no card says that the data is one",
            remedy="make a card with `sealmarket owner describe`, and give --card",
        )
    output = document["output"]
    made = default_validators(WorkloadCache.of_user(), output["mediaTypes"], _words(card), smallest_group)
    if not made:
        raise Usage(
            f"no validator is shipped for {', '.join(output['mediaTypes'])}",
            remedy="leave --validators out, or write output.validators after docs/spec/outputs.md",
        )
    output["validators"] = made


def _words(card: dict[str, Any]) -> Iterator[str]:
    """The names that a card publishes: its columns, and the classes of them."""
    for column in card.get("columns", ()):
        if isinstance(column, str):
            yield column
        elif isinstance(column, dict):
            yield column["name"]
            yield from column.get("classes", ())
