"""The validators of a new policy draft: what `owner policy new` puts into its output rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sealmarket.cli._options import Usage
from sealmarket.cli._policy_options import OutputOptions
from sealmarket.workloads.cache import WorkloadCache


def add_validators(document: dict[str, Any], wanted: OutputOptions) -> None:
    """Put the default validators of the draft's media types into ``document``, if they are wanted.

    Rows behind each leaf of a tree and rows that a workload does not get both need a card that its reader makes tables
    of, and workloads that take them.
    """
    smallest_group, withhold = wanted.smallest_group, wanted.withhold
    if not wanted.validators and smallest_group is None and withhold is None:
        return
    from sealmarket.workloads.validators import ONNX, default_validators

    card, output = document["dataCard"], document["output"]
    for option, given in (("--smallest-group", smallest_group), ("--withhold", withhold)):
        if given is not None and (card.get("kind") != "table" or "reader" not in card):
            raise Usage(
                f"{option} counts rows of tables, and no card says that the data is one",
                remedy="make a card with `sealmarket owner describe`, and give --card",
            )
    if withhold is not None and ONNX not in output["mediaTypes"]:
        raise Usage(
            f"--withhold tests models of {ONNX}, and only {', '.join(output['mediaTypes'])} may leave",
            remedy="add it to --formats, or leave --withhold out",
        )
    made = default_validators(WorkloadCache.of_user(), output["mediaTypes"], _words(card), smallest_group, withhold)
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
