"""Results, glucose and vasopressors beside vital signs: corrections, retractions, any cut, any order, one state."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.alerts.message import Evidence
from pipelines.clinical.carry_forward import NEVER
from pipelines.clinical.monitor import WardMonitor
from pipelines.clinical.results import LabResults, results, rounds
from tests.examples import tried
from tests.pipelines.clinical.streams import (
    LABS,
    LACTATE,
    MEDICATION,
    PACO2,
    VITALS,
    WBC,
    WEARABLES,
    dose,
    hospital,
    result,
    rows_of,
    sample,
)  # fmt: skip
from tests.pipelines.clinical.wards import BASE, MINUTE, reading


def observed(told, monitor=None, cut=lambda nth: False):
    """Alerts of messages in this order; neighbours of one stream go together unless `cut(nth)` parts them."""
    monitor = monitor or WardMonitor()
    alerts, batch = [], []
    for nth, (stream, message) in enumerate(told):
        if batch and (batch[-1][0] != stream or cut(nth)):
            alerts += monitor.observe(rows_of(batch[0][0], [m for _, m in batch]), None, batch[0][0])
            batch = []
        batch.append((stream, message))
    if batch:
        alerts += monitor.observe(rows_of(batch[0][0], [m for _, m in batch]), None, batch[0][0])
    return alerts


def lactates(*told):
    return [(LABS, result("t0", LACTATE, *rest, offset, *more)) for offset, (rest, more) in enumerate(told)]


def ids(alerts):
    return [(a.rule, a.level, a.retracts is not None) for a in alerts]


def test_a_result_beyond_its_limit_alerts_with_what_it_was_reckoned_from():
    (alert,) = observed([(LABS, result("t0", LACTATE, 4.2, 0, 0, "o1", appended=30))])
    assert (alert.rule, alert.level, alert.severity, alert.value) == ("threshold.lactate", 2, "urgent", 4.2)
    assert alert.evidence == (Evidence(LACTATE, 4.2, BASE).text,)
    assert (alert.device_ms, alert.effective_ms, alert.appended_ms) == (BASE, BASE, BASE + 30 * MINUTE)
    assert "4 mmol/L" in alert.reasons[0]


def corrected(value, status="C"):
    return [
        (LABS, result("t0", LACTATE, 4.2, 0, 0, "o1", appended=30)),
        (LABS, result("t0", LACTATE, value, 0, 1, "o1", status, appended=60)),
    ]


@pytest.mark.parametrize(("value", "status"), [(1.2, "C"), (None, "X")])
def test_a_correction_takes_back_the_alert_it_had_caused(value, status):
    first, second = observed(corrected(value, status))
    assert (second.retracts, second.level, second.rule) == (first.alert_id, 2, "threshold.lactate")
    assert second.alert_id != first.alert_id
    assert second.offset == 1


def test_a_correction_to_a_lower_level_takes_back_the_higher_and_tells_the_lower():
    alerts = observed(corrected(2.8))
    assert ids(alerts) == [
        ("threshold.lactate", 2, False),
        ("threshold.lactate", 2, True),
        ("threshold.lactate", 1, False),
    ]


@pytest.mark.parametrize("value", [4.0, 6.6])
def test_a_correction_after_which_the_level_holds_takes_nothing_back(value):
    assert ids(observed(corrected(value))) == [("threshold.lactate", 2, False)]


def test_a_version_that_is_older_by_its_own_word_changes_nothing():
    told = [
        (LABS, result("t0", LACTATE, 4.2, 0, 0, "o1", "F", reported=50, appended=51)),
        (LABS, result("t0", LACTATE, 1.2, 0, 1, "o1", "P", reported=20, appended=60)),
    ]
    assert ids(observed(told)) == [("threshold.lactate", 2, False)]


def test_an_alert_taken_back_and_due_again_bears_another_id():
    told = [*corrected(1.2), (LABS, result("t0", LACTATE, 5.0, 0, 2, "o1", "C", appended=90))]
    first, _, again = observed(told)
    assert (again.rule, again.level, again.retracts, again.revision) == (first.rule, 2, None, 1)
    assert again.alert_id != first.alert_id


def test_what_an_alert_taken_back_had_sent_does_not_cool_down_the_next():
    told = [*corrected(1.2), (LABS, result("t0", LACTATE, 4.4, 10, 2, "o2", appended=70))]
    assert [(a.level, a.withheld_because) for a in observed(told)][-1] == (2, None)


def test_what_is_taken_back_leaves_the_cool_down_of_an_alert_that_stands():
    values = [(4.2, 0), (1.0, 5), (1.0, 16), (4.4, 31)]
    told = [
        (LABS, result("t0", LACTATE, value, at, nth, f"o{nth}", appended=at)) for nth, (value, at) in enumerate(values)
    ]
    told.append((LABS, result("t0", LACTATE, 1.2, 0, 4, "o0", "C", appended=32)))
    later = [(1.0, 36), (1.0, 47), (4.4, 50)]
    told += [
        (LABS, result("t0", LACTATE, value, at, nth, f"o{nth}", appended=at))
        for nth, (value, at) in enumerate(later, 5)
    ]
    first, second, back, third = observed(told)
    assert [each.withheld_because for each in (first, second, third)] == [None, None, "cool_down"]
    assert back.retracts == first.alert_id


def sepsis(minute, offset, token="t0", **changed):
    values = {"8310-5": 37.0, "8867-4": 80.0, "9279-1": 16.0} | changed
    return [
        (VITALS, reading(token, code, value, minute, offset + nth)) for nth, (code, value) in enumerate(values.items())
    ]


def test_sirs_counts_signals_and_results_together_and_says_from_what():
    told = [*sepsis(0, 0, **{"8867-4": 105.0}), (LABS, result("t0", WBC, 13.5, -20, 0, "o1", appended=1))]
    (alert,) = [a for a in observed(told) if a.rule == "sirs"]
    assert (alert.score, alert.level, alert.score_is_lower_bound) == (2.0, 1, True)
    assert {Evidence.of(text).code for text in alert.evidence} == {"8310-5", "8867-4", "9279-1", WBC}
    assert alert.missing == ("immature_leukocytes",)


def test_a_corrected_result_takes_back_the_score_it_was_part_of():
    told = [*sepsis(0, 0, **{"8867-4": 105.0}), (LABS, result("t0", WBC, 13.5, -20, 0, "o1", appended=1))]
    told += [(LABS, result("t0", WBC, 9.0, -20, 1, "o1", "C", appended=5))]
    first, second = [a for a in observed(told) if a.rule == "sirs"]
    assert second.retracts == first.alert_id


def test_a_result_that_the_score_does_without_takes_nothing_back():
    told = [
        *sepsis(0, 0, **{"8867-4": 105.0, "9279-1": 25.0}),
        (LABS, result("t0", WBC, 13.5, -20, 0, "o1", appended=1)),
    ]
    told += [(LABS, result("t0", WBC, 9.0, -20, 1, "o1", "C", appended=5))]
    assert ids(a for a in observed(told) if a.rule == "sirs") == [("sirs", 1, False)]


def test_a_result_older_than_a_day_counts_no_more():
    told = [(LABS, result("t0", WBC, 13.5, -1441, 0, "o1", appended=-1400)), *sepsis(0, 0, **{"8867-4": 105.0})]
    assert [a for a in observed(told) if a.rule == "sirs"] == []


def test_sofa_takes_vasopressors_until_they_are_stopped():
    platelets = (LABS, result("t0", "777-3", 120.0, -5, 0, "o1", appended=-4))
    given, stopped = (
        (MEDICATION, dose("t0", "7512", 0.05, 0, 0)),
        (MEDICATION, dose("t0", "7512", None, 30, 1, "stopped")),
    )
    pressure = [(VITALS, reading("t0", "8478-0", 80.0, minute, minute)) for minute in (1, 31)]
    (alert,) = [a for a in observed([platelets, given, pressure[0], stopped, pressure[1]]) if a.rule == "sofa"]
    assert (alert.score, alert.offset) == (4.0, 1)
    assert any("circulation scores 3" in reason for reason in alert.reasons)
    assert [a for a in observed([platelets, given, stopped, pressure[1]]) if a.rule == "sofa"] == []


def test_glucose_out_of_range_alerts_once_and_an_urgent_low_again():
    low = [(WEARABLES, sample("t0", 65, minute, nth)) for nth, minute in enumerate((0, 5, 10, 15, 20))]
    alerts = observed([*low, (WEARABLES, sample("t0", 50, 25, 5))])
    assert [(a.rule, a.level, a.offset) for a in alerts] == [("glucose.low", 1, 4), ("glucose.low", 2, 5)]
    assert "below 70 for 20 min" in alerts[0].reasons[0]


def test_glucose_above_the_limit_has_no_urgent_one():
    high = [(WEARABLES, sample("t0", 400, minute, nth)) for nth, minute in enumerate((0, 5, 10, 15, 20))]
    (alert,) = observed(high)
    assert (alert.rule, alert.level, alert.severity) == ("glucose.high", 1, "warning")
    assert "above 180 for 20 min" in alert.reasons[0]


@tried(4)
@given(st.integers(0, 500), st.sets(st.integers(0, 360), max_size=20))
def test_any_cut_into_batches_gives_the_same_alerts(seed, cuts):
    told = hospital(seed, minutes=120)
    assert observed(told, cut=cuts.__contains__) == observed(told)


def test_the_hospital_of_these_tests_tries_every_rule_and_retractions():
    alerts = observed(hospital(1))
    rules = {alert.rule for alert in alerts}
    assert {"threshold.lactate", "sirs", "sofa", "qsofa", "shock_index", "glucose.low"} <= rules
    assert {alert.rule for alert in alerts if alert.retracts} >= {"threshold.lactate", "sirs", "sofa"}
    assert {alert.withheld_because for alert in alerts} == {None, "cool_down"}


def final_state(told):
    """What is known of each subject at the end: newest signals, results as of the end, vasopressors, glucose."""
    monitor = WardMonitor()
    observed(told, monitor)
    tokens = sorted({m["token"] for _, m in told if m["token"]})
    state = monitor._state
    slots = state.patients.slots_of(tokens)
    end = np.full(len(slots), BASE + 700 * MINUTE)
    parts = [
        state._newest.as_of(slots, end),
        state._results.as_of(slots, end),
        state._drugs.as_of(slots, end),
    ]
    glucose = [state._glucose._place.get(int(slot)) for slot in slots]
    held = [None if at is None else (state._glucose._at_ms[at], state._glucose._value[at]) for at in glucose]
    return str([[np.where(times == NEVER, 0, times).tolist(), values.tolist()] for values, times in parts]) + str(held)


@tried(4)
@given(st.integers(0, 500), st.integers(0, 500))
def test_any_order_of_arrival_within_the_lateness_leaves_one_state(seed, order):
    """Each message is held up by up to half an hour of the others', between streams and within them."""
    told = hospital(seed, minutes=200)
    held_up = np.random.default_rng(order).uniform(0, 90, len(told))
    late = sorted(range(len(told)), key=lambda nth: nth + held_up[nth])
    assert final_state([told[nth] for nth in late]) == final_state(told)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_versions_of_one_report_time_the_greater_id_holds_to_its_last_letter(order):
    versions = [
        result("t0", LACTATE, value, 0, 0, "o1", "C", event=f"LAB-2026-11-22-000{value:.0f}") for value in (1.0, 5.0)
    ]
    found, state = results(rows_of(LABS, [versions[at] for at in order])), LabResults(capacity=1)
    for at in (np.array([0]), np.array([1])):
        state.take(np.zeros(1, np.int64), found, at)
    values, _ = state.as_of(np.array([0]), np.array([BASE + MINUTE]))
    assert values[~np.isnan(values)].tolist() == [5.0]


