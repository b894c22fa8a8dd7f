"""What the history keeps of hours, whatever the order in which it learns of them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clinical.sepsis.history import HourlyHistory, PatientHours
from pipelines.clinical.sepsis.variables import INDEX
from tests.examples import tried
from tests.pipelines.clinical.sepsis.stream_rows import START, admission, reading, result, table

HR, FIO2, LACTATE, CREATININE = "8867-4", "3150-0", "2524-7", "2160-0"
WINDOW = 6


def _history(reach: int = 4) -> HourlyHistory:
    return HourlyHistory(window_h=WINDOW, reach_h=reach, capacity=1)


def _whole(history: HourlyHistory, token: str = "t") -> PatientHours:
    slots = np.array([history.slot(token)])
    return history.panel(slots, np.array([-(1 << 40)]))


def _column(history: HourlyHistory, name: str, token: str = "t") -> list[float]:
    """The variable's hours as they are kept; -1 = not measured."""
    values = _whole(history, token).panel.values[:, INDEX[name]]
    return np.nan_to_num(values, nan=-1.0).astype(float).round(2).tolist()


def test_the_latest_value_of_an_hour_counts() -> None:
    history = _history()
    history.take_readings(table([reading("t", HR, 90.0, 0.7), reading("t", HR, 80.0, 0.2), reading("t", HR, 70, 1.5)]))
    history.take_readings(table([reading("t", HR, 60.0, 0.5)]))
    assert _column(history, "HR") == [90.0, 70.0]


def test_of_two_values_at_one_time_the_larger_counts_in_whatever_order() -> None:
    one, other = _history(), _history()
    rows = [reading("t", HR, 90.0, 0.5), reading("t", HR, 95.0, 0.5)]
    for row in rows:
        one.take_readings(table([row]))
    other.take_readings(table(rows[::-1]))
    assert _column(one, "HR") == _column(other, "HR") == [95.0]


def test_an_hour_without_a_measurement_is_a_row() -> None:
    history = _history()
    history.take_readings(table([reading("t", HR, 90.0, 0.0), reading("t", HR, 80.0, 3.0)]))
    assert _column(history, "HR") == [90.0, -1.0, -1.0, 80.0]
    assert _whole(history).panel.hour.tolist() == [1, 2, 3, 4]


def test_flagged_readings_other_codes_and_nobodys_readings_say_nothing() -> None:
    history = _history()
    nobody = reading("t", HR, 90.0, 0.0) | {"subject_token": None}
    rows = [reading("t", HR, 400.0, 0, flag="out_of_range"), reading("t", "99504-3", 100.0, 0), nobody]
    slots = history.take_readings(table([*rows, reading("t", HR, None, 0)]))
    assert slots.tolist() == [-1] * 4
    assert history.patients.tokens == []


def test_a_reading_counts_no_later_than_its_append() -> None:
    history = _history()
    ahead = reading("t", HR, 90.0, 5.0) | {"kafka_time": reading("t", HR, 0, 1.0)["event_time"]}
    history.take_readings(table([reading("t", HR, 80.0, 0.0), ahead]))
    assert _column(history, "HR") == [80.0, 90.0]


def test_a_ring_forgets_what_lies_before_it() -> None:
    history = _history()
    history.take_readings(table([reading("t", HR, 50.0 + h, h) for h in range(14)]))
    assert _column(history, "HR") == [50.0 + h for h in range(4, 14)]
    assert _whole(history).panel.hour.tolist() == list(range(5, 15))
    history.take_readings(table([reading("t", HR, 99.0, 3.0)]))
    assert _column(history, "HR") == [50.0 + h for h in range(4, 14)]


