"""A look for drift over a real lake in a folder: whom it takes, what it finds, keeps, and goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.drift import look_at
from pipelines import drift_look
from pipelines.clinical.sepsis import model_files
from pipelines.clinical.sepsis.drift_profile import Profile, profile_of, read_profile, write_profile
from pipelines.clinical.sepsis.variables import VARIABLES
from pipelines.drift_look import DriftWatch, Looked, NotOverError, profile_of_rows, profile_rows
from pipelines.drift_page import drift_page, index_page
from tests.pipelines.clinical.sepsis.test_drift import stays
from tests.pipelines.test_retraining import TABLES, put
from tests.warehouse.conftest import lake_settings
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.settings import Settings

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
DAY = datetime(2026, 11, 21, tzinfo=UTC)
HOURS, STAYS = 12, 120
CODE = {variable.name: variable.codes[0] for variable in VARIABLES}
VERSION = model_files.champion().version


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")
    catalog, contracts = open_catalog(settings), load_contracts()
    for name in TABLES:
        create_table(catalog, settings.namespace, contracts.table(name), table_lock(settings))
    return settings


@pytest.fixture(autouse=True)
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in model's stays are real; in these tests it was made with made-up ones like those of the lake."""
    monkeypatch.setattr(drift_look, "read_profile", lambda folder: REFERENCE)


def readings(number: int, begun: datetime, random: np.random.Generator, still: bool = False) -> list[dict[str, Any]]:
    """A stay's vital signs by the hour: where `still`, saturation stands still."""
    usual = {"HR": 85 + random.normal(0, 12), "O2Sat": 96.0, "Resp": 18 + random.normal(0, 3)}
    rows = []
    for hour in range(HOURS):
        moment = begun + timedelta(hours=hour, minutes=5)
        for name, value in usual.items():
            spread = 0.0 if still and name == "O2Sat" else 2.0
            rows.append(
                {
                    "event_id": f"{number}-{hour}-{name}", "subject_token": f"token{number:04d}", "code": CODE[name],
                    "numeric_value": round(value + float(random.normal(0, spread)), 1), "unit": "1",
                    "event_time": moment, "kafka_time": moment, "ward": f"ICU-{number % 2}",
                    "device_id": f"MON-{number % 10}", "kafka_offset": len(rows) + number * 1000,
                }
            )  # fmt: skip
    return rows


def results(number: int, begun: datetime, random: np.random.Generator, factor: float) -> list[dict[str, Any]]:
    taken = begun + timedelta(hours=2)
    value = float(np.exp(random.normal(0, 0.25))) * factor
    return [
        {
            "event_id": f"{number:08d}", "order_id": f"o{number}", "subject_token": f"token{number:04d}",
            "code": CODE["Creatinine"], "numeric_value": value, "unit": "mg/dL", "status": "F",
            "collected_at": taken, "reported_at": taken, "kafka_time": taken, "kafka_offset": number,
        }
    ]  # fmt: skip


def fill(settings: Settings, begun: datetime, first: int = 0, factor: float = 1.0, still: Iterable[int] = ()) -> None:
    random = np.random.default_rng(7 + first)
    numbers, stuck = range(first, first + STAYS), set(still)
    rows = [readings(n, begun + timedelta(minutes=n % 60), random, n % 10 in stuck) for n in numbers]
    put(settings, "vitals", [row for part in rows for row in part])
    put(settings, "labs", [row for n in numbers for row in results(n, begun, random, factor)])


def reference_of(begun: datetime) -> Profile:
    """What 600 such stays looked like."""
    from pipelines.clinical.sepsis.recent_stays import facts_of_rows
    from tests.pipelines.clinical.sepsis.test_lake_set import EMPTY_ADT, table

    random = np.random.default_rng(99)
    vitals = [row | {"quality_flag": None} for n in range(600) for row in readings(n, begun, random)]
    labs = [row | {"quality_flag": None} for n in range(600) for row in results(n, begun, random, 1.0)]
    rows = {"vitals": table(vitals), "wearables": table(vitals[:1]).slice(0, 0), "labs": table(labs),
            "adt_events": EMPTY_ADT}  # fmt: skip
    nowhere = table([{"subject_token": "nobody", "ward": "", "device": ""}])
    facts = facts_of_rows(rows, nowhere)
    assert facts is not None
    return profile_of(facts)


REFERENCE = reference_of(DAY)


def watch(settings: Settings) -> DriftWatch:
    return DriftWatch(settings, load_contracts(), open_catalog(settings), "test")


def look(settings: Settings, **said: Any) -> Looked:
    return watch(settings).look(DAY.date(), NOW, **said)


