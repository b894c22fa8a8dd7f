"""Episodes of one pair, finding by finding: what is sent, what is withheld and why."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipelines.alerts.policy import AlertPolicy, Episodes, Findings

BASE = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000
NEUTRAL, CLEAR = 0, -1


def findings(*minute_and_level, pair=0):
    """Findings at minutes after the base, appended as they happen: a level, `NEUTRAL` or `CLEAR`."""
    minutes = np.array([minute for minute, _ in minute_and_level], np.int64)
    level = np.array([level for _, level in minute_and_level], np.int8)
    clock = BASE + minutes * MINUTE
    return Findings(minutes, np.full(len(minutes), pair), np.maximum(level, 0), level == CLEAR, clock, clock)


def decided(*minute_and_level, now=None, policy=None):
    """(minute, level, minute of the episode's start, withheld because) of each decision."""
    decisions = Episodes(policy or AlertPolicy()).decide(findings(*minute_and_level), now)
    return [(d.moment, d.level, (d.episode_start_ms - BASE) // MINUTE, d.withheld_because) for d in decisions]


def at_minute(minute):
    return datetime.fromtimestamp(BASE / 1000, UTC) + timedelta(minutes=minute)


def test_an_episode_alerts_once_however_long_it_lasts():
    assert decided((0, 1), (1, 1), (2, NEUTRAL), (60, 1), (200, 1)) == [(0, 1, 0, None)]


def test_each_rise_above_the_highest_level_alerts():
    assert decided((0, 1), (1, 3), (2, 2), (3, 3)) == [(0, 1, 0, None), (1, 3, 0, None)]


def test_clear_for_the_rearm_duration_ends_an_episode():
    assert decided((0, 1), (31, CLEAR), (41, CLEAR), (42, 1))[1:] == [(42, 1, 42, None)]


def test_clear_for_less_does_not_end_an_episode():
    assert decided((0, 1), (31, CLEAR), (40, CLEAR), (42, 1))[1:] == []


@pytest.mark.parametrize("between", [NEUTRAL, 1])
def test_anything_between_clear_findings_begins_their_duration_anew(between):
    assert decided((0, 1), (31, CLEAR), (36, between), (37, CLEAR), (46, CLEAR), (47, 1))[1:] == []


def test_within_the_cool_down_an_alert_no_higher_is_withheld_and_recorded_once():
    again = decided((0, 1), (1, CLEAR), (11, CLEAR), (12, 1), (13, 1))
    assert again == [(0, 1, 0, None), (12, 1, 12, "cool_down")]


def test_the_cool_down_never_withholds_a_higher_level():
    assert decided((0, 1), (1, CLEAR), (11, CLEAR), (12, 2))[1:] == [(12, 2, 12, None)]


def test_a_patient_still_unwell_when_the_cool_down_ends_is_alerted_on():
    again = decided((0, 1), (1, CLEAR), (11, CLEAR), (12, 1), (29, 1), (30, 1), (31, 1))
    assert again[1:] == [(12, 1, 12, "cool_down"), (30, 1, 12, None)]


def test_a_withheld_alert_starts_no_cool_down():
    first = ((0, 1), (1, CLEAR), (11, CLEAR), (12, 1), (13, CLEAR), (23, CLEAR))
    assert decided(*first, (31, 1))[1:] == [(12, 1, 12, "cool_down"), (31, 1, 31, None)]


def test_a_lower_level_than_the_withheld_one_is_sent_when_its_time_comes():
    again = decided((0, 2), (1, CLEAR), (11, CLEAR), (12, 2), (35, 1))
    assert again[1:] == [(12, 2, 12, "cool_down"), (35, 1, 12, None)]


def test_hours_without_an_alerting_finding_end_an_episode():
    assert decided((0, 1), (240, 1)) == [(0, 1, 0, None)]
    assert decided((0, 1), (241, 1)) == [(0, 1, 0, None), (241, 1, 241, None)]
    assert decided((0, 1), (120, NEUTRAL), (241, 1))[1:] == [(241, 1, 241, None)]


def test_an_expired_alert_is_recorded_and_sent_when_the_stream_has_caught_up():
    now = at_minute(100)
    assert decided((0, 2), (50, 2), (85, 2), (86, 2), (87, 2), now=now) == [(0, 2, 0, "expired"), (86, 2, 0, None)]


def test_an_expired_alert_of_an_episode_that_is_over_is_only_recorded():
    now = at_minute(100)
    assert decided((0, 2), (1, CLEAR), (11, CLEAR), (90, NEUTRAL), now=now) == [(0, 2, 0, "expired")]


def test_pairs_do_not_touch_each_other():
    episodes = Episodes(AlertPolicy(), capacity=2)
    for pair in (0, 5000):
        assert [d.pair for d in episodes.decide(findings((0, 1), (1, 1), pair=pair), None)] == [pair]


def test_decisions_do_not_depend_on_how_findings_are_cut():
    told = [(0, 1), (1, CLEAR), (11, CLEAR), (12, 1), (29, 1), (30, 1), (31, 3), (40, CLEAR), (52, CLEAR), (90, 1)]
    episodes = Episodes(AlertPolicy())
    one_by_one = [decision for finding in told for decision in episodes.decide(findings(finding), None)]
    assert one_by_one == Episodes(AlertPolicy()).decide(findings(*told), None)
    assert len(one_by_one) == 5


@pytest.mark.parametrize("rearm", [timedelta(0), timedelta(hours=5)])
def test_a_rearm_that_cannot_work_is_refused(rearm):
    with pytest.raises(ValueError, match="rearm"):
        AlertPolicy(rearm=rearm)
