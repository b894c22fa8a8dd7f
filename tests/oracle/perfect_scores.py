"""The perfect ward's sepsis scores and the alerts on them: told twice, once while patients are ill and once at the end.

Holds: a small model that anybody can reckon with, the scores that the rows give at each of the two moments, and the
alerts and retractions that follow.
Does not hold: rows (`perfect`, `perfect_streams`), or anything of the product.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .alerts import Decided
from .history import ADMISSIONS, LABS, OWN_TABLE, VITALS, WEARABLES, LakeTable
from .score_checks import ToldScore
from .score_features import Hour
from .score_hours import HOUR_MS, hours_of
from .score_models import ScoreModel
from .sepsis_alerts import Play, Sent

MODEL = ScoreModel(
    "toy", "toy-1", 0.5, 72, ("HR_last", "hour"), lambda rows: (rows[:, 0] - np.float32(100)) / np.float32(5),
    ((0.0, 1.0), (0.0, 0.5)),
)  # fmt: skip


class Told(NamedTuple):
    """A score, whose it is, and when it was told."""

    score: ToldScore
    at_ms: int


def scores_told(tables: dict[str, LakeTable], moments_ms: tuple[int, ...]) -> list[Told]:
    """What is told at each moment: the scores that the rows appended by then give, where they are others than told."""
    told: list[Told] = []
    last: dict[tuple[str, int], ToldScore] = {}
    for at_ms in moments_ms:
        rows = {name: _until(tables[OWN_TABLE[name]].rows, at_ms) for name in (VITALS, WEARABLES, LABS, ADMISSIONS)}
        known = hours_of([rows[VITALS], rows[WEARABLES]], rows[LABS], rows[ADMISSIONS])
        for token, hours in sorted(known.items()):
            for hour in range(hours.began, hours.newest + 1):
                features = Hour(hours, hour, MODEL.window_h).features(MODEL.names)
                score = _score(token, hour, hours.number(hour), float(MODEL.scores(features[None, :])[0]))
                if last.get((token, hour)) != score:
                    last[token, hour] = score
                    told.append(Told(replace(score, scored_us=at_ms * 1000), at_ms))
    return told


def alerts_told(told: list[Told], places: dict[tuple[str, int], tuple[int, int]]) -> list[tuple[Decided, int, float]]:
    """Alerts and retractions, each with when it was decided and its score. `places`: (token, moment) -> a reading's."""
    alerts = []
    for token in sorted({each.score.token for each in told}):
        play = Play(token, set())
        for at_ms in sorted({each.at_ms for each in told}):
            mine = [each.score for each in told if (each.score.token, each.at_ms) == (token, at_ms)]
            before = len(play.decided)
            play.step(mine, [])
            place = places[token, at_ms]
            for decided in play.decided[before:]:
                (score,) = (s.score for s in mine if s.hour == decided.clock_ms // HOUR_MS)
                alerts.append((decided._replace(partition=place[0], offset=place[1]), at_ms, score))
            for decided in [each for each in play.decided if each.alert_id in play.due()]:
                back = decided._replace(retracts=decided.alert_id, partition=place[0], offset=place[1])
                hour = decided.clock_ms // HOUR_MS
                (score,) = (s.score for s in mine if s.hour == hour)
                alerts.append((back, at_ms, score))
                sent = Sent(back.alert_id, token, hour, back.episode_start_ms, score, back.retracts, None, 0, "")
                play.step([], [sent])
    return alerts


def message(told: Told, person: str, source: dict[str, Any], iso: Any) -> bytes:
    """The score as its topic has it."""
    score = told.score
    said = {
        "score_id": f"{score.token[:8]}-{score.hour}-{told.at_ms}", "patient_id": person, "ward": "ICU-1",
        "subject_token": score.token, "model": MODEL.name, "model_version": MODEL.version,
        "hour_start": iso(score.hour * HOUR_MS), "hour_of_stay": score.hour_of_stay, "score": score.score,
        "risk": score.risk, "threshold": score.threshold, "is_alerting": score.is_alerting, "reasons": ["one"],
        "missing": ["another"], "contributions": None, "alert_id": None, "revision": 0,
        "effective_at": iso(told.at_ms - 100), "scored_at": iso(told.at_ms), "source": source,
    }  # fmt: skip
    return json.dumps(said).encode()


def _score(token: str, hour: int, number: int, score: float) -> ToldScore:
    risk, threshold = MODEL.risk(score), MODEL.threshold
    return ToldScore(token, hour, number, score, risk, threshold, score >= threshold, MODEL.version, 0, 0, "")


def _until(rows: pa.Table, at_ms: int) -> pa.Table:
    return rows.filter(pc.less_equal(rows["kafka_time"].cast(pa.int64()), at_ms * 1000))