def test_an_empty_lake_is_looked_at_and_found_too_small(lake: Settings) -> None:
    looked = look(lake)
    assert (looked.report.stays, looked.report.tests, looked.report.drifted) == (0, 0, False)
    (row,) = watch(lake).looks.reports()
    assert (row["kind"], row["because"], row["day"]) == ("none", "too few stays to judge anything by", DAY)
    assert "too few stays" in drift_page(looked)


def test_stays_like_those_of_the_model_raise_nothing_and_wards_become_known(lake: Settings) -> None:
    fill(lake, DAY, 0)
    fill(lake, DAY, STAYS)
    looked = look(lake)
    assert looked.report.stays == 2 * STAYS
    assert looked.report.tests > 5
    assert not looked.report.drifted, looked.report.causes
    assert looked.begun == ("ward:ICU-0", "ward:ICU-1")
    again = look(lake)
    assert again.begun == ()
    assert again.report.tests > looked.report.tests


def test_a_laboratory_that_changes_its_unit_is_named_and_nothing_is_retrained(lake: Settings) -> None:
    fill(lake, DAY, factor=88.4)
    looked = look(lake)
    (cause,) = looked.report.causes
    assert (cause.kind, cause.items, cause.unit) == ("unit_change", ("Creatinine",), "umol/L")
    (row,) = watch(lake).looks.reports()
    assert (row["kind"], row["retrains"], row["version"]) == ("unit_change", False, VERSION)
    assert json.loads(row["snapshots"]).keys() >= {"vitals", "labs"}
    assert looked.begun == ()
    page = drift_page(looked)
    assert "a unit changed" in page
    assert "mend the unit" in page
    assert "http" not in page
    assert f'href="{DAY.date()}.html"' in index_page(watch(lake).looks.reports())


def test_a_monitor_that_stands_still_is_named_by_its_device(lake: Settings) -> None:
    fill(lake, DAY, still=[3])
    assert ("frozen_sensor", ("O2Sat",), "device:MON-3") in [
        (cause.kind, cause.items, cause.where) for cause in look(lake).report.causes
    ]


def test_stays_that_began_before_the_days_are_left_out(lake: Settings) -> None:
    fill(lake, DAY - timedelta(hours=6))
    fill(lake, DAY, STAYS)
    assert look(lake, days=1).report.stays == STAYS
    assert look(lake, days=2).report.stays == 2 * STAYS


def test_whoever_lay_there_when_the_reading_begins_has_not_begun_then(lake: Settings) -> None:
    """Without an admission nobody knows for how long: months, it may be."""
    fill(lake, DAY - timedelta(days=13))
    fill(lake, DAY - timedelta(days=11), STAYS)
    fill(lake, DAY - timedelta(days=10), 2 * STAYS)
    assert look(lake).report.stays == 2 * STAYS


def test_a_look_at_what_was_known_earlier_sees_nothing_that_came_later(lake: Settings) -> None:
    fill(lake, DAY)
    assert look(lake, as_of=datetime(2020, 1, 1, tzinfo=UTC), keep=False).report.stays == 0
    assert watch(lake).looks.reports() == []


def test_a_model_of_which_nobody_kept_its_stays_is_said_to_have_no_reference(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_look, "read_profile", lambda folder: None)
    assert not look(lake).report.drifted
    (row,) = watch(lake).looks.reports()
    assert "nobody kept what the model's stays looked like" in row["because"]


def scores(first: int, many: int, risk: float, ended: datetime) -> list[dict[str, Any]]:
    """The first days of stays whose 24th hours follow each other by minutes."""
    rows = []
    for number in range(first, first + many):
        begun = ended - timedelta(hours=23, minutes=number % 50)
        for hour in (1, 12, 24):
            at = begun.replace(minute=0) + timedelta(hours=hour - 1)
            rows.append(
                {
                    "score_id": f"{number}-{hour}", "subject_token": f"token{number:04d}", "model": "sepsis",
                    "model_version": VERSION, "hour_start": at, "hour_of_stay": hour, "score": 0.5, "threshold": 0.6,
                    "risk": risk * (0.5 + (number % 10) / 10), "scored_at": at, "effective_at": at,
                    "kafka_offset": len(rows) + first * 100,
                }
            )  # fmt: skip
    return rows


