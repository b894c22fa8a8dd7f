"""qSOFA, SIRS, SOFA and the shock index on cases worked by hand from the published tables."""

import numpy as np
import pytest

from pipelines.clinical import qsofa, shock_index, sirs, sofa
from pipelines.clinical.rule_packs import built_in

RULES = built_in().rules
NONE = float("nan")


def columns(*values):
    return [np.array([NONE if value is None else float(value)]) for value in values]


# Seymour et al. 2016: RR >= 22, SBP <= 100, altered mentation. (RR, SBP, ACVPU as a number) -> points, level, clear
QSOFA = [
    ((16, 120, 0), 0, 0, True),
    ((22, 120, 0), 1, 0, True),
    ((21.4, 100.4, 0), 1, 0, True),
    ((22, 100, 0), 2, 1, False),
    ((21.5, 101, 2), 2, 1, False),
    ((24, 88, 1), 3, 2, False),
    ((None, 95, 0), 1, 0, False),
    ((None, 95, 3), 2, 1, False),
    ((16, None, 0), 0, 0, False),
    ((16, 120, None), 0, 0, True),
]


@pytest.mark.parametrize(("signs", "points", "level", "clear"), QSOFA)
def test_qsofa_as_worked_by_hand(signs, points, level, clear):
    score = qsofa.qsofa(*columns(*signs), RULES["qsofa"])
    told = RULES["qsofa"]
    assert (score.points[0], score.levels(told)[0], score.clear(told)[0]) == (points, level, clear)
    assert score.missing[:, 0].tolist() == [sign is None for sign in signs]


# Bone et al. 1992. (temperature, heart rate, respiratory rate, PaCO2, leukocytes) -> criteria
SIRS = [
    ((37.0, 80, 16, None, None), 0),
    ((38.0, 90, 20, 32, 12.0), 0),
    ((38.1, 80, 16, None, None), 1),
    ((35.9, 91, 16, None, None), 2),
    ((36.0, 91, 21, None, None), 2),
    ((37.0, 80, 16, 31, 12.1), 2),
    ((37.0, 80, 24, 30, 8.0), 1),
    ((38.5, 110, 26, 30, 3.9), 4),
    ((None, None, None, None, None), 0),
    ((None, None, None, 31, 18.0), 2),
]


@pytest.mark.parametrize(("signs", "criteria"), SIRS)
def test_sirs_as_worked_by_hand(signs, criteria):
    told = RULES["sirs"]
    score = sirs.sirs(*columns(*signs), told)
    assert score.count[0] == criteria
    assert score.levels(told)[0] == (criteria >= 2)


def test_sirs_is_clear_only_where_the_monitor_tells_everything():
    told = RULES["sirs"]
    assert sirs.sirs(*columns(37.0, 80, 16, None, None), told).clear(told)[0]
    assert sirs.sirs(*columns(37.0, 80, None, 40, None), told).clear(told)[0]
    assert not sirs.sirs(*columns(None, 80, 16, None, 8.0), told).clear(told)[0]


# Vincent et al. 1996. PaO2, FiO2, platelets, bilirubin, MAP, (dopamine, dobutamine, epinephrine, norepinephrine),
# creatinine -> points of the five organs
SOFA = [
    ((95, 21, 240, 0.5, 85, (0, 0, 0, 0), 0.9), (0, 0, 0, 0, 0)),
    ((80, 21, 149, 1.2, 69, (0, 0, 0, 0), 1.2), (1, 1, 1, 1, 1)),
    ((60, 40, 99, 2.0, 70, (0, 3, 0, 0), 2.0), (2, 2, 2, 2, 2)),
    ((60, 80, 49, 6.0, 60, (0, 0, 0, 0.1), 3.5), (2, 3, 3, 3, 3)),
    ((60, 80, 19, 12.0, 60, (16, 0, 0, 0), 5.0), (2, 4, 4, 4, 4)),
    ((60, 80, 150, 1.14, 60, (5, 0, 0, 0), 1.14), (2, 0, 0, 2, 0)),
    ((None, 40, None, None, None, (0, 0, 0.2, 0), None), (0, 0, 0, 4, 0)),
    ((90, None, None, None, None, (0, 0, 0, sofa.RUNNING), None), (0, 0, 0, 3, 0)),
]


def score_of(pao2, fio2, platelets, bilirubin, mean, rates, creatinine):
    before, after = columns(pao2, fio2, platelets, bilirubin, mean), columns(creatinine)
    return sofa.sofa(*before, np.array(rates, float)[:, None], *after)


@pytest.mark.parametrize(("signs", "points"), SOFA)
def test_sofa_as_worked_by_hand(signs, points):
    assert tuple(score_of(*signs).points[:, 0].tolist()) == points


def test_sofa_never_gives_more_than_two_points_for_breathing_since_support_is_not_known():
    assert score_of(40, 100, None, None, None, (0, 0, 0, 0), None).points[0, 0] == 2


def test_sofa_names_the_organs_it_cannot_judge():
    score = score_of(None, 40, 200, None, None, (0, 0, 0, 0), 1.0)
    missing = [organ for organ, absent in zip(sofa.ORGANS, score.missing[:, 0], strict=True) if absent]
    assert missing == ["respiration", "liver", "circulation"]
    assert not score.clear(RULES["sofa"])[0]


@pytest.mark.parametrize(
    ("pulse", "sbp", "level", "clear"),
    [(80, 120, 0, True), (96, 120, 0, False), (108, 120, 1, False), (120, 120, 2, False), (None, 90, 0, False)],
)
def test_shock_index_as_worked_by_hand(pulse, sbp, level, clear):
    index = shock_index.shock_index(*columns(pulse, sbp))
    found, is_clear = shock_index.levels(index, RULES["shock_index"])
    assert (found[0], is_clear[0]) == (level, clear)
