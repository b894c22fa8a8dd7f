"""The oracle on two alerts of one patient: each has to be taken back by itself, and neither for the other's hours."""

from __future__ import annotations

import pytest

from tests.oracle.alerts import Decided
from tests.oracle.score_checks import ToldScore
from tests.oracle.sepsis_alerts import HOUR_MS, Sent, check_patient

TOKEN = "t" * 26
FIRST, SECOND = 1, 10


def told(hour: int, score: float, at: int) -> ToldScore:
    return ToldScore(TOKEN, hour, hour, score, score, 0.5, score >= 0.5, "v", 0, at, f"{hour}@{at}")


def sent(hour: int, at: int, score: float = 0.9, retracts: bool = False) -> Sent:
    decided = Decided("sepsis", TOKEN, hour * HOUR_MS, 1, None, 0, 0, hour * HOUR_MS)
    back = decided._replace(retracts=decided.alert_id) if retracts else decided
    return Sent(back.alert_id, TOKEN, hour, hour * HOUR_MS, score, back.retracts, None, at, "")


# Hours 1 and 10 are high; hour `anew` is scored low at 20.
STORY = [told(1, 0.9, 1), *(told(hour, 0.1, hour) for hour in range(2, 10)), told(10, 0.9, 10), told(11, 0.9, 11)]
ALERTS = [sent(FIRST, 1), sent(SECOND, 10)]


def headings(story: list[ToldScore], alerts: list[Sent]) -> list[str]:
    return [found.heading for found in check_patient(TOKEN, story, alerts, []) if found.count]


def test_two_alerts_that_stand_are_right() -> None:
    assert not headings(STORY, ALERTS)


def test_the_first_is_to_be_taken_back_while_the_second_stands() -> None:
    corrected = [*STORY, told(FIRST, 0.1, 20)]
    assert headings(corrected, ALERTS) == ["alerts_missing"]
    assert not headings(corrected, [*ALERTS, sent(FIRST, 20, 0.1, retracts=True)])


@pytest.mark.parametrize("hour", [FIRST, SECOND])
def test_an_alert_whose_hour_is_high_is_not_to_be_taken_back(hour: int) -> None:
    assert "alerts_forged" in headings(STORY, [*ALERTS, sent(hour, 20, retracts=True)])


def test_the_second_is_not_taken_back_for_the_first() -> None:
    corrected = [*STORY, told(FIRST, 0.1, 20)]
    wrong = [*ALERTS, sent(FIRST, 20, 0.1, retracts=True), sent(SECOND, 20, 0.1, retracts=True)]
    assert "alerts_forged" in headings(corrected, wrong)