def test_a_correction_replaces_and_an_older_version_that_comes_late_does_not() -> None:
    history = _history()
    history.take_results(table([result("t", "o", LACTATE, 4.0, 0, reported=1), result("t", "p", LACTATE, 1.0, 2)]))
    history.take_results(table([result("t", "o", LACTATE, 2.0, 0, reported=3, status="C", event="e1")]))
    history.take_results(table([result("t", "o", LACTATE, 9.0, 0, reported=0.5, status="P", event="e2")]))
    assert _column(history, "Lactate") == [2.0, -1.0, 1.0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_versions_of_one_report_time_the_greater_id_holds_to_its_last_letter(order: tuple[int, int]) -> None:
    versions = [
        result("t", "o", LACTATE, value, 0, reported=1, status="C", event=f"LAB-2026-11-22-000{value:.0f}")
        for value in (1.0, 5.0)
    ]
    history = _history()
    for at in order:
        history.take_results(table([versions[at]]))
    assert _column(history, "Lactate") == [5.0]


def test_a_withdrawn_result_leaves_the_hour_to_the_one_before() -> None:
    history = _history()
    history.take_results(table([result("t", "o", LACTATE, 4.0, 0.8), result("t", "p", LACTATE, 2.0, 0.3)]))
    assert _column(history, "Lactate") == [4.0]
    history.take_results(table([result("t", "o", LACTATE, None, 0.8, reported=2, status="X", event="e1")]))
    assert _column(history, "Lactate") == [2.0]


def test_a_flagged_correction_takes_the_value_away() -> None:
    history = _history()
    history.take_results(table([result("t", "o", LACTATE, 4.0, 0.8), result("t", "p", CREATININE, 1.0, 0.8)]))
    history.take_results(
        table([result("t", "o", LACTATE, 900.0, 0.8, reported=2, status="C", event="e1", flag="out_of_range")])
    )
    assert _column(history, "Lactate") == [-1.0]
    assert _column(history, "Creatinine") == [1.0]


def test_of_a_device_and_a_laboratory_the_later_counts() -> None:
    history = _history()
    history.take_results(table([result("t", "o", FIO2, 0.4, 0.5), result("t", "p", FIO2, 0.5, 1.5)]))
    history.take_readings(table([reading("t", FIO2, 0.3, 0.2), reading("t", FIO2, 0.6, 1.8)]))
    assert _column(history, "FiO2") == [0.4, 0.6]


def test_a_moved_specimen_changes_both_hours() -> None:
    history = _history()
    history.take_readings(table([reading("t", HR, 80.0, h) for h in range(4)]))
    slots = np.array([0])
    history.take_results(table([result("t", "o", LACTATE, 4.0, 1.0, reported=3)]))
    began = int(history.began(slots)[0])
    history.settle(slots)
    history.take_results(table([result("t", "o", LACTATE, 4.0, 2.0, reported=4, status="C", event="e1")]))
    assert history.settle(slots).tolist() == [began + 1]
    assert _column(history, "Lactate") == [-1.0, -1.0, 4.0, -1.0]


def test_what_changed_is_told_once_and_within_reach() -> None:
    history = _history(reach=4)
    history.take_readings(table([reading("t", HR, 80.0, h) for h in range(10)]))
    slots = np.array([0])
    first = int(history.began(slots)[0])
    assert history.settle(slots).tolist() == [first + 6]
    history.take_readings(table([reading("t", HR, 81.0, 8.5)]))
    assert history.settle(slots).tolist() == [first + 8]
    history.take_readings(table([reading("t", HR, 81.0, 12.0)]))
    assert history.settle(slots).tolist() == [first + 10]


def test_hours_count_from_intensive_care_and_the_person_is_told() -> None:
    history = _history()
    history.take_readings(table([reading("t", HR, 80.0, h) for h in (2.0, 3.0, 5.0)]))
    assert _whole(history).panel.hour.tolist() == [1, 2, 3, 4]
    history.take_admissions(
        table([admission("t", "A02", 1.25, "MICU-1", "a2"), admission("t", "A01", -10.25, "ED-1", "a1")])
    )
    panel = _whole(history).panel
    assert panel.hour.tolist() == [1, 2, 3, 4, 5]
    assert np.isnan(panel.values[0]).all()
    assert (panel.age[0], panel.sex[0], panel.admission_h[0], panel.unit[0]) == (76.0, 0.0, -11.5, 1.0)


def test_an_admission_that_is_taken_back_counts_no_more() -> None:
    history = _history()
    history.take_readings(table([reading("t", HR, 80.0, 2.0)]))
    history.take_admissions(table([admission("t", "A01", 0.0, "ICU-1", "a1")]))
    assert _whole(history).panel.hour.tolist() == [1, 2, 3]
    history.take_admissions(table([admission("t", "A11", 0.0, None, "a2", recorded=1.0)]))
    assert _whole(history).panel.hour.tolist() == [1]


@pytest.mark.parametrize(
    "cuts", [[(0, 1, 2)], [(0,), (1,), (2,)], [(1,), (2,), (0,)], [(0, 1), (2,)], [(2,), (1,), (0,)]]
)
def test_a_stay_that_was_another_patient_s_leaves_the_one_before_it(cuts: list[tuple[int, ...]]) -> None:
    events = [
        admission("t", "A01", 0.0, "MICU-1", "a1", 1950, "F", "S1"),
        admission("t", "A01", 30.0, "SICU-1", "a2", 1990, "M", "S2", recorded=30.5),
        admission("t", "A11", 30.0, "SICU-1", "a3", 1990, "M", "S2", recorded=31.0),
    ]
    history = HourlyHistory(window_h=48, reach_h=24)
    history.take_readings(table([reading("t", HR, 80.0, h) for h in range(40)]))
    for cut in cuts:
        history.take_admissions(table([events[at] for at in cut]))
    panel = _whole(history).panel
    assert history.is_admitted(np.array([0])).all()
    assert (panel.hour[-1], panel.age[0], panel.sex[0], panel.unit[0]) == (40, 76.0, 0.0, 1.0)


def test_admissions_of_long_ago_are_not_kept_but_for_the_stay_that_goes_on() -> None:
    history = HourlyHistory(window_h=48, reach_h=24)
    days = [("a1", 0, "S1"), ("a2", 1, "S2"), ("a3", 95, "S2")]
    for event, day, stay in days:
        history.take_admissions(table([admission("t", "A01", day * 24.0, "ICU-1", event, stay=stay)]))
    assert set(history._events[0]) == {"a2", "a3"}


def test_a_late_admission_changes_every_hour_in_reach() -> None:
    history = _history(reach=3)
    history.take_readings(table([reading("t", HR, 80.0, h) for h in range(9)]))
    slots = np.array([0])
    history.settle(slots)
    history.take_admissions(table([admission("t", "A01", 0.0, "ICU-1", "a1")]))
    assert history.settle(slots).tolist() == [int(history.began(slots)[0]) + 6]


def test_a_result_that_was_withdrawn_before_a_restart_had_moved_the_time_all_the_same() -> None:
    readings = table([reading("t", HR, 80.0, h) for h in range(5)])
    withdrawn = table([result("t", "o", LACTATE, None, 7.2, 7.5, status="X", event="e9")])
    stayed, restarted = _history(), _history()
    stayed.take_readings(readings)
    stayed.take_results(table([result("t", "o", LACTATE, 4.0, 7.2, 7.3)]))
    stayed.take_results(withdrawn)
    restarted.take_readings(readings)
    restarted.take_results(withdrawn)
    hours = np.array([*range(5), 7]) + int(START.timestamp()) // 3600
    restarted.note_measured(["t"] * len(hours), hours)
    left, right = _whole(stayed).panel, _whole(restarted).panel
    assert left.hour.tolist() == right.hour.tolist() == list(range(1, 9))
    assert left.values.tobytes() == right.values.tobytes()


def test_without_admission_a_long_silence_begins_another_stay() -> None:
    history = HourlyHistory(window_h=48, reach_h=24)
    history.take_readings(table([reading("t", HR, 80.0, h) for h in (0.0, 40.0, 89.0, 100.0)]))
    hours = _whole(history).panel.hour
    assert hours.tolist() == list(range(1, 13))


def test_memory_of_a_patient_stays_as_stated() -> None:
    history = HourlyHistory(window_h=48, reach_h=24, capacity=1)
    for nth in range(40):
        history.take_readings(table([reading(f"t{nth}", HR, 80.0, nth) for nth in range(nth, nth + 1)]))
    assert history.capacity == 64
    assert history.bytes_per_patient < 8_192


def test_patients_do_not_touch_each_other() -> None:
    history = _history()
    rows = [reading(f"t{nth}", HR, 60.0 + nth, nth / 10) for nth in range(20)]
    history.take_readings(table(rows))
    history.take_results(table([result("t7", "o", LACTATE, 3.0, 1.0)]))
    assert all(_column(history, "HR", f"t{nth}")[0] == 60.0 + nth for nth in range(20))
    measured = [token for token in history.patients.tokens if max(_column(history, "Lactate", token)) > 0]
    assert measured == ["t7"]


@st.composite
def _stories(draw: st.DrawFn) -> list[tuple[str, dict[str, object]]]:
    """Events of two patients within the hours kept: readings, versions of results, admissions."""
    hour = st.integers(0, 36).map(lambda quarter: quarter / 4)
    token = st.sampled_from(["t", "u"])
    value = st.integers(1, 9).map(float)
    story: list[tuple[str, dict[str, object]]] = []
    for _ in range(draw(st.integers(1, 12))):
        story.append(("readings", reading(draw(token), draw(st.sampled_from([HR, FIO2])), draw(value), draw(hour))))
    for nth in range(draw(st.integers(0, 12))):
        order, status = draw(st.sampled_from("opq")), draw(st.sampled_from("PFCX"))
        given_value = None if status == "X" else draw(value)
        collected = draw(hour)
        reported = collected + draw(st.integers(0, 4))
        code = draw(st.sampled_from([LACTATE, FIO2]))
        row = result(draw(token), order, code, given_value, collected, reported, status, event=f"e{nth:07d}")
        story.append(("results", row))
    for nth in range(draw(st.integers(0, 4))):
        kind, ward = (
            draw(st.sampled_from(["A01", "A02", "A03", "A11", "A12"])),
            draw(st.sampled_from(["ICU-1", "ED-1"])),
        )
        when = draw(hour)
        stay, recorded = draw(st.sampled_from(["S1", "S2"])), when + draw(st.integers(0, 3))
        row = admission(draw(token), kind, when, ward, f"a{nth}", stay=stay, recorded=recorded)
        story.append(("admissions", row))
    return story


def _told(story: list[tuple[str, dict[str, object]]], sizes: random.Random) -> HourlyHistory:
    history = HourlyHistory(window_h=WINDOW, reach_h=4, capacity=1)
    at = 0
    while at < len(story):
        kind = story[at][0]
        until = at + 1
        while until < len(story) and story[until][0] == kind and sizes.random() < 0.7:
            until += 1
        getattr(history, f"take_{kind}")(table([row for _, row in story[at:until]]))
        at = until
    return history


@tried(20)
@given(story=_stories(), seed=st.integers(0, 1 << 30))
def test_any_order_of_arrival_and_any_cut_leaves_one_state(
    story: list[tuple[str, dict[str, object]]], seed: int
) -> None:
    rng = random.Random(seed)
    shuffled = rng.sample(story, len(story))
    one, other = _told(story, random.Random(1)), _told(shuffled, rng)
    for token in ("t", "u"):
        left, right = _whole(one, token).panel, _whole(other, token).panel
        assert left.hour.tolist() == right.hour.tolist()
        for name in ("values", "age", "sex", "admission_h", "unit"):
            assert getattr(left, name).tobytes() == getattr(right, name).tobytes(), name


@pytest.mark.parametrize("capacity", [1, 64])
def test_growth_changes_nothing(capacity: int) -> None:
    history = HourlyHistory(window_h=WINDOW, reach_h=4, capacity=capacity)
    history.take_readings(table([reading(f"t{nth % 9}", HR, 50.0 + nth, nth / 9) for nth in range(81)]))
    assert _column(history, "HR", "t8") == [58.0 + 9 * hour for hour in range(8)] + [130.0]
