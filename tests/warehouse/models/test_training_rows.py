"""Rows a model learns from, on a real lake: whose, and under a purpose that rests on consent which of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.warehouse.conftest import lake_settings
from tests.warehouse.consent.lake import NOW, reading, registry_rows, said
from tests.warehouse.consent.made import at
from tests.warehouse.test_analytics import created
from warehouse.analytics import Analytics
from warehouse.catalog import load_table, open_catalog
from warehouse.consent.decision import GRANT, REVOKE
from warehouse.consent.filters import Purpose
from warehouse.contract import load_contracts
from warehouse.models.shadow_rows import said_outcomes
from warehouse.models.training_rows import TrainingRows, read_training_rows
from warehouse.settings import Settings
from warehouse.tables import arrow_schema

LATER, TWICE, SILENT = "t-consents-later", "t-two-outcomes", "t-silent"
HISTORIES = {LATER: [said(GRANT, 5)], TWICE: [said(GRANT, 1), said(REVOKE, 7), said(GRANT, 11)]}


def outcome(offset: int, token: str, days: int) -> dict[str, Any]:
    return {
        "event_id": f"o{offset}", "subject_token": token, "action": "outcome", "outcome": "no_sepsis",
        "topic_id": "feedback", "kafka_partition": 0, "kafka_offset": offset, "event_time": at(days),
        "kafka_time": at(days), "ingest_time": at(days),
    }  # fmt: skip


def put(settings: Settings, name: str, rows: list[dict[str, Any]]) -> None:
    created(settings, name).append(pa.Table.from_pylist(rows, arrow_schema(load_contracts().table(name))))


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    """Readings of days 4 and 6 of three people, and outcomes of day 9; of one also of day 6, when it was consented."""
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")
    people = (LATER, TWICE, SILENT)
    put(settings, "vitals", [reading(10 * n + day, who, day) for n, who in enumerate(people) for day in (4, 6)])
    put(settings, "alert_feedback", [*(outcome(n, who, 9) for n, who in enumerate(people)), outcome(9, TWICE, 6)])
    for name in ("wearables", "labs", "adt_events"):
        created(settings, name)
    created(settings, "consent_updates").append(registry_rows(HISTORIES))
    return settings


def read(settings: Settings, purpose: str) -> TrainingRows:
    with Analytics(settings) as analytics:
        return read_training_rows(analytics, ["8867-4"], Purpose(purpose, NOW))


def test_care_learns_from_every_row(lake: Settings) -> None:
    rows = read(lake, "operations")
    assert (len(rows.outcomes), len(rows.vitals), rows.withheld) == (3, 6, 0)


def result(offset: int, released: int, appended: int) -> dict[str, Any]:
    return {
        "event_id": f"r{offset}", "order_id": f"q{offset}", "subject_token": LATER, "code": "2524-7", "status": "F",
        "numeric_value": 2.0, "collected_at": at(5), "reported_at": at(released), "topic_id": "labs",
        "kafka_partition": 0, "kafka_offset": offset, "kafka_time": at(appended), "ingest_time": at(appended),
    }  # fmt: skip


def test_results_count_that_were_released_by_then_be_they_sent_long_after(lake: Settings) -> None:
    """The outcome was said on day 9."""
    table = load_table(open_catalog(lake), lake.namespace, "labs")
    rows = [result(1, 5, 5), result(2, 5, 12), result(3, 10, 12)]
    table.append(pa.Table.from_pylist(rows, arrow_schema(load_contracts().table("labs"))))
    with Analytics(lake) as analytics:
        found = read_training_rows(analytics, ["8867-4", "2524-7"], Purpose("operations", NOW)).results
    assert found["event_id"].to_pylist() == ["r1", "r2"]


def test_research_learns_from_rows_that_were_consented_to_at_their_own_time(lake: Settings) -> None:
    """A grant after the first reading and before the outcome does not reach back to that reading."""
    rows = read(lake, "research")
    assert rows.outcomes["subject_token"].to_pylist() == [LATER]
    assert rows.vitals["event_time"].to_pylist() == [at(6)]
    assert "consent_updates" in rows.snapshots


def test_of_two_outcomes_said_at_once_the_one_appended_last_holds(lake: Settings) -> None:
    table = load_table(open_catalog(lake), lake.namespace, "alert_feedback")
    later = outcome(20, SILENT, 9) | {"outcome": "sepsis", "onset_at": at(8), "kafka_time": at(10)}
    for row in (later, outcome(21, SILENT, 9) | {"kafka_time": at(9)}):
        table.append(pa.Table.from_pylist([row], arrow_schema(load_contracts().table("alert_feedback"))))
    with Analytics(lake) as analytics:
        said = said_outcomes(analytics).to_pylist()
    assert [row["outcome"] for row in said if row["subject_token"] == SILENT] == ["sepsis"]


def test_an_outcome_that_may_not_be_used_is_not_replaced_by_an_earlier_one(lake: Settings) -> None:
    rows = read(lake, "research")
    assert TWICE not in rows.outcomes["subject_token"].to_pylist()
    assert rows.withheld == 2
