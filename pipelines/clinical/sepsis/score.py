"""Scores: a kept model and features in, score, risk and alert out.

Holds: a model's trees, run by onnxruntime on one thread, and its risks.
Does not hold: training, contributions (`explain`), the files' layout (`model_files`), which model is in force.

A row's score is the same bits alone and among thousands of others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from pipelines.clinical.sepsis.features import features
from pipelines.clinical.sepsis.model_files import ModelFiles
from pipelines.clinical.sepsis.panel import Floats, Panel
from pipelines.clinical.sepsis.utility import Bools, Doubles


@dataclass(frozen=True, slots=True)
class Scores:
    """Of each hour.

    Attributes:
        score: float32[n] in (0, 1), what ranks; not a chance.
        risk: float64[n] in [0, 1], calibrated on the learning set's hospital.
        alert: bool[n], score at or above the model's threshold.
    """

    score: Floats
    risk: Doubles
    alert: Bools


class OnnxModel:
    """A model ready to score. Making one costs some ten milliseconds: make it once, outside the alert path."""

    def __init__(self, files: ModelFiles) -> None:
        self.files = files
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(files.onnx, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def version(self) -> str:
        """The hash of what decides a score: the same version gives the same bits."""
        return self.files.version

    @property
    def threshold(self) -> float:
        """A score from here on alerts. Exact in float32."""
        return self.files.threshold

    def scores(self, rows: Floats) -> Floats:
        """float32[n] in (0, 1) of rows of `features`, float32[n, F]."""
        if not len(rows):
            return np.empty(0, dtype=np.float32)
        given = np.ascontiguousarray(rows, dtype=np.float32)
        margins = np.asarray(self._session.run(None, {self._input: given})[0])[:, 0]
        return (1.0 / (1.0 + np.exp(-margins.astype(np.float64)))).astype(np.float32)

    def risks(self, scores: Floats) -> Doubles:
        """float64[n] in [0, 1] of scores."""
        return self.files.calibration.risk(scores)

    def score_panel(self, panel: Panel) -> Scores:
        """Scores of every hour of a panel; each from the hours up to it."""
        score = self.scores(features(panel))
        return Scores(score, self.risks(score), score >= np.float32(self.threshold))
