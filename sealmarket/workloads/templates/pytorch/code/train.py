"""Train a network of one hidden layer on the tables of several owners, and return it as ONNX.

Deterministic on one kind of processor: one thread, seeded, deterministic algorithms. Features are standardised by mean
and deviation of the rows trained on; both are weights of the model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

# PyTorch's optimisers load its compiler, which asks for a folder of its own. There is none to write to, nor any need.
os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(__file__).parent)

import learning
import numpy as np
import onnx_model
import torch
import torch._dynamo  # the optimisers load it: before there is data, not while computing
from torch import nn

_BATCH = 256
_VERSIONS = ("numpy", "onnx", "pyarrow", "torch")


def run(inputs: Mapping[str, memoryview], parameters: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Entry point. ``inputs`` are Arrow tables by name, ``parameters`` follow workload.toml."""
    seed, target = int(os.environ.get("SEALMARKET_SEED", "0")), str(parameters["target"])
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    task = learning.prepare(inputs, parameters)
    kept, held = task.split(seed)
    network = _network(task, int(parameters["hidden"]), kept)
    _train(network, task, kept, parameters)
    with torch.no_grad():
        answers = network(torch.from_numpy(task.features[held])).numpy()
    chosen = answers[:, 0] if task.labels is None else answers.argmax(axis=1)
    score = learning.score(task, held, chosen)
    versions = {name: version(name) for name in _VERSIONS}
    return {
        "model.onnx": onnx_model.of_network(network, task, learning.describe(task, target, versions)),
        "metrics.json": learning.report(task, target, seed, len(kept), len(held), score),
    }


class Standardised(nn.Module):
    """``(rows - mean) * scale`` with fixed weights; of a quantity's answer, the way back."""

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy(scale.astype(np.float32)))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """The standardised rows."""
        return (rows - self.mean) * self.scale


def _network(task: learning.Task, hidden: int, kept: np.ndarray) -> nn.Sequential:
    rows = task.features[kept].astype(np.float64)
    spread = rows.std(axis=0)
    inside = Standardised(rows.mean(axis=0), np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0))
    width = rows.shape[1]
    if task.labels is not None:
        return nn.Sequential(inside, nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, len(task.labels)))
    wanted = task.target[kept].astype(np.float64)
    mean, spread_of = np.array([wanted.mean()]), np.array([wanted.std()])
    outside = Standardised(-mean / spread_of, spread_of)
    return nn.Sequential(inside, nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1), outside)


def _train(network: nn.Sequential, task: learning.Task, kept: np.ndarray, parameters: Mapping[str, Any]) -> None:
    rows, wanted = torch.from_numpy(task.features[kept]), torch.from_numpy(task.target[kept])
    spread = 1.0 if task.labels is not None else float(wanted.std())
    optimiser = torch.optim.Adam(network.parameters(), lr=float(parameters["learning_rate"]))
    for _ in range(int(parameters["epochs"])):
        for part in torch.randperm(len(rows)).split(_BATCH):
            answers = network(rows[part])
            if task.labels is None:
                loss = nn.functional.mse_loss(answers[:, 0] / spread, wanted[part] / spread)
            else:
                loss = nn.functional.cross_entropy(answers, wanted[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
