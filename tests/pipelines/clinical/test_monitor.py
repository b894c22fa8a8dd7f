"""The ward's monitor against the plain reference: any cut, any restart, the same alerts."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clinical.monitor import KNOWN, WardMonitor
from tests.examples import tried
from tests.pipelines.clinical import wards
from tests.pipelines.clinical.reference import NAMES, alerts_of, counts_from, number_of
from tests.pipelines.clinical.wards import BASE, MINUTE, as_past, as_reference, eventful, reading, table

SEEDS = st.integers(0, 10_000)


def observed(readings, cuts=(), now=None):
    monitor, alerts = WardMonitor(), []
    edges = [0, *sorted(cuts), len(readings)]
    for start, end in pairwise(edges):
        alerts += monitor.observe(table(readings[start:end]), now)
    return alerts


def moment(minutes):
    return datetime.fromtimestamp(BASE / 1000, UTC) + timedelta(minutes=minutes)


@tried(20)
@given(seed=SEEDS, cuts=st.lists(st.integers(0, 600), max_size=12))
def test_any_cut_into_batches_gives_the_alerts_of_reading_row_by_row(seed, cuts):
    readings = eventful(seed)
    assert [as_reference(alert) for alert in observed(readings, cuts)] == alerts_of(readings)


@tried(12)
@given(seed=SEEDS, cuts=st.lists(st.integers(0, 600), max_size=6), share=st.floats(0, 1))
def test_after_a_stop_expired_alerts_are_recorded_as_the_reference_records_them(seed, cuts, share):
    readings = eventful(seed)
    now = moment((readings[round(share * 599)]["appended"] - BASE) / MINUTE)
    expected = alerts_of(readings, now=int(now.timestamp() * 1000))
    assert [as_reference(alert) for alert in observed(readings, cuts, now)] == expected


def test_the_wards_of_these_tests_try_every_rule_and_every_cause():
    alerts = [alert for seed in range(12) for alert in alerts_of(eventful(seed))]
    assert {alert["rule"] for alert in alerts} == {"news2", "qsofa", "shock_index", "sirs"} | {
        f"threshold.{name}" for name in NAMES.values() if name != "supplemental_oxygen"
    }
    assert {alert["withheld"] for alert in alerts} == {None, "cool_down"}
    assert {alert["level"] for alert in alerts} == {1, 2, 3}


def last_scorable(readings):
    """Subject -> newest effective time of a row that rules look at."""
    newest = {}
    for r in readings:
        if r["token"] and r["code"] in NAMES and r["flag"] is None and number_of(r) is not None:
            newest[r["token"]] = max(newest.get(r["token"], 0), counts_from(r))
    return newest


def least_restore(readings, past, lookback):
    """The fewest rows `restore` promises to do with."""
    newest, alerted = last_scorable(readings), {alert.subject_token for alert in past}
    since = {token: at - lookback // timedelta(milliseconds=1) for token, at in newest.items()}
    latest = {}
    for at, r in enumerate(readings):
        if r["token"] in newest and r["code"] in NAMES and r["flag"] is None and number_of(r) is not None:
            key = (r["token"], r["code"])
            if key not in latest or counts_from(r) >= counts_from(readings[latest[key]]):
                latest[key] = at
    chosen = set(latest.values())
    return [
        r
        for at, r in enumerate(readings)
        if (r["token"] in alerted and counts_from(r) >= since[r["token"]]) or at in chosen
    ]


def least_past(alerts):
    """The fewest alerts `restore` promises to do with, in an order of no meaning."""
    chosen = {}
    for alert in alerts:
        pair = (alert.rule, alert.subject_token)
        if alert.withheld_because is None:
            chosen[pair, "sent"] = [alert]
        episode = chosen.setdefault((pair, "episode"), [])
        if episode and episode[0].episode_start_ms != alert.episode_start_ms:
            episode.clear()
        episode.append(alert)
    return [alert for found in chosen.values() for alert in found][::-1]


@tried(20)
@given(seed=SEEDS, stop=st.integers(0, 600), whole=st.booleans())
def test_a_restored_monitor_goes_on_as_if_it_had_never_stopped(seed, stop, whole):
    readings = eventful(seed)
    going = WardMonitor()
    before = going.observe(table(readings[:stop]))
    restored = WardMonitor()
    past = before if whole else least_past(before)
    rows = readings[:stop] if whole else least_restore(readings[:stop], past, restored.lookback)
    restored.restore(table(rows).drop_columns(["patient_id", "ward", "received_at"]), as_past(past))
    rest = table(readings[stop:])
    assert restored.observe(rest) == going.observe(rest)


def glance(readings, alerted, since, far):
    """What is enough of most: from `since` on all of those with alerts but for `far`, of each the newest of each code
    before; of `far` all."""
    newest = {id(r) for r in least_restore(readings[:since], [], timedelta(0))}
    newest |= {id(r) for r in least_restore(readings, [], timedelta(0))}
    chosen = [
        (at, r) for at, r in enumerate(readings)
        if r["token"] in far or id(r) in newest or (at >= since and r["token"] in alerted)
    ]  # fmt: skip
    known = [at < since and r["token"] not in far for at, r in chosen]
    return table([r for _, r in chosen]).append_column(KNOWN, pa.array(known, pa.bool_()))


@tried(60)
@given(seed=SEEDS, stop=st.integers(1, 600), share=st.floats(0, 1))
def test_a_glance_at_the_last_rows_is_enough_of_most_and_says_of_whom_not(seed, stop, share):
    readings, since = eventful(seed), round(share * stop)
    going = WardMonitor()
    before = going.observe(table(readings[:stop]))
    past, alerted = as_past(least_past(before)), {alert.subject_token for alert in before}
    restored = WardMonitor()
    unsure = restored.restore(glance(readings[:stop], alerted, since, set()), past)
    assert unsure <= alerted
    if unsure:
        restored = WardMonitor()
        restored.restore(glance(readings[:stop], alerted, since, unsure), past)
    rest = table(readings[stop:])
    assert restored.observe(rest) == going.observe(rest)


def test_values_of_before_a_glance_end_no_episode_though_without_the_last_they_look_well():
    """NEWS2 goes on by oxygen, which is given since the patient is awake, after forty minutes of not being so. One row
    a code of before says: well for long, then awake, then oxygen."""
    whole = [("9279-1", 16.0), ("59408-5", 94.0), ("8480-6", 120.0), ("8310-5", 38.5), ("8867-4", 80.0)]
    told = [(n / 10, code, value) for n, (code, value) in enumerate(whole)] + [(25.5, "8867-4", 80.0)]
    told += [(minute, "80288-4", "V" if minute < 40 else "A") for minute in (*range(1, 41), *range(46, 58))]
    told += [(41.5, "3151-8", 4.0)]
    readings = [reading("t0", code, value, at, n) for n, (at, code, value) in enumerate(sorted(told))]
    since = next(n for n, r in enumerate(readings) if r["event"] > BASE + 45 * MINUTE)
    going, restored = WardMonitor(), WardMonitor()
    before = going.observe(table(readings))
    assert restored.restore(glance(readings, {"t0"}, since, set()), as_past(before)) == {"t0"}
    restored = WardMonitor()
    restored.restore(glance(readings, {"t0"}, since, {"t0"}), as_past(before))
    onward = table([reading("t0", "80288-4", "V", 58, 9000)])
    told = going.observe(onward)
    assert [alert.episode_start_ms for alert in told if alert.rule == "news2"] == [BASE + MINUTE]
    assert restored.observe(onward) == told


def test_of_some_a_glance_is_enough_and_of_some_it_is_not():
    sure = unsure = 0
    for seed in range(12):
        readings = eventful(seed)
        before = WardMonitor().observe(table(readings[:400]))
        alerted = {alert.subject_token for alert in before}
        found = WardMonitor().restore(glance(readings[:400], alerted, 250, set()), as_past(least_past(before)))
        sure, unsure = sure + len(alerted - found), unsure + len(found)
    assert sure > 3
    assert unsure > 3


def test_the_replay_of_a_restore_may_be_longer_than_one_slice(monkeypatch):
    readings = eventful(2, rows=1200)
    going, restored = WardMonitor(), WardMonitor()
    before = going.observe(table(readings[:900]))
    monkeypatch.setattr("pipelines.clinical.monitor._REPLAY_ROWS", 7)
    restored.restore(table(readings[:900]), as_past(before))
    rest = table(readings[900:])
    assert restored.observe(rest) == going.observe(rest)


def long_episode():
    """A pulse of 140 every minute for nine hours, the warning of minute 0 the only alert of it."""
    return [reading("t0", "8867-4", 140.0, minute, minute) for minute in range(540)]


def test_an_episode_older_than_the_lookback_is_not_alerted_on_anew():
    readings = long_episode()
    monitor = WardMonitor()
    past = monitor.observe(table(readings))
    assert monitor.lookback < timedelta(minutes=539)
    restored = WardMonitor()
    restored.restore(table(least_restore(readings, past, monitor.lookback)), as_past(past))
    assert restored.observe(table([reading("t0", "8867-4", 141.0, 540, 540)])) == []


def test_without_its_alerts_a_restored_episode_would_begin_again():
    restored = WardMonitor()
    restored.restore(table(long_episode()), as_past([]))
    alerts = restored.observe(table([reading("t0", "8867-4", 141.0, 540, 540)]))
    assert {alert.rule for alert in alerts} == {"threshold.heart_rate", "news2"}


def test_alerts_of_another_version_of_a_rule_do_not_hold_back_this_one():
    readings = long_episode()
    past = as_past(WardMonitor().observe(table(readings)))
    past = past.set_column(1, "rule_version", [["0"] * len(past)])
    restored = WardMonitor()
    restored.restore(table(readings), past)
    assert len(restored.observe(table([reading("t0", "8867-4", 141.0, 540, 540)]))) == 2


def test_a_score_that_only_looks_clear_because_the_lookback_cuts_it_off_ends_no_episode():
    drowsy = [reading("t0", "80288-4", "V", minute, minute * 10 + 9) for minute in (0, 225, 455, 690)]
    monitors = [r for minute in range(0, 720, 10) for r in whole_set(minute) if r["word"] is None]
    readings = sorted(drowsy + monitors, key=lambda r: r["offset"])
    going, restored = WardMonitor(), WardMonitor()
    past = going.observe(table(readings))
    rows = least_restore(readings, past, going.lookback)
    assert rows[0]["event"] > drowsy[1]["event"]
    restored.restore(table(rows), as_past(past))
    onward = table([reading("t0", "8867-4", 80.0, 721, 9000)])
    assert restored.observe(onward) == going.observe(onward) == []


def test_a_withheld_opening_keeps_its_episode_through_a_restart():
    up, down = 140.0, 80.0
    minutes = [(0, up), *((m, down) for m in range(1, 13)), (13, up)]
    readings = [reading("t0", "8867-4", value, minute, minute) for minute, value in minutes]
    monitor = WardMonitor()
    alerts = [a for a in monitor.observe(table(readings)) if a.rule == "threshold.heart_rate"]
    assert [a.withheld_because for a in alerts] == [None, "cool_down"]
    restored = WardMonitor()
    restored.restore(table(readings), as_past(alerts))
    later = [reading("t0", "8867-4", up, minute, minute) for minute in (20, 29, 30, 31)]
    again = [a for a in restored.observe(table(later)) if a.rule == "threshold.heart_rate"]
    assert [(a.alert_id, a.withheld_because, a.offset) for a in again] == [(alerts[1].alert_id, None, 30)]


def test_the_cool_down_after_a_restart_counts_from_the_last_alert_sent():
    up, higher, down = 112.0, 140.0, 80.0
    told = [(0, higher), (1, down), (39, down), (40, up), (41, down), (52, down)]
    readings = [reading("t0", "8867-4", value, minute, minute) for minute, value in told]
    past = [a for a in WardMonitor().observe(table(readings)) if a.rule == "threshold.heart_rate"]
    assert [(a.level, a.withheld_because) for a in past] == [(2, None), (1, None)]
    for order in (past, past[::-1]):
        restored = WardMonitor()
        restored.restore(table(readings), as_past(order))
        again = restored.observe(table([reading("t0", "8867-4", up, 60, 60)]))
        assert [(a.level, a.withheld_because) for a in again] == [(1, "cool_down")]


@pytest.mark.parametrize("missing", ["token", "patient"])
def test_a_reading_without_a_patient_is_never_scored(missing):
    rows = table([reading(None if missing == "token" else "t0", "8867-4", 200.0, 0, 0)])
    if missing == "patient":
        rows = rows.set_column(0, "patient_id", [np.array([None], object)])
    assert WardMonitor().observe(rows) == []


@pytest.mark.parametrize(
    "ignored",
    [
        reading("t0", "8867-4", 200.0, 5, 1, flag="out_of_range"),
        reading("t0", "8867-4", 200.0, -1, 1),
        reading("t0", "8867-4", float("nan"), 5, 1),
        reading("t0", "80288-4", "asleep", 5, 1),
        reading("t0", "8462-4", 200.0, 5, 1),
    ],
    ids=["flagged", "late", "not a number", "unknown word", "no rule"],
)
def test_a_reading_that_cannot_count_changes_nothing(ignored):
    first = reading("t0", "8867-4", 80.0, 0, 0)
    assert WardMonitor().observe(table([first, ignored])) == []


def test_an_alert_tells_its_reading_its_times_and_its_place():
    readings = [
        reading("t0", "9279-1", 16.0, 9, 6),
        reading("t0", "59408-5", 91.0, 2, 7, partition=3, appended=11),
    ]
    alert = WardMonitor().observe(table(readings))[0]
    assert (alert.rule, alert.severity, alert.level, alert.code, alert.value) == (
        "threshold.spo2",
        "urgent",
        2,
        "59408-5",
        91.0,
    )
    assert (alert.patient_id, alert.subject_token, alert.ward) == ("Pt0", "t0", "ICU-1")
    assert (alert.partition, alert.offset) == (3, 7)
    assert (alert.device_ms, alert.appended_ms, alert.expires_ms) == tuple(BASE + m * MINUTE for m in (2, 11, 26))
    assert alert.effective_ms == alert.episode_start_ms == BASE + 9 * MINUTE
    assert alert.late
    assert "spo2 (59408-5) 91 %, critical limit 91 %" in alert.reasons[0]


AHEAD, SPO2, PULSE = 50.0, "59408-5", "8867-4"


def ward_with_a_clock_ahead(monitors=1):
    """Twenty minutes of a patient whose oximeter's clock is ahead for the first ten; the pulse, by a device whose clock
    is right, is 140 from minute 5 on. With two monitors the oximeter tells a pulse too, of 80."""
    readings = []
    for minute in range(20):
        ahead = AHEAD if minute < 10 else 0.0
        told = [(SPO2, 97.0, ahead, 0.2), (PULSE, 140.0 if minute >= 5 else 80.0, 0.0, 0.4)]
        told += [(PULSE, 80.0, ahead, 0.1)] if monitors == 2 else []
        for code, value, off, at in sorted(told, key=lambda t: t[3]):
            event, appended = minute + at - 0.01 + off, minute + at
            readings.append(reading("t0", code, value, event, len(readings), appended=appended))
    return readings


@pytest.mark.parametrize("monitors", [1, 2], ids=["another signal", "the same signal"])
def test_a_clock_ahead_makes_no_other_reading_late(monitors):
    alerts = WardMonitor().observe(table(ward_with_a_clock_ahead(monitors)), moment(20))
    first = alerts[0]
    assert (first.rule, first.level, first.withheld_because) == ("threshold.heart_rate", 2, None)
    assert (first.effective_ms - BASE) / MINUTE == pytest.approx(5.39, abs=0.001)
    assert all(alert.effective_ms <= alert.appended_ms for alert in alerts)


def test_a_reading_dated_ahead_counts_from_its_append_and_keeps_its_own_time():
    (alert,) = [a for a in WardMonitor().observe(table([reading("t0", PULSE, 140.0, 50, 0, appended=0)])) if a.code]
    assert (alert.device_ms, alert.effective_ms) == (BASE + 50 * MINUTE, BASE)
    assert not alert.late


@tried(8)
@given(monitors=st.sampled_from([1, 2]), stop=st.integers(0, 60))
def test_a_clock_ahead_is_forgotten_by_no_restart(monitors, stop):
    readings = ward_with_a_clock_ahead(monitors)
    going, restored = WardMonitor(), WardMonitor()
    past = going.observe(table(readings[:stop]))
    restored.restore(table(least_restore(readings[:stop], past, restored.lookback)), as_past(past))
    rest = table(readings[stop:])
    assert restored.observe(rest) == going.observe(rest)


@pytest.mark.parametrize(
    ("behind", "others", "alerted"),
    [
        (50.0, [], True),
        (50.0, [SPO2], True),
        (50.0, [PULSE], False),
        (70.0, [], True),
        (70.0, [SPO2], False),
    ],
)
def test_a_clock_behind_is_believed(behind, others, alerted):
    """Its alert is marked late. It is not heard where a device whose clock is right tells the same signal, nor, beyond
    the carry-forward, where one tells anything at all of the patient."""
    readings = [reading("t0", code, {SPO2: 97.0, PULSE: 80.0}[code], 0, n) for n, code in enumerate(others)]
    alerts = WardMonitor().observe(table([*readings, reading("t0", PULSE, 140.0, 1 - behind, 9, appended=1)]))
    assert [(alert.rule, alert.late) for alert in alerts if alert.code] == [("threshold.heart_rate", True)] * alerted


def test_news2_names_what_is_missing_and_says_the_score_is_a_lower_bound():
    alert = WardMonitor().observe(table([reading("t0", "9279-1", 26.0, 0, 0)]))[1]
    assert (alert.rule, alert.score, alert.score_is_lower_bound) == ("news2", 3.0, True)
    assert alert.missing == (
        "spo2",
        "supplemental_oxygen",
        "sbp",
        "heart_rate",
        "level_of_consciousness",
        "temperature",
    )
    assert "lower bound" in alert.reasons[0]
    assert alert.reasons[1] == "respiratory_rate (9279-1) 26 /min scores 3 (25 or more)"


def whole_set(minute, **changed):
    values = {code: wards.VALUES[code][0] for code in NAMES if code != "8478-0"} | changed
    return [reading("t0", code, value, minute, minute * 10 + nth) for nth, (code, value) in enumerate(values.items())]


def test_a_full_set_of_readings_is_no_lower_bound():
    sick = {"9279-1": 26.0, "3151-8": 2.0, "8867-4": 112.0}
    alerts = WardMonitor().observe(table(whole_set(0) + whole_set(1, **sick)))
    alert = next(alert for alert in reversed(alerts) if alert.rule == "news2")
    assert (alert.rule, alert.severity, alert.score, alert.score_is_lower_bound) == ("news2", "emergency", 7.0, False)
    assert alert.missing == ()


def test_a_reading_speaks_for_an_hour_and_no_longer():
    readings = [reading("t0", "9279-1", 22.0, 0, 0), reading("t0", "59408-5", 92.0, 1, 1)]
    at_an_hour = WardMonitor().observe(table([*readings, reading("t0", "8867-4", 100.0, 60, 2)]))
    assert [a.score for a in at_an_hour if a.rule == "news2"] == [5.0]
    after = WardMonitor().observe(table([*readings, reading("t0", "8867-4", 100.0, 60.01, 2)]))
    assert [a for a in after if a.rule == "news2"] == []


def test_alerts_are_ordered_by_their_reading():
    alerts = observed(eventful(5))
    assert [a.offset for a in alerts] == sorted(a.offset for a in alerts)
    assert len(alerts) > 10


def test_plain_strings_do_as_well_as_dictionaries():
    readings = eventful(8)
    assert WardMonitor().observe(table(readings, dictionaries=False)) == observed(readings)


def test_no_rows_are_no_alerts():
    assert WardMonitor().observe(table([])) == []


def test_state_grows_past_its_first_capacity():
    crowd = [reading(f"s{n}", "8867-4", 140.0, 0, n) for n in range(3000)]
    monitor = WardMonitor()
    assert len(monitor.observe(table(crowd))) == 6000
    assert monitor.observe(table([reading(f"s{n}", "8867-4", 140.0, 1, 3000 + n) for n in range(3000)])) == []
