"""How good a model is, on people whom it has never seen: the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime

from scripts.demo_story.data import Part


def auc(model: bytes, test: Part) -> float:
    """The chance that the model ranks a person who needs care often above one who does not; 0.5 is guessing."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = np.asarray([row[1:] for row in test.rows], dtype=np.float32)
    outputs = session.run(None, {session.get_inputs()[0].name: rows})
    return area([row[0] == 1.0 for row in test.rows], np.asarray(outputs[1])[:, 1])


def area(positive: Sequence[bool], scores: np.typing.NDArray[np.float32]) -> float:
    """Area under the ROC curve by the Mann-Whitney statistic; ties count half.

    ``positive``: shape (n,), ``scores``: shape (n,), higher means more likely.

    Raises:
        ValueError: all are positive, or none is.
    """
    labels = np.asarray(positive)
    wanted, others = int(labels.sum()), int((~labels).sum())
    if not wanted or not others:
        raise ValueError("an area needs both kinds: all rows are of one")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels].sum() - wanted * (wanted + 1) / 2) / (wanted * others))
