"""The lists a sweep of unreferenced objects leaves in the store: what was marked, and what is about to be deleted.

Holds: their names and their form. They lie under the table's location and outlive the process that wrote them.
Does not hold: what is marked or deleted, and when (upkeep/sweep.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from pyiceberg.table import Table

from warehouse.object_store import SinglePutFileIO
from warehouse.staging import SWEEP


@dataclass(frozen=True, slots=True)
class Unreferenced:
    """An object that no snapshot named when it was looked at. `reason`: what it is, in words."""

    location: str
    size_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class SweepList:
    """Objects of one sweep. `at`: when they were found, by the store's own clock."""

    id: str
    at: datetime
    objects: tuple[Unreferenced, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all of them."""
        return sum(each.size_bytes for each in self.objects)

    def as_json(self) -> bytes:
        shown = {"id": self.id, "at": self.at.isoformat(), "objects": [asdict(each) for each in self.objects]}
        return json.dumps(shown).encode()

    @classmethod
    def from_json(cls, text: bytes) -> SweepList:
        """Raises `ValueError` for half of a list."""
        read = json.loads(text)
        objects = tuple(Unreferenced(**each) for each in read["objects"])
        return cls(read["id"], datetime.fromisoformat(read["at"]), objects)


def mark_location(table: Table) -> str:
    """Where the one list of marked objects lies."""
    return f"{table.location().rstrip('/')}/upkeep/marked.json"


def sweep_location(table: Table, sweep: str) -> str:
    """Where the list of what a sweep deletes lies, from before its fence until all of it is deleted."""
    return f"{table.location().rstrip('/')}/upkeep/sweep-{sweep}.json"


def read_list(store: SinglePutFileIO, location: str) -> SweepList | None:
    """The list at a location; None where there is none. Raises OSError, `ValueError`."""
    object_ = store.new_input(location)
    if not object_.exists():
        return None
    with object_.open() as stream:
        return SweepList.from_json(stream.read())


def condemned(table: Table) -> frozenset[str]:
    """What the sweep that the table names is deleting; empty once it has deleted all."""
    sweep = table.properties.get(SWEEP)
    if sweep is None:
        return frozenset()
    found = read_list(table.io, sweep_location(table, sweep))  # ty: ignore[invalid-argument-type]
    return frozenset(each.location for each in found.objects) if found else frozenset()