def test_scores_that_rise_are_found_once_and_taken_in_once(lake: Settings) -> None:
    put(lake, "scores", scores(0, 300, 0.02, DAY - timedelta(hours=12)))
    before = watch(lake).look(DAY.date() - timedelta(days=1), NOW)
    assert before.monitors[0].stretch.stays == 300
    assert not before.report.drifted
    put(lake, "scores", scores(300, 300, 0.2, DAY + timedelta(hours=12)))
    after = look(lake)
    assert after.monitors[0].stretch.stays == 600
    assert [cause.kind for cause in after.report.causes] == ["score_change"]
    assert not after.report.retrains
    again = look(lake)
    assert again.monitors[0].stretch.stays == 600
    assert not again.report.drifted


@pytest.mark.parametrize("turned", [False, True])
def test_of_scores_of_an_hour_made_in_one_moment_the_last_appended_counts(lake: Settings, turned: bool) -> None:
    before = scores(0, 1, 0.02, DAY + timedelta(hours=12))
    after = [row | {"score_id": f"{row['score_id']}-1", "risk": 0.5, "kafka_offset": 900} for row in before]
    rows = [*before, *after]
    put(lake, "scores", rows[::-1] if turned else rows)
    assert look(lake).monitors[0].stretch.values == (0.5,)


def outcomes(first: int, many: int, said: datetime, known: datetime, word: str = "no_sepsis") -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"{number}-{known:%d%H}", "subject_token": f"token{number:04d}", "action": "outcome",
            "outcome": word, "event_time": said, "kafka_time": known, "kafka_offset": number,
        }
        for number in range(first, first + many)
    ]  # fmt: skip


def test_an_outcome_counts_once_for_errors_and_when_it_became_known(lake: Settings) -> None:
    def errors(day: int) -> int:
        at = DAY + timedelta(days=day)
        looked = watch(lake).look(at.date(), at + timedelta(days=1, hours=6))
        return next(each.stretch.stays for each in looked.monitors if each.monitor == "errors")

    def at(day: int, hour: int) -> datetime:
        return DAY + timedelta(days=day, hours=hour)

    fill(lake, DAY - timedelta(days=2))
    put(lake, "alert_feedback", outcomes(0, 20, at(0, 5), at(0, 5)))
    assert errors(0) == 20
    # Said again, corrected, and of others: said on the second day, sent on the third.
    put(lake, "alert_feedback", outcomes(0, 10, at(1, 9), at(1, 9)))
    put(lake, "alert_feedback", outcomes(10, 5, at(1, 9), at(1, 10), "uncertain"))
    assert errors(1) == 20
    put(lake, "alert_feedback", outcomes(20, 20, at(1, 20), at(2, 7)))
    assert errors(2) == 40


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=365)])
def test_a_day_that_is_not_over_is_refused_unless_nothing_is_kept(lake: Settings, ahead: timedelta) -> None:
    with pytest.raises(NotOverError, match="is not over"):
        watch(lake).look((DAY + ahead).date(), NOW)
    with pytest.raises(NotOverError):
        look_at(lake, (DAY + ahead).date(), NOW)
    assert watch(lake).looks.reports() == []
    assert watch(lake).looks.monitor("scores", VERSION) is None
    assert watch(lake).look((DAY + ahead).date(), NOW, keep=False).look == ""


def test_a_look_ahead_that_an_earlier_release_kept_blinds_no_monitor(lake: Settings) -> None:
    ahead = {
        "monitor": "scores", "version": VERSION, "seen_until": DAY + timedelta(days=365), "stays": 2,
        "values": [0.02, 0.03], "changes": 0, "mean": 0.025, "made_at": DAY,
    }  # fmt: skip
    watch(lake).looks.keep_monitor(ahead)
    put(lake, "scores", scores(0, 50, 0.02, DAY + timedelta(hours=12)))
    assert look(lake).monitors[0].stretch.stays == 52
    row = watch(lake).looks.monitor("scores", VERSION)
    assert row is not None
    assert (row["stays"], row["seen_until"]) == (52, DAY + timedelta(days=1))


def test_a_profile_comes_back_as_it_was_kept_in_the_lake_and_as_a_file(lake: Settings, tmp_path: Path) -> None:
    made, profile = watch(lake), profile_of(stays(300, 3))
    made.looks.keep_profile("aa11", profile_rows(profile, "aa11", NOW))
    write_profile(tmp_path, profile)
    read = read_profile(tmp_path)
    assert read is not None
    for kept, close in ((profile_of_rows(made.looks.profile("aa11")), 0.0), (read, 1e-6)):
        assert kept.items.keys() == profile.items.keys()
        for key, each in profile.items.items():
            np.testing.assert_allclose(kept.items[key].quantiles, each.quantiles, rtol=close)
            assert kept.items[key].of_stays == each.of_stays
    assert read_profile(tmp_path / "nowhere") is None
