"""A start of a stream that rests on consent, from a lake in a folder: who consents, and what was decided before."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.lake_rows import duplicate_rows, reject_rows, table_rows, withheld_rows
from pipelines.restore import Restorer
from pipelines.source import TopicFacts
from pipelines.stream_steps import StreamSteps
from tests.end_to_end.consented import CONSENTS, STREAM, TABLE, consent, contract_of_research, event
from tests.warehouse.conftest import lake_settings
from warehouse.analytics import Analytics
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings
from warehouse.vault import open_vault

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLACES = (TABLE, "rejects", "duplicates", "consent_withheld")
PEOPLE = ("P000001", "P000002")
N = 12


def facts(stream: str) -> TopicFacts:
    return TopicFacts(stream, stream, f"id of {stream}", {0: (0, N)})


def messages(stream: str, told: list[dict], minutes: int) -> MessageBatch:
    """A batch of partition 0 from offset 0 on, appended so long after noon."""
    n = len(told)
    appended = np.full(n, int((NOON + timedelta(minutes=minutes)).timestamp() * 1000))
    keys = [(each.get("patient_id") or each["patientId"]).encode() for each in told]
    values = [json.dumps(each).encode() for each in told]
    return MessageBatch(
        stream, facts(stream).topic_id, np.zeros(n, np.int32), np.arange(n), appended, keys, values, {0: (0, n)}
    )


class Lake:
    """Tables of the two streams in a folder, and starts of the stream over them."""

    def __init__(self, folder: Path) -> None:
        settings = lake_settings(folder / "home", f"file://{folder}/lake")
        self.settings: Settings = replace(settings, contracts=contract_of_research(folder / "contracts"))
        self.contracts = load_contracts(own=self.settings.contracts)
        self.vault = open_vault(self.settings.vault_uri, time.monotonic)
        self.analytics = Analytics(self.settings)
        for name in (*PLACES, "consent_updates"):
            catalog = open_catalog(self.settings)
            create_table(catalog, self.settings.namespace, self.contracts.table(name), table_lock(self.settings))
            self.fenced(name).establish(facts(CONSENTS if name == "consent_updates" else STREAM).topic_id, {0: 0})
        for name in ("rejects", "duplicates"):
            self.fenced(name).establish(facts(CONSENTS).topic_id, {0: 0})

    def fenced(self, name: str) -> FencedTable:
        return FencedTable(open_catalog(self.settings), (self.settings.namespace, name), writer="test")

    def started(self) -> dict[str, StreamSteps]:
        """The steps of both streams as a start makes them."""
        restorer = Restorer(self.settings, self.contracts, self.vault, self.analytics)
        of = {stream: facts(stream) for stream in (CONSENTS, STREAM)}
        starts = restorer.starts(of)
        return {stream: restorer.steps(of[stream], starts[stream]) for stream in of}

    def commit(self, name: str, batch: StreamBatch, below: int) -> None:
        """The part of the batch below an offset, into one table."""
        part, table = batch.below({0: below}), self.contracts.table(name)
        if name == "consent_withheld":
            rows = withheld_rows(part, table, ("research",), 0)
        elif name == "duplicates":
            rows = duplicate_rows(part, table, 0)
        else:
            rows = (reject_rows if name == "rejects" else table_rows)(part, self.vault, table, 0)
        start = self.fenced(name).vector().get(batch.messages.topic_id, {}).get(0, 0)
        rows = rows.filter(pa.array(rows["kafka_offset"].to_numpy() >= start))
        self.fenced(name).commit(rows, [Interval(batch.messages.topic_id, 0, start, below)])

    def places(self) -> dict[str, list[int]]:
        topic = facts(STREAM).topic_id
        asked = "SELECT kafka_offset AS n FROM {} WHERE topic_id = $topic ORDER BY n"
        return {
            name: self.analytics.query(asked.format(name), parameters={"topic": topic}).table["n"].to_pylist()
            for name in PLACES
        }


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path)
    yield made
    made.analytics.close()
    made.vault.close()


def events() -> MessageBatch:
    """Events of two patients in turn, one of them sent twice, one unreadable."""
    told = [event(n, PEOPLE[n % 2], NOON + timedelta(seconds=n)) for n in range(N - 2)]
    batch = messages(STREAM, [*told, told[0], told[1]], 5)
    return replace(batch, values=[*batch.values[:4], b"no json", *batch.values[5:]])


def granted(lake: Lake, *said: dict) -> None:
    """What patients say, read and committed."""
    steps, contract = lake.started()[CONSENTS], lake.contracts.table("consent_updates")
    batch = steps.withhold(steps.all(messages(CONSENTS, list(said), 1)), 0)
    lake.fenced("consent_updates").commit(
        table_rows(batch, lake.vault, contract, 0), [Interval(batch.messages.topic_id, 0, 0, len(said))]
    )


def now_us(minutes: int) -> int:
    return int((NOON + timedelta(minutes=minutes)).timestamp() * 1_000_000)


def test_a_start_knows_from_the_lake_who_consents(lake: Lake) -> None:
    granted(lake, consent(PEOPLE[0], "GRANT", NOON - timedelta(hours=1)))
    steps = lake.started()[STREAM]
    done = steps.withhold(steps.all(events()), now_us(10))
    assert done.row_index.tolist() == [0, 2, 6, 8]
    assert done.withheld.tolist() == [1, 3, 5, 7, 9]
    assert ([r.index for r in done.rejects], done.duplicates.index.tolist()) == ([4], [10, 11])


@pytest.mark.parametrize(
    "ends", [(12, 0, 0, 0), (0, 0, 0, 12), (7, 3, 5, 0), (3, 12, 0, 7), (5, 0, 12, 2), (0, 5, 3, 11)]
)
@pytest.mark.parametrize("after", ["GRANT", "REVOKE"])
def test_what_some_tables_have_stands_though_consent_changed_before_the_rest_was_committed(
    lake: Lake, ends: tuple[int, ...], after: str
) -> None:
    """A crash between the tables' commits; the other patient consents, or the one revokes, before the next start."""
    granted(lake, consent(PEOPLE[0], "GRANT", NOON - timedelta(hours=1)))
    before = lake.started()
    first = before[STREAM].withhold(before[STREAM].all(events()), now_us(10))
    for name, end in zip(PLACES, ends, strict=True):
        if end:
            lake.commit(name, first, end)
    steps = lake.started()
    whose = PEOPLE[1] if after == "GRANT" else PEOPLE[0]
    changed = messages(CONSENTS, [consent(whose, after, NOON - timedelta(minutes=30))], 8)
    steps[CONSENTS].withhold(steps[CONSENTS].all(changed), now_us(10))
    again = steps[STREAM].withhold(steps[STREAM].all(events()), now_us(10))
    for name, end in zip(PLACES, ends, strict=True):
        if end < N:
            lake.commit(name, again, N)
    there = [offset for offsets in lake.places().values() for offset in offsets]
    assert sorted(there) == list(range(N)), (lake.places(), ends)
