"""Lineage events: what they say, that our own stream reads them, and that nobody's absence stops a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets import lineage as module
from assets.lineage import COMPLETE, FAIL, START, Job, Lineage, run_id_of
from pipelines import lineage_producer
from pipelines.deduplicate import FirstPositions, deduplicate
from pipelines.lake_rows import table_rows
from pipelines.lineage_producer import LineageUndeliveredError
from pipelines.normalise import normalise
from pipelines.validate import validate
from tests.pipelines.messages import KEY, decoded
from tests.warehouse.fake_keys import FakeKeys
from warehouse.contract import load_contracts
from warehouse.settings import Settings

CONTRACTS = load_contracts()
NOW = datetime(2026, 11, 22, 1, 2, 3, 456_000, tzinfo=UTC)
JOB = Job("lake/vitals_by_hour", ["vitals"], ["vitals_by_hour"])


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    return Lineage(Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path)}), CONTRACTS)


def test_an_event_names_run_job_and_datasets_with_their_columns(lineage: Lineage) -> None:
    event = lineage.event(COMPLETE, JOB, run_id_of(JOB.name, "1"), NOW, {"vitals_by_hour": 7})
    assert (event["eventType"], event["eventTime"]) == (COMPLETE, "2026-11-22T01:02:03.456Z")
    (read,), (written,) = event["inputs"], event["outputs"]
    assert read["name"].endswith(".vitals")
    assert written["facets"]["version"]["datasetVersion"] == "7"
    assert {"name": "event_time", "type": "timestamptz"}.items() <= read["facets"]["schema"]["fields"][8].items()


def test_a_commit_of_the_stream_reads_its_topic_and_has_one_id_a_snapshot(lineage: Lineage) -> None:
    event, again = (lineage.commits("labs", 5, NOW) for _ in range(2))
    assert event == again
    assert event["inputs"][0]["namespace"].startswith("kafka://")
    assert event["run"]["facets"]["wardstream"]["inputs"] == ["kafka/lab.results"]
    assert lineage.commits("labs", 6, NOW)["run"]["runId"] != event["run"]["runId"]


def test_our_own_stream_makes_rows_of_events(lineage: Lineage) -> None:
    contract = CONTRACTS.stream("lineage.events")
    event = lineage.event(START, JOB, run_id_of(JOB.name, "1"), NOW)
    batch = decoded([event], [b"job:lake/vitals_by_hour"], contract)
    batch = deduplicate(validate(normalise(batch, contract), contract), FirstPositions(1000, 1000, KEY), contract)
    assert batch.rejects == ()
    (row,) = table_rows(batch, FakeKeys(), contract.tables[0], 1_795_309_501_000_000).to_pylist()
    assert (row["job"], row["event_type"], row["event_time"]) == (JOB.name, START, NOW)
    assert (row["inputs"], row["outputs"]) == (["vitals"], ["vitals_by_hour"])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Kinds and run ids of the events that would have been sent."""
    kinds: list[tuple[str, str]] = []

    def note(settings: Settings, topic: str, messages: list[tuple[bytes, bytes]]) -> int:
        kinds.extend((event["eventType"], event["run"]["runId"]) for event in (json.loads(v) for _, v in messages))
        return len(messages)

    monkeypatch.setattr(lineage_producer, "send_lineage", note)
    return kinds


def test_a_run_tells_that_it_starts_and_how_it_ends(lineage: Lineage, told: list[tuple[str, str]]) -> None:
    with lineage.of_run(JOB, "good"):
        pass
    with pytest.raises(ZeroDivisionError), lineage.of_run(JOB, "bad"):
        1 / 0  # noqa: B018
    assert [kind for kind, _ in told] == [START, COMPLETE, START, FAIL]
    assert len({run_id for _, run_id in told}) == 2


def test_a_broker_that_is_away_is_a_warning_and_stops_nothing(
    lineage: Lineage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise LineageUndeliveredError("1 events were not taken")

    monkeypatch.setattr(lineage_producer, "send_lineage", refuse)
    with lineage.of_run(JOB, "unheard"):
        pass
    assert "lineage is not told" in caplog.text
    assert module.STREAM == "lineage.events"
