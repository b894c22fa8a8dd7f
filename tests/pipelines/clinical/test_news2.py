"""NEWS2 against the published chart: every edge of every band, and sums worked out by hand."""

import numpy as np
import pytest

from pipelines.clinical.news2 import PARAMETERS, news2
from pipelines.clinical.rule_packs import built_in

TRIGGERS = built_in().rules["news2"]

# Royal College of Physicians 2017, chart 1: parameter, then (first value, last value, points) of each band.
CHART = {
    "respiratory_rate": [(1, 8, 3), (9, 11, 1), (12, 20, 0), (21, 24, 2), (25, 150, 3)],
    "spo2": [(1, 91, 3), (92, 93, 2), (94, 95, 1), (96, 100, 0)],
    "supplemental_oxygen": [(0, 0, 0), (1, 1, 2)],
    "sbp": [(20, 90, 3), (91, 100, 2), (101, 110, 1), (111, 219, 0), (220, 375, 3)],
    "heart_rate": [(10, 40, 3), (41, 50, 1), (51, 90, 0), (91, 110, 1), (111, 130, 2), (131, 350, 3)],
    "level_of_consciousness": [(0, 0, 0), (1, 4, 3)],
    "temperature": [(26.0, 35.0, 3), (35.1, 36.0, 1), (36.1, 38.0, 0), (38.1, 39.0, 1), (39.1, 45.0, 2)],
}
EDGES = [(name, value, points) for name, bands in CHART.items() for *ends, points in bands for value in ends]

WELL = {
    "respiratory_rate": 16,
    "spo2": 97,
    "supplemental_oxygen": 0,
    "sbp": 125,
    "heart_rate": 75,
    "level_of_consciousness": 0,
    "temperature": 36.8,
}


def score(**changed):
    values = {name: value for name, value in (WELL | changed).items() if value is not None}
    return news2({name: np.array([value], float) for name, value in values.items()})


@pytest.mark.parametrize(("name", "value", "points"), EDGES)
def test_every_edge_of_the_chart_scores_as_published(name, value, points):
    result = score(**{name: value})
    assert (int(result.aggregate[0]), int(result.highest[0])) == (points, points)
    assert not result.missing.any()


@pytest.mark.parametrize(
    ("value", "points"), [(38.04, 0), (38.06, 1), (35.04, 3), (35.06, 1), (38.96, 1), (39.06, 2), (36.0499, 1)]
)
def test_temperature_is_read_to_the_tenth(value, points):
    assert score(temperature=value).aggregate[0] == points


@pytest.mark.parametrize(
    ("name", "value", "points"),
    [("heart_rate", 90.4, 0), ("heart_rate", 90.5, 1), ("respiratory_rate", 20.49, 0), ("spo2", 95.5, 0)],
)
def test_a_value_between_two_bands_is_read_as_the_nearest_whole_number(name, value, points):
    assert score(**{name: value}).aggregate[0] == points


@pytest.mark.parametrize(
    ("changed", "aggregate", "highest", "level"),
    [
        ({}, 0, 0, 0),
        # 1 + 1 + 1 + 1: low score, nothing red
        ({"respiratory_rate": 10, "spo2": 95, "sbp": 105, "heart_rate": 100}, 4, 1, 0),
        # a red score alone
        ({"level_of_consciousness": 1}, 3, 3, 1),
        # 2 + 1 + 2: urgent without anything red
        ({"respiratory_rate": 22, "spo2": 94, "heart_rate": 118}, 5, 2, 2),
        # 2 + 2 + 2
        ({"respiratory_rate": 24, "spo2": 92, "heart_rate": 111}, 6, 2, 2),
        # 2 + 2 + 2 + 1
        ({"respiratory_rate": 24, "spo2": 92, "supplemental_oxygen": 1, "temperature": 38.5}, 7, 2, 3),
        # all at their worst: 3 + 3 + 2 + 3 + 3 + 3 + 3
        (
            {
                "respiratory_rate": 30,
                "spo2": 85,
                "supplemental_oxygen": 1,
                "sbp": 80,
                "heart_rate": 140,
                "level_of_consciousness": 4,
                "temperature": 34.0,
            },
            20,
            3,
            3,
        ),
    ],
)
def test_sums_and_triggers_as_worked_by_hand(changed, aggregate, highest, level):
    result = score(**changed)
    assert (result.aggregate[0], result.highest[0], result.levels(TRIGGERS)[0]) == (aggregate, highest, level)


def test_what_is_missing_scores_nothing_and_is_named():
    result = news2({"heart_rate": np.array([120.0, np.nan]), "spo2": np.array([np.nan, 90.0])})
    assert result.aggregate.tolist() == [2, 3]
    assert result.missing_names(0) == [p.name for p in PARAMETERS if p.name != "heart_rate"]
    assert result.missing_names(1) == [p.name for p in PARAMETERS if p.name != "spo2"]


@pytest.mark.parametrize(
    ("changed", "clear"),
    [
        ({}, True),
        ({"heart_rate": 100, "spo2": 95, "respiratory_rate": 10}, True),
        ({"heart_rate": 100, "spo2": 95, "respiratory_rate": 10, "sbp": 110}, False),
        ({"level_of_consciousness": 2}, False),
        ({"temperature": None}, False),
        ({"level_of_consciousness": None, "supplemental_oxygen": None}, True),
    ],
    ids=["well", "three", "four", "red", "temperature missing", "only words missing"],
)
def test_clear_is_well_below_the_triggers_with_nothing_missing_that_monitors_give(changed, clear):
    assert score(**changed).clear(TRIGGERS)[0] == clear


def test_a_column_that_is_no_parameter_is_refused():
    with pytest.raises(KeyError):
        news2({"lactate": np.array([3.0])})


@pytest.mark.parametrize(
    ("name", "value", "band"),
    [
        ("respiratory_rate", 26, "25 or more"),
        ("respiratory_rate", 8, "8 or less"),
        ("heart_rate", 120, "111 to 130"),
        ("temperature", 38.5, "38.1 to 39"),
        ("level_of_consciousness", 2, "V"),
        ("supplemental_oxygen", 1, "oxygen"),
    ],
)
def test_a_band_is_told_as_the_chart_prints_it(name, value, band):
    parameter = next(p for p in PARAMETERS if p.name == name)
    assert parameter.band(value) == band
