"""Champion and shadow judged by outcomes: whose hours count, from which onset, and whose do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from pipelines import shadow_comparison
from pipelines.clinical.sepsis.evaluate import Outcome
from pipelines.clinical.sepsis.utility import hours_from_onset
from pipelines.shadow_comparison import _judged

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
_US = pa.timestamp("us", "UTC")


def hours(token: str, first: int, many: int) -> list[dict[str, Any]]:
    """Hours in which the shadow alerts and the champion does not."""
    return [
        {
            "subject_token": token, "hour_start": BEGAN + timedelta(hours=hour), "hour_of_stay": hour + 1,
            "score": 0.9, "risk": 0.4, "is_alerting": True, "told_score": 0.1, "told_risk": 0.02,
            "told_alerting": False, "told_again": True,
        }
        for hour in range(first, first + many)
    ]  # fmt: skip


def outcome(token: str, onset: int | None, said: int) -> dict[str, Any]:
    return {
        "subject_token": token, "outcome": "no_sepsis" if onset is None else "sepsis",
        "onset_at": None if onset is None else BEGAN + timedelta(hours=onset), "said_at": BEGAN + timedelta(hours=said),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> pa.Table:
    made = pa.Table.from_pylist(rows)
    schema = [(field.name, _US if pa.types.is_timestamp(field.type) else field.type) for field in made.schema]
    return made.cast(pa.schema(schema))


class Judged:
    """What the gate was given, and what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[Outcome] = []
        decide = shadow_comparison.gate.decide

        def spy(champion: Outcome, shadow: Outcome, *others: Any) -> Any:
            self.given = [champion, shadow]
            return decide(champion, shadow, *others)

        monkeypatch.setattr(shadow_comparison.gate, "decide", spy)

    def of(self, rows: list[dict[str, Any]], *said: dict[str, Any]) -> tuple[int, int]:
        """Stays that were judged and those left out."""
        return _judged(table(rows), table(list(said)))[1:]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Judged:
    return Judged(monkeypatch)


def test_hours_that_were_not_told_move_no_onset_and_alert_nobody(judged: Judged) -> None:
    assert judged.of(hours("p", 10, 6) + hours("p", 19, 6), outcome("p", 24, 40)) == (1, 0)
    champion, shadow = judged.given
    assert hours_from_onset(shadow.labels, shadow.starts).tolist() == list(range(-14, 1))
    assert shadow.alerts.tolist() == [True] * 6 + [False] * 3 + [True] * 6
    assert not champion.alerts.any()
    assert shadow.risks.tolist() == [0.4] * 6 + [0.0] * 3 + [0.4] * 6


def test_who_was_septic_before_both_had_scored_them_for_six_hours_is_left_out_and_counted(judged: Judged) -> None:
    rows = hours("late", 30, 12) + hours("p", 10, 6)
    assert judged.of(rows, outcome("late", 35, 60), outcome("p", 16, 60)) == (1, 1)
    assert len(judged.given[0].labels) == 6
    assert judged.of(hours("late", 30, 12), outcome("late", 20, 60)) == (0, 1)


def test_an_outcome_says_nothing_of_hours_after_it_or_two_weeks_before(judged: Judged) -> None:
    rows = hours("p", -400, 3) + hours("p", 0, 30) + hours("p", 1_440, 12)
    assert judged.of(rows, outcome("p", 20, 29)) == (1, 0)
    _, shadow = judged.given
    assert hours_from_onset(shadow.labels, shadow.starts).tolist() == list(range(-20, 10))
    assert judged.of(hours("p", 1_440, 12), outcome("p", 20, 29)) == (0, 0)


def test_stays_of_several_patients_stand_apart(judged: Judged) -> None:
    rows = hours("a", 0, 5) + hours("b", 3, 9) + hours("nobody said", 0, 4)
    assert judged.of(rows, outcome("b", 11, 40), outcome("a", None, 40)) == (2, 0)
    _, shadow = judged.given
    assert sorted((int(n), bool(labels.any())) for n, labels in _stays(shadow)) == [(5, False), (9, True)]


def _stays(of: Outcome) -> list[tuple[int, Any]]:
    return [(high - low, of.labels[low:high]) for low, high in pairwise(of.starts.tolist())]
