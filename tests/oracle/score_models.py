"""Sepsis models as the oracle asks them: the files of a folder, run by onnxruntime or by whoever stands in for one.

Holds: `ScoreModel` and the reading of a model's folder. Does not hold: features, or which model should have scored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BUILT_IN = Path(__file__).parents[2] / "pipelines" / "clinical" / "sepsis" / "champion"
"""The model that comes with the product: data, not code."""


@dataclass(frozen=True, slots=True)
class ScoreModel:
    """`margins`: float32[n, F] -> the log odds of each row. `knots`: scores and risks of the calibration."""

    name: str
    version: str
    threshold: float
    window_h: int
    names: tuple[str, ...]
    margins: Callable[[np.ndarray], np.ndarray]
    knots: tuple[tuple[float, ...], tuple[float, ...]]

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """float32[n] in (0, 1)."""
        odds = np.exp(-self.margins(rows).astype(np.float64))
        return (1.0 / (1.0 + odds)).astype(np.float32)

    def risk(self, score: float) -> float:
        return float(np.interp(np.float32(score), *self.knots))


def read_model(folder: Path) -> ScoreModel:
    """A model of files. Raises `ValueError` where a file is not the one that the model was kept with."""
    import onnxruntime

    told: dict[str, Any] = json.loads((folder / "metadata.json").read_text("utf-8"))
    for name in ("model.onnx", "calibration.json"):
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != told["digests"][name]:
            raise ValueError(f"{folder / name} is not what metadata.json says")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession((folder / "model.onnx").read_bytes(), options)
    asked = session.get_inputs()[0].name
    knots = json.loads((folder / "calibration.json").read_text("utf-8"))
    return ScoreModel(
        told["name"],
        told["version"],
        told["threshold"],
        told["window_h"],
        tuple(told["features"]),
        lambda rows: np.asarray(session.run(None, {asked: rows})[0])[:, 0],
        (tuple(knots["scores"]), tuple(knots["risks"])),
    )
