"""What the rules remember of every stream after a restart, read from a real lake, against never having stopped."""

from __future__ import annotations

import pyarrow as pa

from pipelines.clinical.monitor import WardMonitor
from pipelines.rules_before import rebuilt
from tests.pipelines.clinical.streams import OWN_TABLE, hospital, past, rows_of
from tests.pipelines.clinical.test_streams import observed
from tests.warehouse.fenced import new_table
from warehouse.analytics import Analytics
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.tables import arrow_schema


def commit(settings, stream, rows: pa.Table) -> None:
    table = OWN_TABLE[stream]
    schema = arrow_schema(load_contracts().table(table))
    told = {name: rows[name].combine_chunks() for name in rows.column_names}
    told.setdefault("event_id", pa.array([str(offset) for offset in rows["kafka_offset"].to_pylist()]))
    told["topic_id"] = pa.array([stream] * len(rows))
    told["ingest_time"] = told["kafka_time"]
    columns = [
        told[field.name].cast(field.type) if field.name in told else pa.nulls(len(rows), field.type) for field in schema
    ]
    fenced = FencedTable(*new_table(settings, table), writer="test")
    fenced.establish(stream, {0: 0})
    fenced.commit(pa.Table.from_arrays(columns, schema=schema), [Interval(stream, 0, 0, len(rows))])


def test_at_any_position_the_lake_gives_back_the_state_of_every_stream(settings):
    told = hospital(1, minutes=240)
    for stream in OWN_TABLE:
        commit(settings, stream, rows_of(stream, [message for of, message in told if of == stream]))
    after = 0
    with Analytics(settings) as session:
        for stop in (150, 400, 550):
            going = WardMonitor()
            before = observed(told[:stop], going)
            at = {s: (s, {0: sum(of == s for of, _ in told[:stop])}) for s in OWN_TABLE}
            restored = rebuilt(WardMonitor, session, at, past(before))
            expected = observed(told[stop:], going)
            assert observed(told[stop:], restored) == expected, stop
            after += len(expected)
    assert after > 20
