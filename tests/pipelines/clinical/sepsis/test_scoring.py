"""What is said of a score: reasons, missing items, contributions, and its message."""

from __future__ import annotations

import json
import queue
from datetime import UTC, datetime

import numpy as np

from pipelines.clinical.sepsis.contributions import Asked, Contributions, said
from pipelines.clinical.sepsis.features import FEATURES
from pipelines.clinical.sepsis.model_files import champion
from pipelines.clinical.sepsis.score_message import STREAM, Score, encode_score
from pipelines.clinical.sepsis.scoring import missing_items, reasons
from tests.pipelines import messages
from tests.pipelines.clinical.sepsis.toy_model import ToyModel
from warehouse.contract import load_contracts

SCORE = Score(
    patient_id="P000123", subject_token="t" * 26, ward="ICU-2", model="sepsis", model_version="abc",
    hour_ms=1_795_309_200_000, hour_of_stay=7, score=0.5, risk=0.2, threshold=0.4, reasons=("lactate 4",),
    missing=("pH",), effective_ms=1_795_309_500_000, stream="lab.results", partition=1, offset=42,
)  # fmt: skip
SCORED_AT = datetime(2026, 11, 22, 1, 5, tzinfo=UTC)


def _row(**known: float) -> np.ndarray:
    row = np.full(len(FEATURES), np.nan, np.float32)
    for name, value in known.items():
        row[FEATURES.index(name)] = value
    return row


def test_what_raises_the_score_most_is_named_first() -> None:
    told = reasons(ToyModel(), _row(Lactate_last=4.0, Lactate_since_h=2.0, HR_mean_6h=120.0, HR_last=118.0, hour=9.0))
    assert told[0].startswith("lactate 4 mmol/L, 2 h ago: without it the risk would be 0.0")
    assert told[1].startswith("heart rate 118 /min")
    assert len(told) == 3


def test_what_lowers_the_score_is_no_reason() -> None:
    class Lower(ToyModel):
        def scores(self, rows: np.ndarray) -> np.ndarray:
            return 1 - super().scores(rows)

    assert reasons(Lower(), _row(Lactate_last=4.0, hour=9.0)) == ()


def test_what_nobody_measured_is_missing() -> None:
    missing = missing_items(_row(Lactate_last=4.0, age=60.0))
    assert "lactate" not in missing
    assert "age" not in missing
    assert {"heart rate", "sex", "admission_h"} <= set(missing)


def test_a_score_is_a_right_message_of_its_contract() -> None:
    for score in (SCORE, Score(**{**_fields(SCORE), "contributions": ("hour=+0.1",), "alert_id": "a1"})):
        batch = messages.worked([encode_score(score, "T", SCORED_AT)], load_contracts().stream(STREAM))
        assert not batch.rejects
        [row] = batch.rows.to_pylist()
        assert row["score"] == 0.5
        assert row["is_alerting"]
        assert row["revision"] == score.revision


def test_the_same_score_after_another_reading_is_another() -> None:
    assert SCORE.score_id == Score(**_fields(SCORE)).score_id
    assert SCORE.score_id != Score(**_fields(SCORE) | {"offset": 43}).score_id
    assert SCORE.score_id != Score(**_fields(SCORE) | {"score": 0.51}).score_id
    assert SCORE.score_id != Score(**_fields(SCORE) | {"contributions": ()}).score_id


def test_the_message_names_the_patient_only_where_its_contract_says() -> None:
    message = json.loads(encode_score(SCORE, "T", SCORED_AT))
    assert [name for name, value in message.items() if value == "P000123"] == ["patient_id"]


def test_contributions_follow_from_a_thread_of_their_own() -> None:
    told: queue.Queue[tuple[Asked, Score]] = queue.Queue()
    contributions = Contributions(lambda asked, score: told.put((asked, score)))
    files = champion()
    row = _row(Lactate_last=6.0, Lactate_since_h=1.0, HR_last=130.0, hour=20.0, age=70.0)
    contributions.ask(Asked(SCORE, row, files, "T", SCORED_AT))
    _, score = told.get(timeout=120)
    assert score.revision == 1
    assert score.contributions is not None
    numbers = [float(each.partition("=")[2]) for each in score.contributions]
    assert numbers == sorted(numbers, key=abs, reverse=True)
    # Together with what all scores share they are the log odds of the score: the largest cannot exceed it all.


def test_one_that_cannot_be_worked_out_is_counted_and_the_next_one_told() -> None:
    told: queue.Queue[Score] = queue.Queue()
    contributions = Contributions(lambda _, score: told.put(score))
    files = champion()
    contributions.ask(Asked(SCORE, np.empty(3, np.float32), files, "T", SCORED_AT))
    contributions.ask(Asked(SCORE, _row(hour=20.0), files, "T", SCORED_AT))
    assert told.get(timeout=120).contributions
    assert contributions.left_out == 1


def test_contributions_are_told_largest_first_and_nothing_of_nothing() -> None:
    found = np.zeros(len(FEATURES))
    found[FEATURES.index("hour")], found[FEATURES.index("age")] = 0.2, -0.5
    assert said(found) == ("age=-0.5000", "hour=+0.2000")


def _fields(score: Score) -> dict[str, object]:
    return {name: getattr(score, name) for name in score.__slots__}
