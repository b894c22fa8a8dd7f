"""The model's own contributions to scores that alerted, worked out beside the alert path and told by alert id.

Holds: the thread, its bounded queue, and what it says.
Does not hold: the trees (`explain.py`), the alert (it has gone out with reasons of its own), or the topic.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from pipelines.clinical.sepsis.features import FEATURES
from pipelines.clinical.sepsis.panel import Floats
from pipelines.clinical.sepsis.score_message import Score

if TYPE_CHECKING:
    from pipelines.clinical.sepsis.explain import Explainer
    from pipelines.clinical.sepsis.model_files import ModelFiles

_LOG = logging.getLogger(__name__)
MOST_WAITING = 1_000
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A score that alerted, the features it rests on, and the model that scored.

    Attributes:
        topic_id: Kafka's id of the topic of `score.stream`.
        scored_at: when the score was made.
    """

    score: Score
    row: Floats
    files: ModelFiles
    topic_id: str
    scored_at: datetime


class Contributions(threading.Thread):
    """Works out what is asked for and hands it to `tell`. What comes while `MOST_WAITING` wait is left out and counted:
    the alert stands without it."""

    def __init__(self, tell: Callable[[Asked, Score], None]) -> None:
        super().__init__(name="sepsis contributions", daemon=True)
        self._tell = tell
        self._asked: queue.Queue[Asked] = queue.Queue(MOST_WAITING)
        self._explainers: dict[str, Explainer] = {}
        self.left_out = 0
        self.start()

    def ask(self, asked: Asked) -> None:
        """Never waits."""
        try:
            self._asked.put_nowait(asked)
        except queue.Full:
            self.left_out += 1

    def run(self) -> None:
        while True:
            asked = self._asked.get()
            try:
                self._tell(asked, replace(asked.score, contributions=self._worked_out(asked)))
            except Exception as error:  # the alert has gone out; the scores go on
                self.left_out += 1
                _LOG.warning("contributions were not told: %s", type(error).__name__)

    def _worked_out(self, asked: Asked) -> tuple[str, ...]:
        from pipelines.clinical.sepsis.explain import Explainer  # LightGBM: a second to import, needed by few

        version = asked.files.version
        if version not in self._explainers:
            self._explainers = {version: Explainer(asked.files)}
        found, _ = self._explainers[version].contributions(asked.row[None, :])
        return said(found[0])


def said(contributions: np.ndarray) -> tuple[str, ...]:
    """`Lactate_last=+0.4127`, log odds, the largest first whatever their sign; those of nothing are left out."""
    order = np.argsort(-np.abs(contributions), kind="stable")[:MOST_TOLD].tolist()
    return tuple(f"{FEATURES[at]}={contributions[at]:+.4f}" for at in order if contributions[at])
