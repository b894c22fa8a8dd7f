"""Views over the lake's tables: the current versions of what is corrected, and readings with their sensor faults.

Holds: each view's columns and the SELECT that makes it, derived from the contracts alone.
Does not hold: any session. `analytics.py` makes a view for each statement that names it, over the tables as that
statement sees them; so with as-of a view shows what was current as it was known then. Sensor faults are derived and
keep no system time: readings with their faults have no as-of.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from warehouse.contract import POSITION_COLUMNS, Contracts, TableContract, Versions
from warehouse.tables import arrow_schema

CURRENT = "_current"
CHECKED = "_checked"
FAULTS = "sensor_faults"
FAULT_COLUMN = "sensor_fault"
READINGS = ("vitals", "wearables")

_PLACE = ("topic_id", "kafka_partition", "kafka_offset")


@dataclass(frozen=True, slots=True)
class View:
    """A name that a statement may read like a table.

    Attributes:
        reads: the tables it is made of.
        schema: its columns; timestamps in UTC.
        select: the SELECT over `reads`, for DuckDB.
    """

    name: str
    reads: tuple[str, ...]
    schema: pa.Schema
    select: str


def views(contracts: Contracts) -> dict[str, View]:
    """Every view by its name. A table of the same name goes before a view: then there is no such view.

    `<table>_current` for each table whose rows are versions; `vitals_checked` and `wearables_checked` always, with an
    empty column where no contract declares sensor faults.
    """
    tables = {table.name: table for table in contracts.tables()}
    made = [current_versions(table, table.versions) for table in tables.values() if table.versions]
    made += [_checked(tables[name], FAULTS in tables) for name in READINGS if name in tables]
    return {view.name: view for view in made if view.name not in tables}


def current_versions(table: TableContract, versions: Versions) -> View:
    """`<table>_current`: of each key the greatest version. What was withdrawn stays, with nothing in its columns of
    values.

    Versions that are equal in the contract's order are told apart by their content, and by where they stood only if
    that is equal too: so the state is the same whatever the order of arrival. A filter on the key is applied before
    versions are compared; without one the whole table is held in memory, which a gigabyte allows for two million rows.
    """
    order = [_rank(versions, name) for name in versions.order]
    content = [column.name for column in table.columns if column.name not in _without_say(table, versions)]
    newest = ", ".join(f"{part} DESC NULLS LAST" for part in (*order, *content, *_PLACE))
    select = (
        f"SELECT * REPLACE ({_without_value(table, versions)}) FROM {table.name}"
        f" QUALIFY row_number() OVER (PARTITION BY {', '.join(versions.key)} ORDER BY {newest}) = 1"
    )
    return View(table.name + CURRENT, (table.name,), arrow_schema(table), select)


def _rank(versions: Versions, column: str) -> str:
    words = versions.ranks.get(column)
    return f"list_position([{', '.join(map(_text, words))}], {column})" if words else column


def _without_say(table: TableContract, versions: Versions) -> set[str]:
    """Columns that do not order versions a second time: those that did, positions, and what is sealed, which is
    another text each time."""
    sealed = {column.name for column in table.columns if column.protection == "sealed"}
    return {*versions.key, *versions.order, *POSITION_COLUMNS, *sealed}


def _without_value(table: TableContract, versions: Versions) -> str:
    """The columns of values, null where the row takes its thing back."""
    withdrawn = " OR ".join(
        f"{column} IN ({', '.join(map(_text, words))})" for column, words in versions.withdrawn.items()
    )
    values = [column.name for column in table.columns if column.classification == "sensitive"]
    return ", ".join(f"CASE WHEN {withdrawn or 'false'} THEN NULL ELSE {name} END AS {name}" for name in values)


def _checked(table: TableContract, faults_are_known: bool) -> View:
    schema = arrow_schema(table).append(pa.field(FAULT_COLUMN, pa.string()))
    name = table.name + CHECKED
    if not faults_are_known:
        return View(name, (table.name,), schema, f"SELECT *, NULL::VARCHAR AS {FAULT_COLUMN} FROM {table.name}")
    # The event time is in the join so that a day asked for is all that is read of the faults.
    place = ", ".join((*_PLACE, "event_time"))
    found = (
        f"SELECT {place}, string_agg(DISTINCT fault, ' ' ORDER BY fault) AS {FAULT_COLUMN} FROM {FAULTS}"
        f" WHERE table_name = {_text(table.name)} GROUP BY {place}"
    )
    select = f"SELECT * FROM {table.name} LEFT JOIN ({found}) USING ({place})"
    return View(name, (table.name, FAULTS), schema, select)


def _text(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"
