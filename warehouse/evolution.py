"""How a table that stands may follow its contract, and how it may not.

Holds: the comparison of a contract with an observed table (pure), the observation, and the few changes that are safe:
a new optional column, a column that becomes optional, a property.
Does not hold: creation (catalog.py), nor anything that touches rows. What would change the meaning of rows that are
there is refused with the way out; Iceberg evolves by field id, never by position.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import Table

from warehouse import tables
from warehouse.contract import Column, TableContract

ATTEMPTS = 10


class EvolutionError(Exception):
    """A table could not be changed because others kept changing it. Try again."""


@dataclass(frozen=True, slots=True)
class ObservedColumn:
    """A column as the catalog has it; `type` in the contract's words."""

    name: str
    type: str
    required: bool
    field_id: int


@dataclass(frozen=True, slots=True)
class ObservedTable:
    """A table as the catalog has it; `partitioning` as `day(event_time)`, empty for one partition."""

    name: str
    columns: tuple[ObservedColumn, ...]
    partitioning: str
    properties: Mapping[str, str]

    def column(self, name: str) -> ObservedColumn | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class Change:
    """One safe change: `kind` is `create`, `add_column`, `make_optional` or `set_property`."""

    table: str
    kind: str
    name: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A change that is not made: what it would be, and the way out."""

    subject: str
    reason: str
    remedy: str


def observe_table(catalog: Catalog, namespace: str, name: str) -> ObservedTable | None:
    """The table as it is now, None if there is none."""
    try:
        table = catalog.load_table((namespace, name))
    except NoSuchTableError:
        return None
    return observed(table, name)


def observed(table: Table, name: str) -> ObservedTable:
    """What a contract is compared with."""
    schema = table.schema()
    return ObservedTable(
        name=name,
        columns=tuple(ObservedColumn(f.name, str(f.field_type), f.required, f.field_id) for f in schema.fields),
        partitioning=", ".join(f"{f.transform}({schema.find_column_name(f.source_id)})" for f in table.spec().fields),
        properties=dict(table.properties),
    )


def plan_table(contract: TableContract, standing: ObservedTable | None) -> tuple[list[Change], list[Refusal]]:
    """What has to change for the table to be its contract, and what of it is refused. Pure."""
    if standing is None:
        return [Change(contract.name, "create", contract.name, None, f"{len(contract.columns)} columns")], []
    changes: list[Change] = []
    refusals = [*_older(contract, standing), *_partitioning(contract, standing), *_units(contract, standing)]
    for column in contract.columns:
        change, refusal = _column(contract, column, standing)
        changes += change
        refusals += refusal
    refusals += _removed(contract, standing)
    return changes + _properties(contract, standing), refusals


def _column(contract: TableContract, column: Column, standing: ObservedTable) -> tuple[list[Change], list[Refusal]]:
    there, place = standing.column(column.name), f"{contract.name}.{column.name}"
    if there is None:
        return _new_column(contract, column, place)
    if there.type != column.iceberg:
        way = "give the new type a new column name and fill both until nobody reads the old one"
        return [], [Refusal(place, f"type changed from {there.type} to {column.iceberg}", way)]
    if column.required and not there.required:
        return [], [Refusal(place, "became required", "leave it optional and add a quality rule: old rows may lack it")]
    if there.required and not column.required:
        return [Change(contract.name, "make_optional", column.name, "required", "optional")], []
    return [], []


def _new_column(contract: TableContract, column: Column, place: str) -> tuple[list[Change], list[Refusal]]:
    if column.required:
        return [], [Refusal(place, "new and required", "make it optional: rows that are there do not have it")]
    return [Change(contract.name, "add_column", column.name, None, column.iceberg)], []


def _removed(contract: TableContract, standing: ObservedTable) -> list[Refusal]:
    kept = {column.name for column in contract.columns}
    way = "keep it in the contract and stop filling it; for a new name add a column, ids and rows stay"
    return [
        Refusal(f"{contract.name}.{column.name}", "is in the table and not in the contract", way)
        for column in standing.columns
        if column.name not in kept
    ]


def _partitioning(contract: TableContract, standing: ObservedTable) -> list[Refusal]:
    parted = contract.partitioning
    wanted = f"{parted.transform}({parted.column})" if parted else ""
    if wanted == standing.partitioning:
        return []
    was, is_ = standing.partitioning or "nothing", wanted or "nothing"
    way = "make a new table under a new name and replay into it, or keep the partitioning"
    return [Refusal(contract.name, f"partitioning changed from {was} to {is_}", way)]


def _units(contract: TableContract, standing: ObservedTable) -> list[Refusal]:
    units = json.loads(standing.properties.get(tables.UNITS, "{}"))
    way = "add a column for the new unit: rows that are there are in the old one"
    return [
        Refusal(f"{contract.name}.{column.name}", f"unit changed from {units[column.name]} to {column.unit}", way)
        for column in contract.columns
        if column.name in units and units[column.name] != column.unit
    ]


def _older(contract: TableContract, standing: ObservedTable) -> list[Refusal]:
    made_by = standing.properties.get(tables.CONTRACT_VERSION, contract.version)
    if _version(made_by) <= _version(contract.version):
        return []
    reason = f"the table follows version {made_by}, this is {contract.version}"
    return [Refusal(contract.name, reason, "use the newer contracts; a table never goes back")]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _properties(contract: TableContract, standing: ObservedTable) -> list[Change]:
    return [
        Change(contract.name, "set_property", key, standing.properties.get(key), value)
        for key, value in tables.properties(contract).items()
        if standing.properties.get(key) != value
    ]


def evolve(catalog: Catalog, namespace: str, contract: TableContract) -> list[Change]:
    """Bring a standing table to its contract; returns what was changed, nothing if it is there already.

    Safe to run beside a stream and by two processes: each attempt looks again. Raises `EvolutionError` if others kept
    winning, `ValueError` if the plan holds a refusal.
    """
    for _ in range(ATTEMPTS):
        table = catalog.load_table((namespace, contract.name))
        changes, refusals = plan_table(contract, observed(table, contract.name))
        if refusals:
            raise ValueError(f"{refusals[0].subject}: {refusals[0].reason}")
        try:
            if changes:
                _commit(table, contract, changes)
        except CommitFailedException:
            continue
        return changes
    raise EvolutionError(f"table {namespace}.{contract.name} changed {ATTEMPTS} times meanwhile; run it again")


def _commit(table: Table, contract: TableContract, changes: list[Change]) -> None:
    fields = {field.name: field for field in tables.iceberg_schema(contract).fields}
    with table.transaction() as transaction:
        with transaction.update_schema() as schema:
            for change in changes:
                if change.kind == "add_column":
                    schema.add_column(change.name, fields[change.name].field_type, doc=fields[change.name].doc)
                elif change.kind == "make_optional":
                    schema.update_column(change.name, required=False)
        transaction.set_properties({c.name: c.after for c in changes if c.kind == "set_property"})
