"""What must be true of sepsis scores: of each hour the last one told is what the rows in the lake give.

Holds: the comparison of `clinical.scores` with its recomputation from the rows.
Does not hold: the recomputation (`score_hours`, `score_features`, `score_models`), alerts on scores (`sepsis_alerts`).

Hours of a patient are scored anew within `REACH_H` of the newest, whatever came when; of those the last score must be
that of all rows. An hour that has fallen out of reach keeps the score of what was known in time: nothing in the lake
tells in which order topics were read, so it is held to being a score, not to which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .findings import Finding, of_topic
from .history import ADMISSIONS, LABS, OWN_TABLE, SCORES, VITALS, WEARABLES, History
from .score_features import Hour
from .score_hours import Hours, hours_of
from .score_models import ScoreModel

REACH_H = 24
HOUR_US = 3_600_000_000

Place = tuple[str, int]
"""subject token, hour since 1970 UTC"""


@dataclass(frozen=True, slots=True)
class ToldScore:
    """A score as its message tells it. `hour`: since 1970 UTC; `hour_of_stay`: counted from its beginning, from 1;
    `scored_us`: when it was told; `at`: its position."""

    token: str
    hour: int
    hour_of_stay: int
    score: float
    risk: float
    threshold: float
    is_alerting: bool
    version: str
    revision: int
    scored_us: int
    at: str


def told_scores(log: pa.Table) -> list[ToldScore]:
    """The readable scores of a log in its order: partition by partition, so each patient's in the order of telling."""
    known = log.filter(pc.is_null(log["fault"]))
    names = ("hour_of_stay", "score", "risk", "threshold", "is_alerting", "model_version", "revision")
    columns = [known[name].to_pylist() for name in ("subject_token", *names, "partition", "offset")]
    hour_us, scored_us = (known[name].cast(pa.int64()).to_pylist() for name in ("hour_start", "scored_at"))
    return [
        ToldScore(token, hour // HOUR_US, *said, at, _position(partition, offset))
        for hour, at, (token, *said, partition, offset) in zip(
            hour_us, scored_us, zip(*columns, strict=True), strict=True
        )
    ]


def _position(partition: int, offset: int) -> str:
    return f"partition {partition} offset {offset}"


def known_hours(history: History) -> dict[str, Hours]:
    """Of each patient what the rows in the lake say."""
    rows = {
        name: of_topic(history.tables[OWN_TABLE[name]], history.streams[name].topic_id)
        for name in (VITALS, WEARABLES, LABS, ADMISSIONS)
        if name in history.streams
    }
    readings = [rows[name] for name in (VITALS, WEARABLES) if name in rows]
    return hours_of(readings, rows.get(LABS), rows.get(ADMISSIONS), history.intensive_care)


def check_scores(history: History) -> Iterator[Finding]:
    """Every hour in reach has the score that its rows give; no score is of nobody, of no model, or of the future."""
    told = told_scores(history.streams[SCORES].log)
    models = {model.version: model for model in history.models}
    known = known_hours(history)
    yield _finding("scores_forged", [t for t in told if t.version not in models], "score of a model not given")
    told = [t for t in told if t.version in models]
    beyond = [t for t in told if t.token not in known or t.hour > known[t.token].newest]
    yield _finding("scores_forged", beyond, "score of an hour without a measurement")
    yield _finding("scores_forged", _unlike_model(told, models), "risk, threshold or call are not the model's")
    yield _finding("scores_forged", _orphans(told), "contributions to a score that was not told")
    last = {(t.token, t.hour): t for t in told if t.revision == 0}
    wrong, misnumbered, missing = [], [], 0
    for place, score in recomputed(known, last, models, history.models[0]).items():
        if place not in last:
            missing += 1
        elif last[place].score != score:
            wrong.append(last[place])
        elif not known[place[0]].is_longer_than_sought and last[place].hour_of_stay != known[place[0]].number(place[1]):
            misnumbered.append(last[place])
    yield Finding("scores_missing", missing, "hour that the rows give, without a score")
    yield _finding("scores_wrong", wrong, "last score of an hour is not what its rows give")
    yield _finding("scores_wrong", misnumbered, "last score of an hour counts it as another hour of the stay")


def recomputed(
    known: Mapping[str, Hours], last: Mapping[Place, ToldScore], models: Mapping[str, ScoreModel], other: ScoreModel
) -> dict[Place, float]:
    """The score of every hour in reach, each by the model that scored it last; by `other` where none did."""
    by_model: dict[str, list[Place]] = {}
    for token, hours in known.items():
        for at in range(max(hours.began, hours.newest - REACH_H + 1), hours.newest + 1):
            version = last[token, at].version if (token, at) in last else other.version
            by_model.setdefault(version, []).append((token, at))
    found: dict[Place, float] = {}
    for version, places in by_model.items():
        model = models[version]
        rows = [Hour(known[token], at, model.window_h).features(model.names) for token, at in places]
        found.update(zip(places, model.scores(np.stack(rows)).astype(float).tolist(), strict=True))
    return found


def _unlike_model(told: list[ToldScore], models: Mapping[str, ScoreModel]) -> list[ToldScore]:
    return [
        t
        for t in told
        if t.threshold != models[t.version].threshold
        or t.is_alerting != (t.score >= t.threshold)
        or abs(t.risk - models[t.version].risk(t.score)) > 1e-9
    ]


def _orphans(told: list[ToldScore]) -> list[ToldScore]:
    scored = {(t.token, t.hour, t.score, t.version) for t in told if t.revision == 0}
    return [t for t in told if t.revision and (t.token, t.hour, t.score, t.version) not in scored]


def _finding(heading: str, wrong: list[ToldScore], what: str) -> Finding:
    return Finding(heading, len(wrong), f"{SCORES}: {what}", wrong[0].at if wrong else "")
