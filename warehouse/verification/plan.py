"""What is examined, and how much of it.

Holds: the subject and the bounds. Does not hold: any check.
"""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.settings import Settings

NAMESPACE = "wardstream_verify_"
"""Every namespace of a verification begins so; only what lies in its own is ever removed."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A catalog and its store, the namespace to work in, and the functions (`module:function`) that open the two.

    The functions take `Settings` and are named rather than given, so that only processes that use them load them.
    """

    settings: Settings
    namespace: str
    open_catalog: str = "warehouse.catalog:open_catalog"
    open_store: str = "warehouse.verification.store_jobs:open_store"

    def identifier(self, table: str) -> tuple[str, str]:
        """The table's name in the catalog."""
        return self.namespace, table


@dataclass(frozen=True, slots=True)
class Plan:
    """Bounds. `commits`: acknowledged ones that end the race; `seconds`: for all checks, from the first answer on."""

    writers: int = 4
    commits: int = 40
    seconds: float = 120.0
    meetings: int = 8
    """How many times all writers send at the same moment a commit on the same head; the rest they race freely."""
    created_names: int = 5
    killed_writers: int = 6
    deaf_writers: int = 2
    """Writers that send a commit and never look at the answer."""
    objects: int = 16
    racing_puts: int = 8
    only: frozenset[str] = frozenset()
    """Names of the checks that are asked for, with those that are seen by the way; none: all."""
