"""Scores of a model in silence: the hours that the stream scored, scored again by the shadow from rows of the lake.

Holds: which model is the shadow, and rows of `shadow_scores`.
Does not hold: alerts (there are none), the comparison (`shadow_comparison.py`), when it is done (`assets/derive.py`).

It is done beside the stream and after it, since a score of an hour is the same bits offline: no alert waits for a
second model, and none can come of it. That it is the same is seen in each row: the champion is asked again too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.clinical.readings import milliseconds
from pipelines.clinical.sepsis import model_files
from pipelines.clinical.sepsis.history import HOUR_MS
from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.lake_set import CODES, panel_of_rows
from pipelines.clinical.sepsis.model_files import NAME
from pipelines.clinical.sepsis.panel import Panel
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.model_source import ready
from warehouse.analytics import Analytics
from warehouse.contract import Contracts
from warehouse.models.registry import SHADOW, Registry, Role, in_force
from warehouse.models.training_rows import read_rows
from warehouse.settings import Settings

_BEFORE_NEXT_HOUR = timedelta(hours=1) - timedelta(microseconds=1)


class ShadowScorer:
    """Of one lake, as its register is `now` (aware)."""

    def __init__(self, settings: Settings, contracts: Contracts, catalog: Any, now: datetime) -> None:
        self._settings, self._now = settings, now
        self._registry = Registry(settings, contracts, catalog, "shadow")

    def shadow(self) -> Role | None:
        """By which decision a model is watched in silence; None where none is."""
        return in_force(self._registry.roles(), NAME, SHADOW, self._now)

    def rows(self, told: pa.Table, schema: pa.Schema) -> pa.Table:
        """The shadow's scores of the hours that were told, none where there is no shadow.

        Args:
            told: a row an hour and patient: `subject_token`, `hour_start`, `model_version`, `score`, `risk`,
                `is_alerting`.
        """
        role = self.shadow()
        if role is None or not len(told):
            return schema.empty_table()
        panel, place = self._hours(told)
        if panel is None:
            return schema.empty_table()
        shadow, champion = ready(self._registry.load(role.version)), self._champion()
        said, again = shadow.score_panel(panel), champion.score_panel(panel).score
        at = np.flatnonzero(place >= 0)
        row, known = place[at], told.take(pa.array(at))
        same = again[row] == known["score"].to_numpy().astype(np.float32)
        theirs = np.array(known["model_version"].to_pylist()) == champion.version
        return pa.table(
            {
                "subject_token": known["subject_token"].cast(pa.string()),
                "hour_start": known["hour_start"],
                "hour_of_stay": panel.hour[row],
                "model_version": [shadow.version] * len(at),
                "score": said.score[row].astype(np.float64),
                "risk": said.risk[row],
                "is_alerting": said.alert[row],
                "told_version": known["model_version"].cast(pa.string()),
                "told_score": known["score"],
                "told_risk": known["risk"],
                "told_alerting": known["is_alerting"],
                "told_again": pa.array(same, mask=~theirs),
                "scored_at": [self._now] * len(at),
            }
        ).cast(schema)

    def _champion(self) -> OnnxModel:
        role = self._registry.champion(NAME, self._now)
        return ready(self._registry.load(role.version)) if role else OnnxModel(model_files.champion())

    def _hours(self, told: pa.Table) -> tuple[Panel | None, np.ndarray]:
        """The patients' hours, and int64[len(told)]: the row of each that was told, -1 where the lake has none."""
        tokens, hours = told["subject_token"].to_pylist(), milliseconds(told["hour_start"]) // HOUR_MS
        newest: dict[str, int] = {}
        for token, hour in zip(tokens, hours.tolist(), strict=True):
            newest[token] = max(hour, newest.get(token, hour))
        until = [datetime.fromtimestamp(hour * 3600, UTC) + _BEFORE_NEXT_HOUR for hour in newest.values()]
        with Analytics(self._settings) as analytics:
            read, _ = read_rows(analytics, list(newest), until, CODES, late_results=True)
        rows: Mapping[str, pa.Table] = dict(zip(("vitals", "wearables", "labs", "adt_events"), read, strict=True))
        try:
            panel, owners, at_hour = panel_of_rows(rows, IntensiveCare(self._settings.intensive_care))
        except ValueError:  # nothing of them is left
            return None, np.full(len(told), -1)
        owner = np.array(owners)[panel.stay_of_row()].tolist()
        place = {key: row for row, key in enumerate(zip(owner, at_hour.tolist(), strict=True))}
        found = [place.get(key, -1) for key in zip(tokens, hours.tolist(), strict=True)]
        return panel, np.array(found, np.int64)
