"""Days made again from Kafka and held against the table: equal as they are, and each planted change is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from assets.replay import Replay, Request, replay
from infra.planning import contracts as planning
from tests.pipelines.messages import reading
from tests.pipelines.small_ingest import Message, ingest, send
from warehouse.catalog import open_catalog
from warehouse.contract import load_contracts
from warehouse.settings import Settings

STREAM = "device.vitals"
NOW = datetime.now(UTC)
DAY = (NOW - timedelta(hours=2)).date()
NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def ward(seed: int, count: int = 120) -> list[Message]:
    """Readings of a few patients on DAY and the day before, with repeats, rejects, late ones and unknown fields."""
    draw = random.Random(seed)
    sent: list[Message] = []
    for number in range(count):
        patient = f"P{draw.randrange(6):06}"
        at = min(NOON, NOW) - timedelta(seconds=draw.choice((5, 50, 86_400 + 5 * number)))
        said = reading(event_id=f"{seed}-{number}", patient_id=patient, event_time=iso(at), seq=number)
        kind = draw.randrange(10)
        if kind == 0 and sent:
            sent.append(draw.choice(sent))
        elif kind == 1:
            sent.append((patient, b"{" + str(number).encode()))
        elif kind == 2:
            sent.append((patient, said | {"unit": "furlong"}))
        elif kind == 3:
            sent.append((patient, said | {"firmware": f"v{number}"}))
        elif kind == 4:
            sent.append(("P999999", said))
        else:
            sent.append((patient, said | {"value": draw.uniform(40, 180)}))
    return sent


@pytest.fixture
def lake(settings: Settings) -> Settings:
    """A small ward of two sendings, ingested."""
    planning.apply(settings)
    send(settings, STREAM, ward(1))
    ingest(settings, STREAM)
    send(settings, STREAM, ward(1)[:20] + ward(2, 40))
    ingest(settings, STREAM)
    return settings


def asked(settings: Settings, table: str = "vitals", days: tuple[date, ...] = (DAY,), **options: object) -> Replay:
    request = Request(table, days, who="test", why="a test of replay", **options)  # ty: ignore[invalid-argument-type]
    return replay(settings, load_contracts(own=settings.contracts), request)


def told(result: Replay) -> set[tuple[str, str, str | None, str | None, int]]:
    """(table, kind, column, instead, rows) of every difference."""
    return {(t.table, d.kind, d.column, d.instead, d.rows) for t in result.tables for d in t.differences}


def test_a_day_as_ingested_is_equal(lake: Settings) -> None:
    days = (DAY - timedelta(days=1), DAY)
    result = asked(lake, days=days)
    assert told(result) == set()
    assert (result.equal, result.complete) == (True, True)
    own, rejects, duplicates = result.tables
    assert own.kept == own.rebuilt
    assert set(own.kept) == set(days)
    assert sum(rejects.rebuilt.values()) > 10
    assert sum(duplicates.rebuilt.values()) > 10


@pytest.mark.parametrize("table", ["rejects", "duplicates"])
def test_what_several_streams_feed_is_equal(lake: Settings, table: str) -> None:
    result = asked(lake, table, days=(NOW.date(),))
    assert (result.equal, result.complete, told(result)) == (True, True, set())
    assert sum(rows for each in result.tables for rows in each.rebuilt.values()) > 10


# ------------------------------------------------------------------ planted changes


class Vitals:
    """The table of rows, changed behind everybody's back."""

    def __init__(self, settings: Settings, name: str = "vitals") -> None:
        self._table = open_catalog(settings).load_table((settings.namespace, name))
        self.rows = self._table.scan().to_arrow()

    def on_day(self) -> pa.Table:
        at = [moment.date() == DAY for moment in self.rows["event_time"].to_pylist()]
        return self.rows.filter(pa.array(at))

    def write(self, rows: pa.Table) -> None:
        self._table.refresh()
        self._table.overwrite(rows)

    def without(self, row: pa.Table) -> pa.Table:
        partition, offset = row["kafka_partition"][0].as_py(), row["kafka_offset"][0].as_py()
        places = zip(self.rows["kafka_partition"].to_pylist(), self.rows["kafka_offset"].to_pylist(), strict=True)
        return self.rows.filter(pa.array([place != (partition, offset) for place in places]))


def changed(row: pa.Table, column: str, value: object) -> pa.Table:
    at = row.schema.get_field_index(column)
    return row.set_column(at, row.schema.field(at), pa.array([value], row.schema.field(at).type))


@pytest.fixture
def vitals(lake: Settings) -> Iterator[tuple[Settings, Vitals]]:
    yield lake, Vitals(lake)


def test_every_planted_change_is_told(vitals: tuple[Settings, Vitals]) -> None:
    lake, table = vitals
    row = table.on_day().slice(3, 1)
    duplicate = Vitals(lake, "duplicates").rows.slice(0, 1)
    elsewhere = changed(
        changed(row, "kafka_offset", duplicate["kafka_offset"][0].as_py()),
        "kafka_partition",
        duplicate["kafka_partition"][0].as_py(),
    )
    planted: dict[str, tuple[pa.Table, set]] = {
        "dropped": (table.without(row), {("vitals", "missing", None, None, 1)}),
        "doubled": (pa.concat_tables([table.rows, row]), {("vitals", "doubled", None, None, 1)}),
        "value": (
            pa.concat_tables([table.without(row), changed(row, "numeric_value", 1.25)]),
            {("vitals", "column", "numeric_value", None, 1)},
        ),
        "ward": (
            pa.concat_tables([table.without(row), changed(row, "ward", "ICU-9")]),
            {("vitals", "column", "ward", None, 1)},
        ),
        "day": (
            pa.concat_tables([table.without(row), changed(row, "event_time", NOON - timedelta(days=9))]),
            {("vitals", "column", "event_time", None, 1)},
        ),
        "moved": (
            pa.concat_tables([table.without(row), elsewhere]),
            {("vitals", "missing", None, None, 1), ("vitals", "extra", None, "duplicates", 1)},
        ),
        "ingest": (
            pa.concat_tables([table.without(row), changed(row, "ingest_time", NOON)]),
            set(),
        ),
    }
    for name, (rows, expected) in planted.items():
        table.write(rows)
        result = asked(lake)
        assert told(result) == expected, name
        assert result.tables[0].moved == (1 if name == "moved" else 0)
        if name not in ("moved", "ingest"):
            (difference,) = result.tables[0].differences
            place = (row["topic_id"][0].as_py(), row["kafka_partition"][0].as_py(), row["kafka_offset"][0].as_py())
            assert difference.examples == (place,), name
    table.write(table.rows)
    assert asked(lake).equal
