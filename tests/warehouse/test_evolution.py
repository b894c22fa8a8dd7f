"""What a standing table may become, decided without a catalog (on a real one: tests/infra/planning)."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest

from warehouse.catalog import create_table, open_catalog
from warehouse.contract import Column, Partitioning, load_contracts
from warehouse.evolution import Change, ObservedColumn, ObservedTable, evolve, plan_table
from warehouse.settings import Settings
from warehouse.tables import CONTRACT_VERSION, iceberg_schema, properties

VITALS = load_contracts().table("vitals")
STANDING = ObservedTable(
    "vitals",
    tuple(ObservedColumn(c.name, c.iceberg, c.required, c.field_id or 0) for c in VITALS.columns),
    "day(event_time)",
    properties(VITALS),
)


def changed(name: str, **fields: object) -> tuple[Column, ...]:
    return tuple(replace(c, **fields) if c.name == name else c for c in VITALS.columns)


def test_a_table_that_is_its_contract_needs_nothing() -> None:
    assert plan_table(VITALS, STANDING) == ([], [])


def test_a_missing_table_is_created() -> None:
    changes, refusals = plan_table(VITALS, None)
    assert ([change.kind for change in changes], refusals) == (["create"], [])


def test_a_new_optional_column_is_added() -> None:
    bed = replace(VITALS.column("ward"), name="bed", field_id=18)
    changes, refusals = plan_table(replace(VITALS, columns=(*VITALS.columns, bed)), STANDING)
    assert (changes, refusals) == ([Change("vitals", "add_column", "bed", None, "string")], [])


def test_a_required_column_may_become_optional() -> None:
    changes, refusals = plan_table(replace(VITALS, columns=changed("code", required=False)), STANDING)
    assert ([change.kind for change in changes], refusals) == (["make_optional"], [])


REFUSED = {
    "narrowed type": ({"columns": changed("seq", iceberg="int")}, "type changed from long to int", "new column name"),
    "widened type": ({"columns": changed("kafka_partition", iceberg="long")}, "from int to long", "new column name"),
    "newly required": ({"columns": changed("ward", required=True)}, "became required", "quality rule"),
    "changed unit": ({"columns": changed("numeric_value", unit="kPa")}, "from per code to kPa", "add a column"),
    "lost unit": ({"columns": changed("numeric_value", unit=None)}, "from per code to None", "add a column"),
    "dropped column": ({"columns": VITALS.columns[:-1]}, "in the table and not in the contract", "keep it"),
    "other partitions": ({"partitioning": Partitioning("kafka_time", "day")}, "partitioning changed", "new table"),
    "no partitions": ({"partitioning": None}, "from day(event_time) to nothing", "new table"),
    "older contract": ({"version": "0.9.0"}, "follows version 1.1.0, this is 0.9.0", "newer contracts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_change_of_what_is_there_is_refused_with_the_way_out(case: str) -> None:
    fields, reason, way = REFUSED[case]
    _, refusals = plan_table(replace(VITALS, **fields), STANDING)
    assert len(refusals) == 1
    assert reason in refusals[0].reason
    assert way in refusals[0].remedy


def test_versions_are_compared_by_number() -> None:
    standing = replace(STANDING, properties={**STANDING.properties, CONTRACT_VERSION: "1.9.0"})
    changes, refusals = plan_table(replace(VITALS, version="1.10.0"), standing)
    assert refusals == []
    assert [(change.name, change.before, change.after) for change in changes] == [(CONTRACT_VERSION, "1.9.0", "1.10.0")]


def test_a_table_of_the_version_before_gets_the_new_columns_with_the_contract_s_ids(folder_lake: Settings) -> None:
    catalog = open_catalog(folder_lake)
    before = replace(VITALS, columns=VITALS.columns[:17], version="1.0.0")
    create_table(catalog, "ward", before, nullcontext())
    assert {change.kind for change in evolve(catalog, "ward", VITALS)} == {"add_column", "set_property"}
    assert str(catalog.load_table(("ward", "vitals")).schema()) == str(iceberg_schema(VITALS))
    assert evolve(catalog, "ward", VITALS) == []
