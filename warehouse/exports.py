"""Files with rows of people that left: who took them, when, for what and where to, and of whom they are.

Holds: the register's rows, whose rows an answer has, and what a file's state is.
Does not hold: the writing of a file (`infra/cli/sql.py`), nor what an erasure does with one (`erasure/exports.py`).

Of whom a file is stands in the register as marks, the very HMACs that requests for erasure are known by: whoever lacks
the vault's ledger key learns nobody from them, and an erasure has nothing to take out of the register itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pyiceberg.catalog import Catalog

from warehouse.catalog import TableMismatchError, load_table
from warehouse.commit import FencedTable
from warehouse.contract import Contracts
from warehouse.erasure.inventory import token_column
from warehouse.tables import arrow_schema

TABLE = "exports"
MADE, ASKED, DELETED, CONFIRMED = "made", "asked", "deleted", "confirmed"
MARK_BYTES = 32
_TOKEN = re.compile(r"(?<![a-z0-9])[a-z2-7]{26}(?![a-z0-9])")


class ExportError(ValueError):
    """A file that may not be written so, or that is not registered. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Act:
    """An act on a file; fields are the contract's columns, `snapshots` opened. Time aware."""

    export_id: str
    act: str
    at: datetime
    acted_by: str
    request_id: str = ""
    recipient: str = ""
    purpose: str = ""
    host: str = ""
    path: str = ""
    sha256: str = ""
    size_bytes: int = 0
    rows: int = 0
    snapshots: Mapping[str, int | None] | None = None
    people: bytes = b""
    named: bool = True
    reason: str = ""

    def has(self, marks: Collection[bytes]) -> bool:
        """Whether rows of one of these people are in the file, or may be."""
        own = {self.people[at : at + MARK_BYTES] for at in range(0, len(self.people), MARK_BYTES)}
        return not own.isdisjoint(marks)


@dataclass(frozen=True, slots=True)
class Export:
    """A file and what was done with it since, oldest first."""

    made: Act
    since: tuple[Act, ...]

    def is_over(self) -> bool:
        """Whether it is known to be gone."""
        return any(each.act in (DELETED, CONFIRMED) for each in self.since)


class Exports:
    """The register of one lake. `writer`: who commits; names no person."""

    def __init__(self, catalog: Catalog, namespace: str, contracts: Contracts, writer: str) -> None:
        self._catalog, self._namespace, self._writer = catalog, namespace, writer
        self._contract = contracts.table(TABLE)

    def all(self) -> list[Export]:
        """Every file, oldest first; none in a lake from before there was a register."""
        try:
            rows = load_table(self._catalog, self._namespace, TABLE).scan().to_arrow().to_pylist()
        except TableMismatchError:
            return []
        acts = sorted((Act(**_opened(row)) for row in rows), key=lambda act: act.at)
        found = {act.export_id: act for act in acts if act.act == MADE}
        return [
            Export(made, tuple(act for act in acts if act.export_id == name and act.act != MADE))
            for name, made in found.items()
        ]

    def tell(self, acts: Iterable[Act]) -> None:
        """Append acts. Raises `TableMismatchError` where the lake has no register yet."""
        rows = [asdict(act) | {"snapshots": json.dumps(dict(act.snapshots or {}), sort_keys=True)} for act in acts]
        if rows:
            load_table(self._catalog, self._namespace, TABLE)
            table = FencedTable(self._catalog, (self._namespace, TABLE), writer=self._writer)
            table.append_derived(pa.Table.from_pylist(rows, schema=arrow_schema(self._contract)), {})


def tokens_in(table: pa.Table) -> tuple[set[str], bool]:
    """The pseudonyms that stand in an answer, whatever its columns are called, alone or within a text; and whether each
    row has one: of a row that has none nobody can say whose it is."""
    found: set[str] = set()
    says_whose = np.zeros(table.num_rows, bool)
    for column in table.columns:
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind):
            continue
        texts = [str(value) for value in column.to_pylist()]
        by_value = {text: _TOKEN.findall(text) for text in set(texts)}
        found.update(token for tokens in by_value.values() for token in tokens)
        says_whose |= np.array([bool(by_value[text]) for text in texts], bool)
    return found, bool(says_whose.all())


def tables_of_people(contracts: Contracts, names: Iterable[str]) -> dict[str, str]:
    """Those of the tables that name people -> the column that does."""
    columns = {table.name: token_column(table) for table in contracts.tables()}
    return {name: column for name in names if (column := columns.get(name))}


def _opened(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "snapshots": json.loads(row["snapshots"])}
