"""Two sides of a table: whatever is planted is told by kind, column and place, wherever windows are cut."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import tried
from tests.warehouse.fenced import MINUTE, NOON, TOPIC, contract, readings
from warehouse import comparison
from warehouse.comparison import Comparison, TableComparison, compare_derived, compared_columns, no_positions, on_days
from warehouse.offsets import Interval
from warehouse.tables import arrow_schema

VITALS = contract()
FIRST = date(2026, 3, 1)
END = 24
CHANGES = ("drop", "double", "value", "token", "ingest", "phantom", "other day")


def rows() -> pa.Table:
    """Two partitions of twelve readings an hour apart: half of them on the day after."""
    first_us, hour = NOON + 6 * 60 * MINUTE, 60 * MINUTE
    return _typed(pa.concat_tables([readings(0, END // 2, p, first_us=first_us, step_us=hour) for p in (0, 1)]))


def _typed(table: pa.Table) -> pa.Table:
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(VITALS)])
    given = set(table.column_names)
    columns = [
        table[field.name].cast(field.type) if field.name in given else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def compared(kept: pa.Table, rebuilt: pa.Table, days: list[date] | None) -> TableComparison:
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        spans = [Interval(TOPIC, partition, 0, END) for partition in (0, 1)]
        both = Comparison(session, spans, no_positions())
        both.add(VITALS, None, [])
        for side, table in (("kept", kept), ("rebuilt", rebuilt)):
            session.register(f"given_{side}", table)
            session.execute(f"CREATE OR REPLACE TEMP VIEW {side}_vitals AS SELECT * FROM given_{side}")
        return both.compare("vitals", days, "event_id")


def with_value(table: pa.Table, at: int, column: str, value: object) -> pa.Table:
    index = table.schema.get_field_index(column)
    values = table[column].to_pylist()
    values[at] = value
    return table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))


def planted(table: pa.Table, change: str, at: int) -> tuple[pa.Table, tuple[str, str | None] | None]:
    """The table with one change, and how that is to be told."""
    if change == "drop":
        return pa.concat_tables([table.slice(0, at), table.slice(at + 1)]), ("missing", None)
    if change == "double":
        return pa.concat_tables([table, table.slice(at, 1)]), ("doubled", None)
    if change == "phantom":
        return pa.concat_tables([table, with_value(table.slice(at, 1), 0, "kafka_offset", END - 1)]), ("extra", None)
    if change == "other day":
        moment = table["event_time"][at].as_py() - timedelta(days=30)
        return with_value(table, at, "event_time", moment), ("column", "event_time")
    if change == "ingest":
        return with_value(table, at, "ingest_time", table["ingest_time"][at].as_py() + timedelta(hours=1)), None
    column, value = ("numeric_value", None) if change == "value" else ("subject_token", "another")
    return with_value(table, at, column, value), ("column", column)


@tried(8)
@given(change=st.sampled_from(CHANGES), at=st.integers(0, END - 1), window=st.sampled_from([1, 5, 1 << 18]))
def test_one_change_is_told_as_what_it_is_on_its_day_and_on_no_other(change: str, at: int, window: int) -> None:
    table = rows()
    kept, expected = planted(table, change, at)
    day = table["event_time"][at].as_py().date()
    other = FIRST if day != FIRST else FIRST + timedelta(days=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "WINDOW", window)
        found, elsewhere, whole = (compared(kept, table, days) for days in ([day], [other], None))
    for result in (found, whole):
        assert [(d.kind, d.column) for d in result.differences] == ([expected] if expected else [])
        assert {d.day for d in result.differences} <= {day}
        assert all(d.rows == 1 for d in result.differences)
    if expected:
        offset = END - 1 if change == "phantom" else table["kafka_offset"][at].as_py()
        assert found.differences[0].examples == ((TOPIC, table["kafka_partition"][at].as_py(), offset),)
    assert elsewhere.equal


def test_order_and_encoding_are_no_difference() -> None:
    table = rows()
    shuffled = table.take(pa.array(range(END - 1, -1, -1)))
    result = compared(shuffled, table, None)
    assert result.equal
    assert result.kept == result.rebuilt == {FIRST: 12, FIRST + timedelta(days=1): 12}


def test_a_row_at_another_position_is_told_as_moved() -> None:
    table = rows()
    result = compared(with_value(table, 3, "kafka_offset", END - 1), table, None)
    assert {(d.kind, d.rows) for d in result.differences} == {("missing", 1), ("extra", 1)}
    assert result.moved == 1


def test_what_is_sealed_and_what_the_contract_leaves_out_is_compared_otherwise_or_not() -> None:
    assert not {"ingest_time", "unknown_fields", "unknown_sealed_under", "kafka_offset"} & set(compared_columns(VITALS))
    assert {"numeric_value", "kafka_time", "subject_token", "samples"} <= set(compared_columns(VITALS))


def test_days_that_follow_each_other_are_one_condition() -> None:
    days = [FIRST, FIRST + timedelta(days=1), FIRST + timedelta(days=9)]
    assert on_days("t", days).count("TIMESTAMPTZ") == 4
    assert on_days("t", []) == "false"


def test_a_derived_number_may_differ_by_the_order_of_its_sum_and_no_more() -> None:
    table = contract("vitals_by_hour")
    made = {c.name: [_example(c.iceberg)] * 2 for c in table.columns}
    made |= {"hour": [NOON, NOON + 60 * MINUTE], "mean": [80.1, 81.0], "ward": [None, None]}
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(table)])
    rebuilt = pa.table({n: pa.array(made[n], schema.field(n).type) for n in schema.names}, schema=schema)
    near = with_value(rebuilt, 0, "mean", 80.1 * (1 + 1e-12))
    far = with_value(rebuilt, 0, "mean", 80.1 * (1 + 1e-6))
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        assert compare_derived(session, table, FIRST, near, rebuilt).equal
        (difference,) = compare_derived(session, table, FIRST, far, rebuilt).differences
    assert (difference.column, difference.rows, difference.examples) == ("mean", 1, ())


def _example(kind: str) -> object:
    return {"string": "a", "double": 1.0, "timestamptz": NOON}.get(kind, 1)
