"""Arrow and Iceberg schemas, specs and properties as the contracts lead to them."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import assign_fresh_schema_ids

from warehouse.contract import TableContract, load_contracts
from warehouse.tables import METRICS, UNITS, arrow_schema, iceberg_schema, partition_spec, properties

ALL = load_contracts()
EVERY = pytest.mark.parametrize("table", ALL.tables(), ids=lambda table: table.name)
VITALS = ALL.table("vitals")


@EVERY
def test_arrow_and_iceberg_agree_on_names_types_and_what_may_be_null(table: TableContract) -> None:
    from_iceberg = schema_to_pyarrow(iceberg_schema(table), include_field_ids=False)
    assert [_plain(field) for field in from_iceberg] == [_plain(field) for field in arrow_schema(table)]


def _plain(field: pa.Field) -> tuple[str, str, bool]:
    return field.name, str(field.type).replace("large_", ""), field.nullable


@EVERY
def test_the_catalog_gives_the_field_ids_that_the_contract_gives(table: TableContract) -> None:
    schema = iceberg_schema(table)
    assert str(assign_fresh_schema_ids(schema)) == str(schema)


@EVERY
def test_columns_may_be_reordered_without_another_id(table: TableContract) -> None:
    turned = iceberg_schema(replace(table, columns=table.columns[::-1]))
    assert {f.name: f.field_id for f in turned.fields} == {f.name: f.field_id for f in iceberg_schema(table).fields}


@EVERY
def test_time_is_kept_in_microseconds_utc(table: TableContract) -> None:
    times = [field.type for field in arrow_schema(table) if pa.types.is_timestamp(field.type)]
    assert times
    assert set(times) == {pa.timestamp("us", "UTC")}


@EVERY
def test_tokens_and_sealed_columns_leave_no_bounds_in_manifests(table: TableContract) -> None:
    given = properties(table)
    for column in table.columns:
        if column.protection in ("token", "sealed"):
            assert given[METRICS + column.name] == "none"


@EVERY
def test_the_librarys_own_retry_is_off(table: TableContract) -> None:
    assert properties(table)["commit.retry.num-retries"] == "0"


def test_partitions_follow_the_contract() -> None:
    field = partition_spec(VITALS).fields[0]
    assert (field.name, str(field.transform), field.source_id) == ("event_time_day", "day", 9)
    assert partition_spec(ALL.table("quality_results")).is_unpartitioned()


def test_what_queries_prune_by_has_bounds() -> None:
    given = properties(VITALS)
    for name in ("event_time", "code", "kafka_partition", "kafka_offset"):
        assert given[METRICS + name] == "full"
    assert given["write.metadata.metrics.default"] == "counts"


def test_units_stand_in_the_properties_so_that_a_changed_one_is_found() -> None:
    assert properties(VITALS)[UNITS] == '{"numeric_value":"per code","period_ms":"ms","samples":"per code"}'


def test_properties_are_made_anew_each_time() -> None:
    # pyiceberg takes entries out of the mapping it is given when it makes a table.
    properties(VITALS).clear()
    assert properties(VITALS)
