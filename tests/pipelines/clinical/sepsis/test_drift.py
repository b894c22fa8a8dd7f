"""What moved and what is to be done: units, sensors, other patients; and silence where nothing moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.clinical.sepsis.drift import (
    DEVICE_SHIFT,
    FROZEN,
    OTHER_UNITS,
    POPULATION,
    UNEXPLAINED,
    UNIT_CHANGE,
    Report,
    look,
)
from pipelines.clinical.sepsis.drift_profile import profile_of
from pipelines.clinical.sepsis.panel import Panel
from pipelines.clinical.sepsis.stay_facts import StayFacts, facts_of
from pipelines.clinical.sepsis.variables import INDEX, NAMES, VARIABLES

CREATININE, SPO2 = INDEX["Creatinine"], INDEX["O2Sat"]
REFERENCE, LIVE = 4000, 600


def stays(many: int, seed: int) -> StayFacts:
    """Made-up stays in four wards of four monitors each: log-normal middles, labs in most."""
    random = np.random.default_rng(seed)
    usual = np.array([np.sqrt(max(v.bounds[0], v.bounds[1] / 100) * v.bounds[1]) for v in VARIABLES])
    median = np.exp(np.log(usual) + random.normal(0, 0.4, (many, len(NAMES))))
    measured = np.clip(random.normal(0.5, 0.1, median.shape), 0.05, 1)
    gone = random.random(median.shape) < 0.2
    median[gone], measured[gone] = np.nan, 0.0
    pairs = np.where(gone, 0, random.integers(10, 40, median.shape))
    equal = random.binomial(pairs, 0.2)
    context = np.stack(
        [random.normal(62, 15, many), random.integers(0, 2, many), -random.exponential(40, many),
         random.integers(0, 2, many), random.integers(8, 90, many)], axis=1,
    )  # fmt: skip
    ward = np.char.add("ICU-", random.integers(1, 5, many).astype(str))
    device = np.char.add(np.char.add(ward, "/"), random.integers(1, 5, many).astype(str))
    return StayFacts(median, measured, pairs, equal, context.astype(float), ward, device)


PROFILE = profile_of(stays(REFERENCE, 1))


def changed_unit(facts: StayFacts, touched: np.ndarray) -> StayFacts:
    other = next(each for each in OTHER_UNITS if each.item == "Creatinine")
    median = facts.median.copy()
    median[touched, CREATININE] = other.sent_value(median[touched, CREATININE])
    return replace(facts, median=median)


def only(report: Report) -> tuple[str, tuple[str, ...], str]:
    assert len(report.causes) == 1
    (cause,) = report.causes
    return cause.kind, cause.items, cause.where


def test_stays_of_the_same_kind_raise_nothing() -> None:
    for seed in range(10, 20):
        report = look(PROFILE, stays(LIVE, seed))
        assert not report.drifted, report.findings
        assert report.tests > 500


def test_few_stays_raise_nothing_and_it_is_said_what_was_not_judged() -> None:
    for many in (5, 40, 100):
        report = look(PROFILE, stays(many, many))
        assert not report.drifted, report.findings
    assert look(PROFILE, stays(5, 5)).not_judged > look(PROFILE, stays(LIVE, 5)).not_judged


def test_a_unit_in_one_stay_of_ten_is_found_and_not_retrained_for() -> None:
    facts = stays(LIVE, 30)
    touched = np.random.default_rng(0).random(LIVE) < 0.1
    report = look(PROFILE, changed_unit(facts, touched))
    kind, items, where = only(report)
    assert (kind, items) == (UNIT_CHANGE, ("Creatinine",))
    assert where.endswith("of stays")
    assert report.causes[0].unit == "umol/L"
    assert report.causes[0].share == pytest.approx(0.1, abs=0.04)
    assert not report.retrains
    assert "mend the unit" in report.causes[0].remedy


@pytest.mark.parametrize("ward", ["ICU-1", "ICU-4"])
def test_a_unit_in_one_ward_is_found_there(ward: str) -> None:
    facts = stays(LIVE, 31)
    assert only(look(PROFILE, changed_unit(facts, facts.ward == ward))) == (
        UNIT_CHANGE, ("Creatinine",), f"ward:{ward}",
    )  # fmt: skip


def test_a_unit_in_all_stays_is_one_cause_and_no_other_population() -> None:
    facts = stays(LIVE, 32)
    assert only(look(PROFILE, changed_unit(facts, np.ones(LIVE, bool)))) == (UNIT_CHANGE, ("Creatinine",), "all stays")


def test_a_monitor_that_stands_still_is_named() -> None:
    facts = stays(LIVE, 33)
    equal = facts.equal.copy()
    stuck = facts.device == "ICU-2/3"
    equal[stuck, SPO2] = facts.pairs[stuck, SPO2]
    assert only(look(PROFILE, replace(facts, equal=equal))) == (FROZEN, ("O2Sat",), "device:ICU-2/3")


def lowered(facts: StayFacts, touched: np.ndarray, *names: str) -> StayFacts:
    median = facts.median.copy()
    for name in names:
        median[touched, INDEX[name]] *= 0.5
    return replace(facts, median=median)


@pytest.mark.parametrize("names", [("MAP",), ("MAP", "HR", "Resp")])
def test_a_device_that_reads_low_is_named_and_nobody_takes_it_for_other_patients(names: tuple[str, ...]) -> None:
    facts = stays(LIVE, 40)
    report = look(PROFILE, lowered(facts, facts.device == "ICU-2/3", *names))
    kind, items, where = only(report)
    assert (kind, set(items), where) == (DEVICE_SHIFT, set(names), "device:ICU-2/3")
    assert not report.retrains
    assert "look at the device" in report.causes[0].remedy


def test_what_moved_in_the_house_is_no_device_s() -> None:
    facts = stays(2 * LIVE, 41)
    report = look(PROFILE, lowered(facts, np.ones(2 * LIVE, bool), "HR"))
    assert only(report) == (UNEXPLAINED, ("HR",), "all stays")


def test_a_device_with_few_stays_is_not_judged() -> None:
    facts = stays(LIVE, 42)
    touched = np.flatnonzero(facts.device == "ICU-2/3")
    few = facts.take(np.setdiff1d(np.arange(LIVE), touched[10:]))
    assert not look(PROFILE, lowered(few, few.device == "ICU-2/3", "MAP")).drifted


def test_other_patients_ask_for_a_retraining() -> None:
    facts = stays(2 * LIVE, 34)
    report = look(PROFILE, facts.take(facts.context[:, 0] < 62))
    assert [cause.kind for cause in report.causes] == [POPULATION]
    assert report.retrains


def test_a_feed_that_stops_altogether_is_seen() -> None:
    def of_heart_rate(facts: StayFacts, share: float) -> StayFacts:
        measured = facts.measured.copy()
        measured[:, INDEX["HR"]] = share
        return replace(facts, measured=measured)

    profile = profile_of(of_heart_rate(stays(REFERENCE, 1), 1.0))
    assert not look(profile, of_heart_rate(stays(LIVE, 12), 1.0)).drifted
    stopped = look(profile, of_heart_rate(stays(LIVE, 12), 0.0))
    assert any("HR" in cause.items for cause in stopped.causes), stopped.causes


def test_causes_come_by_harm() -> None:
    facts = changed_unit(stays(LIVE, 35), np.ones(LIVE, bool))
    equal = facts.equal.copy()
    equal[:, SPO2] = facts.pairs[:, SPO2]
    both = replace(facts, equal=equal)
    first = look(PROFILE, both, {"Creatinine": 0.3, "O2Sat": 0.01}).causes[0].items
    assert first == ("Creatinine",)
    assert look(PROFILE, both, {"Creatinine": 0.01, "O2Sat": 0.3}).causes[0].items == ("O2Sat",)


def test_facts_are_of_stays_and_no_hour_counts_for_two() -> None:
    values = np.full((5, len(NAMES)), np.nan, np.float32)
    values[:, SPO2] = [97, 97, np.nan, 95, 90]
    values[3:, CREATININE] = [1.0, 3.0]
    rest = np.zeros(5, np.float32)
    panel = Panel(values, np.array([0, 3, 5]), np.array([1, 2, 3, 1, 2]), rest, rest, rest, rest)
    facts = facts_of(panel, np.array(["a", "b"]), np.array(["", ""]))
    assert facts.pairs[:, SPO2].tolist() == [1, 1]
    assert facts.equal[:, SPO2].tolist() == [1, 0]
    assert facts.median[:, SPO2].tolist() == [97.0, 90.0]
    assert np.isnan(facts.median[0, CREATININE])
    assert facts.measured[:, CREATININE].tolist() == [0.0, 1.0]
