"""The digest sees every difference, and only differences; Spark itself is asked by `python -m tests.spark`."""

from __future__ import annotations

from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa
import pytest

from infra.services.jars import read_lock
from tests.spark.digests import DUCKDB, SPARK, count_and_digest
from tests.spark.engines import LOCK_FILE

ROWS = pa.table(
    {
        "text": ["a", "null", None],
        "whole": pa.array([1, -5, None], pa.int64()),
        "number": [0.1, -0.3, None],
        "instant": pa.array([datetime(2026, 1, 1, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")),
        "day": [date(2026, 1, 1), None, None],
        "yes": [True, False, None],
        "bytes": [b"\x00\xff", b"", None],
        "words": pa.array([["a", "b"], [], None], pa.list_(pa.string())),
        "wave": pa.array([[0.5, -1.25], [], None], pa.list_(pa.float64())),
    }
)


def digest(rows: pa.Table) -> tuple[int, str]:
    with duckdb.connect(":memory:") as session:
        session.register("rows", rows)
        return session.execute(count_and_digest(rows.schema, "rows", DUCKDB)).fetchall()[0]


def test_the_order_of_rows_does_not_matter():
    assert digest(ROWS) == digest(ROWS.take([2, 0, 1]))
    assert digest(ROWS)[0] == 3


@pytest.mark.parametrize("column", ROWS.column_names)
def test_a_value_that_is_lost_is_seen(column: str):
    at = ROWS.column_names.index(column)
    less = pa.array([None, *ROWS[column].to_pylist()[1:]], ROWS[column].type)
    assert digest(ROWS.set_column(at, column, less)) != digest(ROWS)


def test_a_row_that_is_there_twice_and_a_last_bit_are_seen():
    assert digest(pa.concat_tables([ROWS, ROWS.slice(0, 1)])) != digest(ROWS)
    near = ROWS.set_column(2, "number", pa.array([0.1 + 2**-52, -0.3, None]))
    assert digest(near) != digest(ROWS)


def test_no_rows_have_the_digest_zero():
    assert digest(ROWS.slice(0, 0)) == (0, "0")


def test_both_dialects_are_said_from_the_same_schema():
    assert "`wave`" in count_and_digest(ROWS.schema, "t", SPARK)


def test_the_jars_are_locked():
    assert {jar.artifact for jar in read_lock(LOCK_FILE)} == {
        "iceberg-spark-runtime-4.1_2.13", "iceberg-aws-bundle", "postgresql", "sqlite-jdbc"
    }  # fmt: skip
