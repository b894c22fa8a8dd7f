"""What stands in the catalog when an erasure looks: tables with their columns, and how far each has read its topics.

Does not hold: what is made of it (inventory.py says who holds people, run.py when a step has to wait).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from warehouse.commit import FencedTable
from warehouse.offsets import Vector

if TYPE_CHECKING:
    from warehouse.erasure.run import Erasure


class Reading(Protocol):
    """How far topics are written, and how far tables have read them."""

    def ends(self) -> Mapping[str, Mapping[int, int]]:
        """topic id -> partition -> next offset of every topic that names people."""
        ...

    def behind(self, ends: Mapping[str, Mapping[int, int]]) -> list[str]:
        """What has not been read up to there, in words; empty where all has."""
        ...


class NoTopics:
    """Where there is no broker."""

    def ends(self) -> Mapping[str, Mapping[int, int]]:
        return {}

    def behind(self, ends: Mapping[str, Mapping[int, int]]) -> list[str]:
        return []


def columns_standing(erasure: Erasure) -> dict[str, list[str]]:
    """Table -> its columns, of every table that the catalog has in our namespace, contract or not."""
    namespace = erasure.settings.namespace
    names = [identifier[-1] for identifier in erasure.catalog.list_tables(namespace)]
    return {name: list(erasure.catalog.load_table((namespace, name)).schema().column_names) for name in names}


def vectors_standing(erasure: Erasure, only: str = "") -> dict[str, tuple[tuple[str, ...], Vector]]:
    """Table -> the streams it is fed by, and how far it has read them. `only`: of this table."""
    namespace = erasure.settings.namespace
    return {
        table.name: (table.fed_by, FencedTable(erasure.catalog, (namespace, table.name), writer=erasure.who).vector())
        for table in erasure.contracts.tables()
        if table.fed_by and only in ("", table.name)
    }
