"""What processes of one deployment tell each other: who reads which partition, and how far alerts are decided.

Holds: two small tables in an SQL database, and the few statements on them. A lease changes hands by compare-and-swap.
Does not hold: when a lease counts as lapsed and who should take it (pipelines/ownership.py); anything the truth of a
table depends on, for that is the fence's matter: two processes that both believe they own a partition do no harm.

No clock stands in the tables. An owner counts its beats, and who watches judges by its own clock how long a count has
stood still: clocks of several hosts, or one set back by an hour, mean nothing here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import BigInteger, Boolean, Column, Connection, Integer, MetaData, String, Table, create_engine
from sqlalchemy import select as rows_of
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from warehouse.dialects import load_dialect
from warehouse.settings import Settings

NOBODY = ""
"""The owner of a lease that was released."""

_WAIT_SECONDS = 3
_TABLES = MetaData()
_LEASES = Table(
    "wardstream_leases",
    _TABLES,
    Column("scope", String(200), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("owner", String(400), nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("at_home", Boolean, nullable=False),
)
_ALERT_POSITIONS = Table(
    "wardstream_alert_positions",
    _TABLES,
    Column("scope", String(200), primary_key=True),
    Column("topic_id", String(100), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)


class CoordinationUnavailableError(Exception):
    """The database does not answer now. Nobody has to wait for it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who reads a partition. `beat` rises while the owner lives; `at_home` is false for who stands in for another."""

    owner: str
    beat: int
    at_home: bool


class Coordination:
    """Leases and alert positions of one deployment. Safe for several threads; every method is one transaction.

    Args:
        uri: SQLAlchemy's. scope: what tells deployments in one database apart. owner: this process, the same again
            after a restart, so that it finds its leases its own.

    Every method raises `CoordinationUnavailableError`.
    """

    def __init__(self, uri: str, scope: str, owner: str) -> None:
        self.owner, self._scope = owner, scope
        self._sqlite = _sqlite_path(uri)
        patience = {"timeout": _WAIT_SECONDS} if self._sqlite else {"connect_timeout": _WAIT_SECONDS}
        load_dialect(uri)
        self._engine = create_engine(uri, connect_args=patience, pool_pre_ping=True)
        self._is_ready = False

    def leases(self) -> dict[int, Lease]:
        """Every lease by partition."""
        with self._answering() as database:
            found = database.execute(rows_of(_LEASES).where(_LEASES.c.scope == self._scope)).mappings()
            return {row["partition"]: Lease(row["owner"], row["beat"], bool(row["at_home"])) for row in found}

    def claim(self, partition: int, seen: Lease | None, at_home: bool) -> bool:
        """Take a partition whose lease is still as it was seen (None: has none). Whether that succeeded."""
        mine = {"owner": self.owner, "beat": (seen.beat if seen else 0) + 1, "at_home": at_home}
        with self._answering() as database:
            if seen is None:
                return _inserted(database, {"scope": self._scope, "partition": partition, **mine})
            unchanged = (_LEASES.c.owner == seen.owner) & (_LEASES.c.beat == seen.beat)
            changed = database.execute(_LEASES.update().where(self._at(partition) & unchanged).values(**mine))
            return changed.rowcount == 1

    def beat(self) -> None:
        """Show that the owner lives, on every lease it has."""
        with self._answering() as database:
            database.execute(_LEASES.update().where(self._mine()).values(beat=_LEASES.c.beat + 1))

    def release(self) -> None:
        """Let go of every lease, on an orderly end."""
        with self._answering() as database:
            database.execute(_LEASES.update().where(self._mine()).values(owner=NOBODY, beat=_LEASES.c.beat + 1))

    def alert_positions(self, topic_id: str) -> dict[int, int]:
        """partition -> the offset up to which every alert is on its topic, where a process recorded one."""
        table = _ALERT_POSITIONS
        with self._answering() as database:
            here = (table.c.scope == self._scope) & (table.c.topic_id == topic_id)
            found = database.execute(rows_of(table).where(here)).mappings()
            return {row["partition"]: row["next_offset"] for row in found}

    def record_alert_positions(self, positions: Mapping[tuple[str, int], int]) -> None:
        """(topic id, partition) -> offset: every alert of what lies below has been acknowledged by the broker."""
        with self._answering() as database:
            for (topic_id, partition), offset in positions.items():
                self._record(database, topic_id, partition, offset)

    def _record(self, database: Connection, topic_id: str, partition: int, offset: int) -> None:
        table = _ALERT_POSITIONS
        at = (table.c.scope == self._scope) & (table.c.topic_id == topic_id) & (table.c.partition == partition)
        if not database.execute(table.update().where(at).values(next_offset=offset)).rowcount:
            key = {"scope": self._scope, "topic_id": topic_id, "partition": partition}
            database.execute(table.insert().values(**key, next_offset=offset))

    def _mine(self):
        return (_LEASES.c.scope == self._scope) & (_LEASES.c.owner == self.owner)

    def _at(self, partition: int):
        return (_LEASES.c.scope == self._scope) & (_LEASES.c.partition == partition)

    @contextmanager
    def _answering(self) -> Generator[Connection, None, None]:
        try:
            self._prepare()
            with self._engine.begin() as database:
                yield database
        except (SQLAlchemyError, OSError) as error:
            raise CoordinationUnavailableError(f"the coordination database: {type(error).__name__}") from error

    def _prepare(self) -> None:
        if self._is_ready:
            return
        if self._sqlite:
            self._sqlite.parent.mkdir(parents=True, exist_ok=True)
        _TABLES.create_all(self._engine)
        self._is_ready = True


def coordination_uri(settings: Settings) -> str:
    """The configured database, or else the catalog's; beside a SQLite catalog a file of its own, since SQLite lets only
    one write at a time."""
    if settings.coordination_uri:
        return settings.coordination_uri
    catalog = _sqlite_path(settings.catalog_uri)
    if catalog:
        return f"sqlite:///{catalog.with_name('coordination.sqlite')}"
    if urlsplit(settings.catalog_uri).scheme.startswith("postgresql"):
        return settings.catalog_uri
    return f"sqlite:///{settings.home / 'catalog' / 'coordination.sqlite'}"


def coordination_scope(settings: Settings) -> str:
    """Who reads other topics or writes other tables has nothing to share."""
    return f"{settings.topic_prefix}:{settings.namespace}:{settings.branches}"


def _inserted(database: Connection, row: dict[str, object]) -> bool:
    try:
        with database.begin_nested():
            database.execute(_LEASES.insert().values(**row))
    except IntegrityError:
        return False
    return True


def _sqlite_path(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(parts.path[1:]) if parts.scheme == "sqlite" else None
