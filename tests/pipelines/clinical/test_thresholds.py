"""Limits of single signals: inclusive edges, the zone between, and the words of an alert."""

import numpy as np
import pytest

from pipelines.clinical.rule_packs import built_in
from pipelines.clinical.signals import INDEX, SIGNALS
from pipelines.clinical.thresholds import LimitTable

TABLE = LimitTable.of(built_in(), SIGNALS)
BY_SIGNAL, threshold_levels = TABLE.by_signal, TABLE.levels
LIMITS = BY_SIGNAL.values()

NONE, CLEAR = (0, False), (0, True)
WARNING, CRITICAL = (1, False), (2, False)
EDGES = {
    "respiratory_rate": {8: CRITICAL, 9: NONE, 10: CLEAR, 19: CLEAR, 20: NONE, 21: WARNING, 24: WARNING, 25: CRITICAL},
    "spo2": {91: CRITICAL, 92: WARNING, 93: WARNING, 94: NONE, 95: CLEAR, 100: CLEAR},
    "sbp": {90: CRITICAL, 91: WARNING, 100: WARNING, 101: NONE, 105: CLEAR, 215: CLEAR, 216: NONE, 220: CRITICAL},
    "heart_rate": {40: CRITICAL, 41: NONE, 45: CLEAR, 106: CLEAR, 107: NONE, 111: WARNING, 130: WARNING, 131: CRITICAL},
    "level_of_consciousness": {0: CLEAR, 1: CRITICAL, 4: CRITICAL},
    "temperature": {35.0: CRITICAL, 35.1: NONE, 35.3: CLEAR, 38.8: CLEAR, 38.9: NONE, 39.0: NONE, 39.1: WARNING},
    "map": {64: CRITICAL, 65: WARNING, 69: WARNING, 70: NONE, 71: NONE, 72: CLEAR},
}
CASES = [(name, value, found) for name, values in EDGES.items() for value, found in values.items()]


def found(name, *values):
    signal = next(i for i, s in enumerate(SIGNALS) if s.name == name)
    levels, clear = threshold_levels(np.full(len(values), signal), np.array(values, float))
    return [(int(level), bool(well)) for level, well in zip(levels, clear, strict=True)]


@pytest.mark.parametrize(("name", "value", "expected"), CASES)
def test_limits_are_inclusive_and_leave_a_zone_that_is_neither(name, value, expected):
    assert found(name, value) == [expected]


def test_every_signal_with_limits_is_tried_here():
    assert {limits.signal.name for limits in LIMITS} == EDGES.keys()


def test_limits_are_compared_at_the_resolution_of_the_chart():
    assert found("spo2", 93.4, 93.5, 91.49) == [WARNING, NONE, CRITICAL]
    assert found("temperature", 39.04, 39.06) == [NONE, WARNING]


def test_no_value_is_neither_alerting_nor_clear():
    assert found("heart_rate", np.nan) == [NONE]


def test_oxygen_has_no_limit_of_its_own():
    assert found("supplemental_oxygen", 0.0, 1.0) == [CLEAR, CLEAR]


@pytest.mark.parametrize(
    ("name", "level", "value", "limit"),
    [
        ("respiratory_rate", 2, 26, 25),
        ("respiratory_rate", 2, 7, 8),
        ("respiratory_rate", 1, 22, 21),
        ("sbp", 1, 95, 100),
        ("temperature", 2, 35.04, 35.0),
    ],
)
def test_the_limit_that_was_reached_is_named(name, level, value, limit):
    limits = next(found for found in LIMITS if found.signal.name == name)
    assert limits.crossed(level, value) == limit


def test_every_limit_names_its_source_and_is_found_by_its_signal():
    assert all(limits.source for limits in LIMITS)
    assert {INDEX[limits.signal.code] for limits in LIMITS} == BY_SIGNAL.keys()
