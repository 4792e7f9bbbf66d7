"""Does a model tell the rows that it was trained on from rows that were withheld? (docs/spec/outputs.md, "Membership")

The advantage is the largest difference, over all thresholds, between the share of trained rows and the share of
withheld rows whose loss is below the threshold: what an attacker who knows a row and its label gains by asking the
model whether the row was used (Yeom et al. 2018). Chance alone gives some; what it gives in 1 of 100 sound models is
added to the limit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime
from tables import Tables
from verdict import (
    DATA_MISSING,
    NOT_FROM_DATA,
    NOT_READABLE,
    REMEMBERS_ROWS,
    RULES_INVALID,
    Inputs,
    Refused,
    judged,
    read_json,
    read_rules,
)

FEWEST_WITHHELD = 50
_CHANCE = 0.01
_SMALLEST = 1e-9
_BATCH = 65_536
_SLOT = "withheld"
_KINDS: dict[str, type | tuple[type, ...]] = {"advantagePermille": int}


def run(inputs: Inputs, parameters: object) -> dict[str, bytes]:
    """Entry point: ``output``, ``rules``, tables of trained and of withheld rows in, ``verdict.json`` out."""
    del parameters
    return judged(check, inputs)


def check(inputs: Inputs) -> None:
    """Raise :class:`Refused` unless the output may leave."""
    rules = read_rules(inputs["rules"], _KINDS)
    if not 0 <= rules["advantagePermille"] <= 1000:
        raise Refused(RULES_INVALID, "an advantage between 0 and 1000 permille")
    had, lacked = Tables(inputs), _withheld(inputs)
    _require_enough(had.rows, lacked.rows)
    trained, kept = _losses(inputs["output"], had), _losses(inputs["output"], lacked)
    _require_enough(len(trained), len(kept))
    found = advantage(trained, kept)
    limit = rules["advantagePermille"] / 1000 + chance(len(trained), len(kept))
    if found > limit:
        raise Refused(REMEMBERS_ROWS, f"advantage {found:.3f}, expected at most {limit:.3f}")


def _withheld(inputs: Inputs) -> Tables:
    """The rows that the workload did not have: ``withheld-1`` of the table ``data-1``, and so on."""
    return Tables({name.replace(_SLOT, "data", 1): raw for name, raw in inputs.items() if name.startswith(_SLOT)})


def _require_enough(trained: int, kept: int) -> None:
    if kept < FEWEST_WITHHELD or not trained:
        raise Refused(DATA_MISSING, f"{kept} rows are withheld, expected {FEWEST_WITHHELD} or more")


def advantage(trained: np.ndarray, kept: np.ndarray) -> float:
    """The largest difference of the two distributions of losses, in favour of trained rows."""
    every = np.unique(np.concatenate([trained, kept]))
    below = [np.searchsorted(np.sort(losses), every, side="right") / len(losses) for losses in (trained, kept)]
    return max(0.0, float((below[0] - below[1]).max()))


def chance(trained: int, kept: int) -> float:
    """What a sound model exceeds in 1 of 100 cases (one-sided Kolmogorov-Smirnov bound)."""
    return math.sqrt(-0.5 * math.log(_CHANCE) * (1 / trained + 1 / kept))


def _losses(model: memoryview, tables: Tables) -> np.ndarray:
    """The model's loss on each row that has a usable label."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(bytes(model), options, providers=["CPUExecutionProvider"])
        described = session.get_modelmeta().custom_metadata_map
        names, target, task = (read_json(described[key]) for key in ("feature_names", "target", "task"))
        labels = read_json(described.get("class_labels", "[]"))
    except (KeyError, ValueError, RecursionError):
        raise Refused(NOT_FROM_DATA, "metadata lacks feature_names, target or task") from None
    except Exception as error:  # noqa: BLE001 - the library has a dozen kinds for one thing: it cannot load the model
        raise Refused(NOT_READABLE, type(error).__name__) from None
    if not isinstance(names, list) or not isinstance(target, str) or not isinstance(labels, list):
        raise Refused(NOT_FROM_DATA, "metadata of another shape")
    answers = _answers(session, tables.features(names), last=task == "classification")
    cells = tables.column(target)
    if task != "classification":
        wanted = np.array([math.nan if cell is None else float(cell) for cell in cells])
        return _finite(np.abs(answers.reshape(len(wanted), -1)[:, 0] - wanted))
    place = {_key(label): number for number, label in enumerate(labels)}
    columns = np.array([place.get(_key(cell), -1) for cell in cells])
    chosen = answers[np.arange(len(cells)), np.maximum(columns, 0)]
    return _finite(np.where(columns < 0, math.nan, -np.log(np.maximum(chosen, _SMALLEST))))


def _finite(losses: np.ndarray) -> np.ndarray:
    return losses[np.isfinite(losses)]


def _answers(session: Any, rows: np.ndarray, *, last: bool) -> np.ndarray:
    """What the model answers for each row: probabilities (its last output) of classes, or a quantity (its first)."""
    name, output = session.get_inputs()[0].name, session.get_outputs()[-1 if last else 0].name
    parts = [
        session.run([output], {name: rows[start : start + _BATCH]})[0] for start in range(0, max(1, len(rows)), _BATCH)
    ]
    return np.concatenate(parts).astype(np.float64)


def _key(value: Any) -> Any:
    """Labels are equal as numbers or as texts."""
    return float(value) if isinstance(value, int | float) else value
