"""Scores and sepsis alerts of the stream against what the oracle, which shares no code with it, works out from rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipelines.clinical.sepsis.features import FEATURES, WINDOW_H, features
from pipelines.clinical.sepsis.model_files import champion
from pipelines.clinical.sepsis.panel import Panel
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.scoring import OneModel, SepsisModel
from pipelines.clinical.sepsis.stream_score import ADMISSIONS, RESULTS, VITALS, SepsisMonitor, Told
from pipelines.clinical.sepsis.variables import NAMES, VARIABLES
from tests.oracle.findings import Finding
from tests.oracle.score_checks import ToldScore, recomputed
from tests.oracle.score_features import Hour
from tests.oracle.score_hours import HOUR_MS, Hours, hours_of
from tests.oracle.score_models import BUILT_IN, read_model
from tests.oracle.sepsis_alerts import Sent, check_patient
from tests.oracle.stay_start import Start
from tests.pipelines.clinical.sepsis.stream_rows import START, table
from tests.pipelines.clinical.sepsis.test_stream_score import Row, hr, lactate, made_stays
from tests.pipelines.clinical.sepsis.toy_model import ToyModel

FIRST = int(START.timestamp()) // 3600


def _panel(rng: np.random.Generator, many: int) -> Panel:
    low, high = np.array([variable.bounds for variable in VARIABLES]).T
    values = np.round(low + (high - low) * rng.random((many, len(VARIABLES))), 1).astype(np.float32)
    usual = rng.random(len(VARIABLES)) < 0.3  # constant for hours, as vital signs are: differences of exactly nothing
    values[:, usual] = values[0, usual]
    values[rng.random(values.shape) < rng.uniform(0.1, 0.95)] = np.nan
    whole = np.ones(many, np.float32)
    hours = np.arange(1, many + 1)
    return Panel(values, np.array([0, many]), hours, whole * 61, whole, whole * np.float32(-3.5), whole)


def _hours(panel: Panel) -> Hours:
    """The same hours as the oracle knows them."""
    told = Hours(start=Start(FIRST, 61.0, 1.0, float(panel.admission_h[0])))
    for nth, row in enumerate(panel.values):
        told.measured.add(FIRST + nth)
        for name, value in zip(NAMES, row, strict=True):
            if not np.isnan(value):
                told.take(name, (FIRST + nth) * HOUR_MS, value)
    return told


@pytest.mark.parametrize(("seed", "many"), [(1, 30), (2, 100), (3, 7)])
def test_every_feature_of_every_hour_is_the_same_to_the_bit(seed: int, many: int) -> None:
    panel = _panel(np.random.default_rng(seed), many)
    rows, known = features(panel), _hours(panel)
    asked = range(many) if many < 50 else (*range(5), *range(70, 80), many - 1)
    for nth in asked:
        mine = Hour(known, FIRST + nth, WINDOW_H).features(FEATURES)
        same = (mine == rows[nth]) | (np.isnan(mine) & np.isnan(rows[nth]))
        assert same.all(), (nth, [name for name, alike in zip(FEATURES, same, strict=True) if not alike])


def _played(story: list[Row], size: int, model: SepsisModel | None = None) -> list[Told]:
    """What the stream tells, call by call; the model is the one that comes with the product, where none is given."""
    monitor = SepsisMonitor(OneModel(model or OnnxModel(champion())))
    told, rows = [], list(story)
    while rows:
        many = 1
        while many < min(size, len(rows)) and rows[many][0] == rows[0][0]:
            many += 1
        told.append(monitor.observe(rows[0][0], table([row for _, row in rows[:many]])))
        rows = rows[many:]
    return [*told, monitor.settle()]


def _scores(told: list[Told]) -> list[ToldScore]:
    return [
        ToldScore(
            s.subject_token, s.hour_ms // HOUR_MS, s.hour_of_stay, s.score, s.risk, s.threshold, s.is_alerting,
            s.model_version, 0, nth, "",
        )
        for nth, of in enumerate(told)
        for s in of.scores
    ]  # fmt: skip


def _alerts(told: list[Told]) -> list[Sent]:
    return [
        Sent(
            a.alert_id, a.subject_token, a.effective_ms // HOUR_MS, a.episode_start_ms, a.score or 0.0, a.retracts,
            a.withheld_because, nth, "",
        )
        for nth, of in enumerate(told)
        for _, a in of.alerts
    ]  # fmt: skip


def _wrong(told: list[Told]) -> list[Finding]:
    scores, alerts = _scores(told), _alerts(told)
    sent = [alert for alert in alerts if alert.because is None]
    withheld = [alert for alert in alerts if alert.because is not None]
    return [
        finding
        for token in sorted({score.token for score in scores})
        for finding in check_patient(
            token,
            [s for s in scores if s.token == token],
            [a for a in sent if a.token == token],
            [a for a in withheld if a.token == token],
        )
        if finding.count
    ]


@pytest.mark.parametrize(("seed", "size"), [(1, 9), (2, 40), (3, 700)])
def test_the_last_score_of_every_hour_and_every_alert_are_those_of_the_oracle(seed: int, size: int) -> None:
    story = made_stays(seed, 2, 14)
    told = _played(story, size)
    rows: dict[str, pa.Table] = {
        stream: table([row for of, row in story if of == stream]) for stream in (VITALS, RESULTS, ADMISSIONS)
    }
    model = read_model(BUILT_IN)
    last = {(score.token, score.hour): score for score in _scores(told)}
    known = hours_of([rows[VITALS]], rows[RESULTS], rows[ADMISSIONS])
    wanted = recomputed(known, last, {model.version: model}, model)
    assert {place: last[place].score for place in wanted} == wanted
    assert all(last[token, hour].hour_of_stay == known[token].number(hour) for token, hour in wanted)
    assert not _wrong(told)
    assert [alert for alert in _alerts(told) if alert.because is None and alert.retracts is None]


@pytest.mark.parametrize("size", [1, 5])
def test_alerts_taken_back_and_told_anew_are_those_of_the_oracle(size: int) -> None:
    story = [hr(0.0), lactate(0.1, 4.0), hr(1.0), lactate(0.1, 1.0, status="C", reported=1.5)]
    story += [lactate(0.1, 4.0, status="C", reported=1.6), hr(2.0), hr(8.0), lactate(8.2, 1.0, "p"), hr(9.5)]
    told = _played(story, size, ToyModel())
    assert [alert.retracts is not None for alert in _alerts(told)].count(True) == (1 if size == 1 else 0)
    assert not _wrong(told)


def test_an_alert_or_a_retraction_left_out_is_missed() -> None:
    told = _played([hr(0.0), lactate(0.1, 4.0), hr(1.0), lactate(0.1, 1.0, status="C", reported=1.5)], 1, ToyModel())
    with_alerts = [nth for nth, each in enumerate(told) if each.alerts]
    assert len(with_alerts) == 2
    for nth in with_alerts:
        left_out = [replace(each, alerts=()) if at == nth else each for at, each in enumerate(told)]
        assert _wrong(left_out)