def test_results_of_one_report_are_taken_in_rounds_and_none_is_lost():
    told = [result("t0", code, 13.0, 0, nth, "o1") for nth, code in enumerate((WBC, PACO2, LACTATE))]
    found = results(rows_of(LABS, told))
    slots = np.zeros(3, np.int64)
    assert [at.tolist() for at in rounds(slots)] == [[0], [1], [2]]
    state = LabResults(capacity=1)
    for at in rounds(slots):
        state.take(slots[at], found, at)
    values, _ = state.as_of(np.array([0]), np.array([BASE + MINUTE]))
    assert np.count_nonzero(~np.isnan(values)) == 3


def test_a_silence_is_told_once_and_names_the_last_reading():
    from datetime import UTC, datetime

    monitor = WardMonitor()
    monitor.observe(rows_of(VITALS, [reading("t0", "8867-4", 80.0, 0, 7, partition=2)]))
    start = datetime.fromtimestamp(BASE / 1000, UTC)
    assert monitor.tick(start + timedelta(minutes=5), lambda patient: False) == []
    assert monitor.tick(start + timedelta(minutes=6), lambda patient: True) == []
    (alert,) = monitor.tick(start + timedelta(minutes=6), lambda patient: False)
    assert (alert.rule, alert.partition, alert.offset, alert.patient_id) == ("absence.heart_rate", 2, 7, "Pt0")
    assert (alert.episode_start_ms, alert.missing) == (BASE, ("heart_rate",))
    assert monitor.tick(start + timedelta(minutes=7), lambda patient: False) == []
