"""Which verdict is in force: without a table, without a server."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from warehouse.contract import load_contracts
from warehouse.release import DayNotReleasedError, QualityResult, latest_result, next_evaluation, positions, released
from warehouse.tables import arrow_schema

DAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SCHEMA = arrow_schema(load_contracts().table("quality_results"))


def verdict(passed: bool, minutes: int = 0, **changed: Any) -> QualityResult:
    said = {
        "table": "vitals", "day": DAY, "suite_version": "v1", "snapshot_id": 7, "vector": {"topic": {0: 5, 1: 9}},
        "passed": passed, "evaluated_at": NOON + timedelta(minutes=minutes), "expectations": 54,
        "failed": () if passed else ("code_is_known",), "rows": 14,
    }  # fmt: skip
    return QualityResult(**{**said, **changed})


def results(*verdicts: QualityResult) -> pa.Table:
    return pa.concat_tables([SCHEMA.empty_table(), *(each.row(SCHEMA) for each in verdicts)])


def test_a_verdict_reads_back_as_it_was_written() -> None:
    assert released(results(verdict(True)), "vitals", DAY) == verdict(True)


def test_the_newest_verdict_decides_whatever_the_order_of_rows() -> None:
    green, red = verdict(True), verdict(False, minutes=1)
    for order in ((green, red), (red, green)):
        with pytest.raises(DayNotReleasedError, match=r"vitals, 2026-11-21: .* is red \(code_is_known\)"):
            released(results(*order), "vitals", DAY)
    assert released(results(red, verdict(True, minutes=2)), "vitals", DAY).passed


def test_other_days_and_tables_release_nothing() -> None:
    others = results(verdict(True, table="alerts"), verdict(True, day=DAY + timedelta(days=1)))
    assert latest_result(others, "vitals", DAY) is None
    with pytest.raises(DayNotReleasedError, match="no quality gate has judged this day"):
        released(others, "vitals", DAY)


def test_a_verdict_is_always_later_than_the_one_before() -> None:
    before = verdict(False)
    assert next_evaluation(NOON - timedelta(hours=1), before) > before.evaluated_at
    assert next_evaluation(NOON + timedelta(hours=1), before) == NOON + timedelta(hours=1)
    assert next_evaluation(NOON, None) == NOON


def test_a_vector_as_rows_has_one_row_a_partition() -> None:
    assert positions({"topic": {0: 5, 1: 9}}).to_pylist() == [
        {"topic_id": "topic", "kafka_partition": 0, "next_offset": 5},
        {"topic_id": "topic", "kafka_partition": 1, "next_offset": 9},
    ]
    assert positions({}).num_rows == 0
