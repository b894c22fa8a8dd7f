"""A file sent twice and its rejects sent again, through the real product: every event is one row all the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from infra.cli.rejects_replay import replay_rejects
from infra.cli.replay import replay
from infra.simulator.hazards import Hazards
from infra.simulator.hospital import play_hospital
from infra.simulator.ward import Troubles
from tests.deployment import Deployment
from warehouse.settings import Settings

pytestmark = pytest.mark.end_to_end

START_MS = 1_795_309_200_000 - 86_400_000


def written(path: Path) -> tuple[Path, int]:
    """A calm quarter of an hour of all streams as a file, with three results in a unit that nobody knows."""
    events = list(play_hospital(5, START_MS, 900_000, 3, Troubles.none(), Hazards.none()))
    said = [{"stream": e.stream, "key": e.key.decode(), "value": json.loads(e.value or b"")} for e in events]
    wrong = [one for one in said if one["stream"] == "lab.results" and "unit" in one["value"]][:3]
    for one in wrong:
        one["value"]["unit"] = "furlong"
    path.write_text("".join(json.dumps(one) + "\n" for one in said))
    return path, len(said)


def test_what_is_sent_again_is_a_duplicate_and_what_was_refused_may_come_again(
    settings: Settings, tmp_path: Path
) -> None:
    path, count = written(tmp_path / "messages.jsonl")
    # the test's own servers, which no supervisor of this home watches
    site = dataclasses.replace(settings, embedded_kafka=False, embedded_s3=False)
    with Deployment(settings) as deployment:
        assert replay(site, str(path)) == 0
        deployment.run_stream_to_the_end()
        assert replay(site, str(path)) == 0
        assert replay_rejects(site, rejected_for="unknown_unit", why="ticket 4711, to be refused again") == 0
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()

    assert verdict.passed, verdict.report()
    rows = sum(verdict.counts[f"{table}: rows in Iceberg"] for table in ("vitals", "wearables", "labs", "adt_events"))
    rows += verdict.counts["medication_events: rows in Iceberg"]
    assert (rows, verdict.counts["duplicates: rows in Iceberg"]) == (count - 3, count - 3)
    assert verdict.counts["rejects: rows in Iceberg"] == 3 + 3 + 3
