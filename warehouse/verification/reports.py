"""What a process tells the one that waits for it: facts, no judgement.

Holds: the shapes, picklable and free of engines. Errors are told by their kind, never by their text.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has opened what it needs."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """`part` (`catalog` or `store`) did not answer as one that can be used; `error` is the kind."""

    part: str
    error: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A fresh load of the table: how many commits its head counts, and how many rows it has where that was read."""

    counter: int
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A load of the table, or a read of its rows, failed."""

    error: str


@dataclass(frozen=True, slots=True)
class Sending:
    """A commit is on its way from here on: made on snapshot `parent` (None: no snapshot yet)."""

    token: str
    parent: int | None
    counter: int


@dataclass(frozen=True, slots=True)
class Answered:
    """`outcome` is `acknowledged`, `refused` (a conflict) or `unknown`, then with the kind of error."""

    token: str
    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A commit could not be prepared, so nothing was sent to the catalog."""

    error: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A snapshot as the table's history shows it. `token` and `counter` are None where its summary lacks them."""

    snapshot_id: int
    parent: int | None
    token: str | None
    counter: int | None


@dataclass(frozen=True, slots=True)
class Contents:
    """A table as it stands: its head, every snapshot that is served, and the token of every row."""

    head: int | None
    snapshots: tuple[Commit, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Demanded:
    """A commit whose requirement cannot hold was sent: how it was answered, and whether the head moved."""

    requirement: str
    answer: Answered
    head_moved: bool


@dataclass(frozen=True, slots=True)
class Created:
    """A table was asked for. `uuid` as answered, None where the answer was `error`; `exists`: refused as existing."""

    table: str
    uuid: str | None
    exists: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The table that a name means now."""

    table: str
    uuid: str
    columns: tuple[str, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """A behaviour of the store: how often tried, how often wrong (and in what way), or why it could not be tried."""

    check: str
    tries: int
    wrong: int
    remark: str = ""
    untried: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that could not be removed."""

    what: str
