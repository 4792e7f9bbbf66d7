"""Serve an ONNX model that scores rows: ``{"rows": [[...]]}`` in, ``{"scores": [...]}`` out, one unit for each row.

The model's metadata says what a row holds: ``feature_names`` in their order, and ``class_labels`` where it tells
classes apart. With two classes a score is the probability of the second, with more a list of probabilities; without
classes it is the quantity that the model predicts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

_MOST_ROWS = 4096


class Refused(Exception):
    """A request that is answered with an error, and costs nothing. It names members, never a value."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code

    def body(self) -> bytes:
        """The error as the whole response, in OpenAI's shape."""
        error = {"message": self.message, "type": "invalid_request_error", "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()


def serve(session: Any) -> None:
    """Entry point: answer the requests of one account until they end."""
    scorer = Scorer(bytes(session.inputs["model"]), session.parameters)
    for request in session.requests():
        scorer.answer(request)


class Scorer:
    """A model, and how it is asked. The first run is made before there is a request: it is slower than the others."""

    def __init__(self, model: bytes, parameters: Mapping[str, Any]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._model = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        described = self._model.get_modelmeta().custom_metadata_map
        self.features = _list(described.get("feature_names", "")) or []
        self._labels = _list(described.get("class_labels", ""))
        if len(self._model.get_inputs()) != 1 or not self.features:
            raise ValueError("the model must take one input, and name its features in its metadata")
        self._input = self._model.get_inputs()[0].name
        self._output = self._model.get_outputs()[0 if self._labels is None else -1].name
        self._name = str(parameters["model_name"])
        self._engine = {"engine": f"onnxruntime {onnxruntime.__version__}", "model": self._name}
        self.scores(np.zeros((1, len(self.features)), np.float32))

    def answer(self, request: Any) -> None:
        """Answer one request, and end it."""
        try:
            if request.endpoint == "models":
                request.send(self._described())
                request.done(0, 0, self._engine)
                return
            if request.endpoint != "score":
                raise Refused(f"this service has no endpoint {request.endpoint}", code="unsupported_endpoint")
            rows = self._rows(request.body, int(request.most_units))
        except Refused as refused:
            request.send(refused.body())
            request.done(0, 0, self._engine)
            return
        request.send(json.dumps({"scores": self.scores(rows)}).encode())
        request.done(0, len(rows), self._engine)

    def scores(self, rows: np.ndarray) -> list[Any]:
        """A score for each row of 32-bit floats."""
        found = self._model.run([self._output], {self._input: rows})[0].reshape(len(rows), -1)
        if self._labels is None:
            return list(found[:, 0].tolist())
        return list(found[:, -1].tolist() if found.shape[1] <= 2 else found.tolist())

    def _rows(self, body: bytes, most: int) -> np.ndarray:
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused("the body is no JSON in UTF-8", code="invalid_json") from None
        rows = given.get("rows") if isinstance(given, dict) and set(given) == {"rows"} else None
        if not isinstance(rows, list) or not 1 <= len(rows) <= min(_MOST_ROWS, most):
            raise Refused(f"rows must be a list of 1 to {min(_MOST_ROWS, most)} rows", param="rows")
        width = len(self.features)
        for at, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != width or not all(_number(cell) for cell in row):
                raise Refused(f"rows[{at}] must hold {width} numbers: {', '.join(self.features)[:200]}", param="rows")
        try:
            with np.errstate(over="ignore"):
                return np.array(rows, np.float64).astype(np.float32)
        except OverflowError:
            raise Refused("a number of a row is out of range", param="rows") from None

    def _described(self) -> bytes:
        model = {"id": self._name, "object": "model", "created": 0, "owned_by": "sealmarket", "features": self.features}
        return json.dumps({"object": "list", "data": [model]}).encode()


def _number(cell: Any) -> bool:
    """A number, or null for a cell that is missing, which the model gets as NaN."""
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))


def _list(text: str) -> list[Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None
