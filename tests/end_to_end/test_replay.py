"""A file sent twice and its rejects sent again, through the real product: every event is one row all the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from infra.cli.rejects_replay import replay_rejects
from infra.cli.replay import replay
from infra.simulator.hazards import Hazards
from infra.simulator.hospital import STREAMS, play_hospital
from infra.simulator.ward import Troubles
from tests.deployment import ROOT, Deployment
from tests.oracle.oracle import Verdict
from warehouse.analytics import Analytics
from warehouse.settings import Settings

pytestmark = pytest.mark.end_to_end

TABLES = ("vitals", "wearables", "labs", "adt_events", "medication_events")
START_MS = 1_795_309_200_000 - 86_400_000


WITHOUT_A_UNIT = """
from dataclasses import replace
from warehouse import vocabulary
vocabulary.CODES = {
    code: replace(known, units={unit: how for unit, how in known.units.items() if unit != "umol/L"})
    for code, known in vocabulary.CODES.items()
}
"""
"""What stands in for a vocabulary before it was mended: nobody has told it of micromoles a litre."""


def written(path: Path) -> tuple[Path, int]:
    """A calm quarter of an hour of all streams as a file, three results of it in micromoles a litre."""
    events = list(play_hospital(5, START_MS, 900_000, 3, Troubles.none(), Hazards.none()))
    said = [{"stream": e.stream, "key": e.key.decode(), "value": json.loads(e.value or b"")} for e in events]
    results = [one["value"] for one in said if one["stream"] == "lab.results" and "unit" in one["value"]]
    for number, result in enumerate(results):
        unit = {"code": "2160-0", "unit": "umol/L"} if number < 3 else {"code": "2823-3", "unit": "mmol/L"}
        result |= {**unit, "value": 4.1}
    path.write_text("".join(json.dumps(one) + "\n" for one in said))
    return path, len(said)


def test_after_a_fix_rejects_become_rows_once_and_what_is_sent_again_is_a_duplicate(
    settings: Settings, tmp_path: Path
) -> None:
    path, count = written(tmp_path / "messages.jsonl")
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_A_UNIT)
    # the test's own servers, which no supervisor of this home watches
    site = dataclasses.replace(settings, embedded_kafka=False, embedded_s3=False)
    with Deployment(settings) as deployment:
        assert replay(site, str(path)) == 0
        deployment.run_stream_to_the_end(PYTHONPATH=f"{tmp_path}:{ROOT}")
        before = deployment.verdict()
        assert replay_rejects(site, rejected_for="unknown_unit", why="ticket 4711, the unit is known now") == 0
        assert replay_rejects(site, rejected_for="unknown_unit", why="ticket 4711, once more by mistake") == 0
        assert replay(site, str(path)) == 0
        deployment.run_stream_to_the_end()
        after = deployment.verdict()

    assert [_rows(before), before.totals["misjudged"], before.counts["rejects: rows in Iceberg"]] == [count - 3, 3, 3]
    assert [_rows(after), after.totals["misjudged"], after.counts["rejects: rows in Iceberg"]] == [count, 3, 3]
    assert after.counts["duplicates: rows in Iceberg"] == count  # the mistake sent nothing
    # The oracle knows the unit: to it the three rejects were right, and first. All else is as it must be.
    about_the_three = {"misjudged", "doubled", "misattributed"}
    assert not [heading for heading, found in after.totals.items() if found and heading not in about_the_three]
    assert (after.totals["doubled"], after.totals["misattributed"]) == (3, 3), after.report()


def _rows(verdict: Verdict) -> int:
    return sum(verdict.counts[f"{table}: rows in Iceberg"] for table in TABLES)


def test_new_topics_go_on_with_what_the_lake_had_not_read_of_the_old(settings: Settings, tmp_path: Path) -> None:
    path, count = written(tmp_path / "messages.jsonl")
    head, rest = tmp_path / "head.jsonl", tmp_path / "rest.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    head.write_text("".join(lines[:600]))
    rest.write_text("".join(lines[600:]))
    old = dataclasses.replace(settings, embedded_kafka=False, embedded_s3=False)
    new = dataclasses.replace(old, topic_prefix=f"{settings.topic_prefix}v2.")
    with Deployment(old) as deployment:
        assert replay(old, str(head)) == 0
        deployment.run_stream_to_the_end()
        assert replay(old, str(rest)) == 0
    with Deployment(new) as deployment:
        for stream in STREAMS:
            assert replay(new, old.topic(stream), into=stream, unread=True) == 0
        deployment.run_stream_to_the_end()

    with Analytics(settings) as analytics:
        asked = " UNION ALL ".join(f"SELECT event_id FROM {table}" for table in TABLES)
        told = analytics.query(f"SELECT count(*) AS rows, count(DISTINCT event_id) AS events FROM ({asked})")
    assert told.table.to_pylist() == [{"rows": count, "events": count}]
