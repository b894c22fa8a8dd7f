"""Measures on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.clinical.sepsis import calibrate, evaluate
from pipelines.clinical.sepsis.evaluate import Outcome
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.utility import normalised_utility


def outcome(alerts: list[int]) -> Outcome:
    """A septic stay of 30 hours with onset in its hour 24 (label from 18), then a well one of 18 hours."""
    labels = np.zeros(48, dtype=bool)
    labels[18:30] = True
    sounded = np.zeros(48, dtype=bool)
    sounded[alerts] = True
    return Outcome(labels, np.array([0, 30, 48]), np.where(sounded, 0.9, 0.1), np.where(sounded, 0.5, 0.25), sounded)


def test_what_a_ward_carries() -> None:
    burden = evaluate.burden(outcome([2, 14, 15, 20, 40, 41, 42]))
    assert burden["alert_hours_per_patient_day"] == pytest.approx(7 / 2)
    assert burden["new_alerts_per_patient_day"] == pytest.approx(4 / 2)
    assert burden["alert_hours_that_pay"] == pytest.approx(3 / 7)
    assert burden["septic_stays_alerted"] == 1.0
    assert burden["other_stays_alerted"] == 1.0


def test_an_alert_at_the_end_of_a_stay_is_not_that_of_the_next() -> None:
    assert evaluate.burden(outcome([29, 30]))["new_alerts_per_patient_day"] == pytest.approx(2 / 2)


def test_an_alert_after_onset_was_not_before_it() -> None:
    late = evaluate.burden(outcome([25]))
    assert (late["septic_stays_alerted"], late["septic_stays_alerted_before_onset"]) == (1.0, 0.0)
    assert evaluate.burden(outcome([28]))["septic_stays_alerted"] == 0.0


def test_lead_time_counts_from_the_first_alert_that_pays_and_from_the_first_of_all() -> None:
    lead = evaluate.lead_time(outcome([2, 20, 21]))
    assert lead["lead_h_in_window"][1] == 4.0
    assert lead["lead_h_of_first_alert"][1] == 22.0
    assert evaluate.lead_times(outcome([2, 20, 21])) == [4]
    assert evaluate.lead_time(outcome([40]))["lead_h_in_window"] is None


def test_utility_is_that_of_the_alerts() -> None:
    given = outcome([14, 20, 40])
    assert evaluate.ranking(given)["utility"] == pytest.approx(
        normalised_utility(given.labels, given.starts, given.alerts)
    )


def test_the_curve_passes_through_what_is_set() -> None:
    given = outcome([14, 15, 20, 40])
    wanted = evaluate.ranking(given)["utility"]
    assert wanted is not None
    assert evaluate.alert_hours_for(given, wanted) == pytest.approx(2.0)
    assert evaluate.alert_hours_for(given, 0.999) is None
    curve = evaluate.burden_curve(given)
    assert curve[0]["alert_hours_per_patient_day"] == pytest.approx(2.0)
    assert curve[0]["utility"] == pytest.approx(wanted)


def test_calibration_tells_what_was_said_and_seen() -> None:
    labels, risks = np.arange(1000) % 4 == 0, np.full(1000, 0.25)
    told = evaluate.calibration(Outcome(labels, np.arange(0, 1001, 10), risks, risks, labels))
    assert told["calibration_error"] == pytest.approx(0.0, abs=0.011)
    assert told["brier"] == pytest.approx(told["brier_of_constant"]) == pytest.approx(0.1875)
    wrong = evaluate.calibration(Outcome(labels, np.arange(0, 1001, 10), risks, risks + 0.3, labels))
    assert wrong["calibration_error"] == pytest.approx(0.3)


def test_a_calibrated_risk_is_the_share_that_came() -> None:
    random = np.random.default_rng(1)
    scores = random.random(20_000)
    labels = random.random(20_000) < scores**2
    fitted = calibrate.fit(scores, labels)
    np.testing.assert_allclose(fitted.risk(np.array([0.2, 0.5, 0.9])), [0.04, 0.25, 0.81], atol=0.05)
    assert (np.diff(fitted.risks) > 0).all()
    assert (np.diff(fitted.scores) > 0).all()
    assert calibrate.from_json(fitted.as_json()) == fitted


@pytest.mark.parametrize("tied", [1.0, 0.3])
def test_hours_of_one_score_have_one_risk_in_whatever_order_they_come(tied: float) -> None:
    random = np.random.default_rng(2)
    scores = np.where(random.random(12_000) < tied, 0.3, random.random(12_000))
    labels = np.arange(12_000) % 12_000 >= 11_400  # the septic ones late in the file
    fitted = calibrate.fit(scores, labels)
    seen = labels[scores == 0.3].mean()
    assert fitted.risk(np.array([0.3]))[0] == pytest.approx(seen, rel=0.15)
    order = random.permutation(12_000)
    again = calibrate.fit(scores[order], labels[order])
    np.testing.assert_allclose(again.risk(scores), fitted.risk(scores), atol=1e-12)


def test_subgroups_cover_everybody_once(learning: LearningSet) -> None:
    groups = evaluate.subgroups(learning.panel)
    ages = np.sum([groups[name] for name in ("under 45", "45 to 64", "65 to 79", "80 and over")], axis=0)
    units = np.sum([groups[name] for name in ("medical unit", "surgical unit", "unit not told")], axis=0)
    assert (ages == 1).all()
    assert (units == 1).all()


def test_the_interval_holds_the_utility_and_narrows_with_stays() -> None:
    few, many = outcome([14, 20, 40]), repeated(outcome([14, 20, 40]), 200)
    bounds = evaluate.interval(many, 1)
    assert bounds is not None
    assert bounds[0] <= evaluate.ranking(many)["utility"] <= bounds[1]
    wide = evaluate.interval(few, 1)
    assert wide is not None
    assert bounds[1] - bounds[0] < wide[1] - wide[0]


def repeated(given: Outcome, times: int) -> Outcome:
    lengths = np.tile(np.diff(given.starts), times)
    columns = (given.labels, given.scores, given.risks, given.alerts)
    labels, scores, risks, alerts = (np.tile(column, times) for column in columns)
    return Outcome(labels, np.concatenate([[0], np.cumsum(lengths)]), scores, risks, alerts)
