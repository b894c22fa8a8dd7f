"""SQL over the lake: one read-only DuckDB session, and views that are resolved anew for each statement.

Holds: the session and its locks, what a name shows, the translation of DuckDB's errors into ones that carry no data.
Does not hold: what a statement may say (`statement_guard.py`), the statements the house keeps (`named_queries.py`),
the views' own SELECTs (`views.py`), how an answer is shown (`infra/cli/sql.py`).

Three things keep a statement inside, each without trusting the others: the guard refuses all but one SELECT over the
views; the session reaches nothing but the warehouse's folder (no local file, no extension, no setting); and its
credential cannot write.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError, RESTError
from sqlalchemy.exc import SQLAlchemyError

from warehouse.catalog import open_catalog
from warehouse.consent.filters import (
    REGISTRY_TABLE,
    Purpose,
    consented_rows,
    decisions_sql,
    serves,
    streams_behind,
)
from warehouse.contract import load_contracts
from warehouse.lake_session import open_session, quoted
from warehouse.settings import Settings
from warehouse.statement_guard import StatementRefused, admit
from warehouse.tables import arrow_schema
from warehouse.views import View, views
from warehouse.vocabulary import CODES

SYSTEM_TIMES = ("ingest_time", "evaluated_at")
VOCABULARY = "codes"
BATCH_ROWS = 100_000
ANSWER_BYTES = 1 << 30

Parameters = Sequence[Any] | Mapping[str, Any]


class StatementFailed(RuntimeError):
    """An allowed statement did not run: a column it names is not there, a value does not fit its type."""


class LakeUnavailable(RuntimeError):
    """The catalog or the object store did not answer, or refused this session's credential."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave.

    Attributes:
        table: the rows; timestamps with a zone are in UTC.
        snapshots: the Iceberg snapshot id of each table read, None for a table nothing was committed to yet.
        elapsed_s: seconds from the statement's arrival to its last row.
    """

    table: pa.Table
    snapshots: dict[str, int | None]
    elapsed_s: float


class Analytics:
    """A read-only session. Several threads may call `query` at a time: each call has a cursor of its own."""

    def __init__(self, settings: Settings, whole: bool = False) -> None:
        """`whole`: answers of any size, for the program's own questions, which it cannot do without. A person's is
        bounded by `ANSWER_BYTES`."""
        self._settings = settings
        self._whole = whole
        self._contracts = load_contracts(own=settings.contracts)
        self._session = open_session(settings)
        self._parser = _parser()

    def __enter__(self) -> Analytics:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()
        self._parser.close()

    @cached_property
    def tables(self) -> dict[str, pa.Schema]:
        """Every table a statement may name, with its columns: those the contracts declare, the views over them, and
        the vocabulary."""
        declared = {contract.name: arrow_schema(contract) for contract in self._contracts.tables()}
        return {**declared, **{view.name: view.schema for view in self.views.values()}, VOCABULARY: vocabulary().schema}

    @cached_property
    def views(self) -> dict[str, View]:
        """Those of `tables` that are views over others."""
        return views(self._contracts)

    def query(
        self,
        sql: str,
        *,
        as_of: datetime | None = None,
        parameters: Parameters | None = None,
        purpose: Purpose | None = None,
        repeating: Sequence[str] = (),
    ) -> Answer:
        """Run one SELECT over the tables' current snapshots.

        `as_of` (with a zone) shows each table as it was known then: the rows whose system time is not after it.
        `parameters` fill `?` and `$1` (a sequence) or `$name` (a mapping). Ctrl-C ends the statement.
        `purpose` leaves only tables that serve it and, where it rests on consent, only rows of those who consent; what
        counts is consent as it is known now, whatever `as_of` says.
        `repeating` names columns of the answer with few values, which are held as dictionaries: of millions of rows
        they are most of the bytes.

        Raises `StatementRefused` (not allowed), `StatementFailed` (allowed, but does not run) or `LakeUnavailable`;
        none carries a value from the tables.
        """
        started = time.perf_counter()
        named = admit(self._serialised(sql), self.tables)
        if as_of is not None and as_of.tzinfo is None:
            raise ValueError("as_of needs a time zone")
        cursor = self._session.cursor()
        try:
            cursor.register(VOCABULARY, vocabulary())
            behind = self._tables_behind(named)
            snapshots = self._decide(cursor, behind, purpose) if purpose else {}
            snapshots |= {name: self._show(cursor, name, as_of, purpose) for name in behind}
            self._show_views(cursor, named)
            table = _run(cursor, sql, parameters, math.inf if self._whole else ANSWER_BYTES, repeating)
        finally:
            cursor.close()
        return Answer(table, snapshots, time.perf_counter() - started)

    @cached_property
    def _catalog(self) -> Catalog:
        path = urlsplit(self._settings.catalog_uri)
        if path.scheme == "sqlite" and not Path(path.path[1:]).exists():
            raise FileNotFoundError  # a question does not make the catalog it looks into
        return open_catalog(self._settings)

    def _serialised(self, sql: str) -> str:
        if "\0" in sql or any("\ud800" <= letter <= "\udfff" for letter in sql):
            raise StatementRefused("it holds a NUL or half a character")
        with self._parser.cursor() as cursor:
            query = "SELECT json_serialize_sql(?::VARCHAR, skip_default := true)"
            return cursor.execute(query, [sql]).fetchall()[0][0]

    def _tables_behind(self, named: frozenset[str]) -> list[str]:
        """The lake's tables that these names read, in order."""
        behind = {table for name in named & self.views.keys() for table in self.views[name].reads}
        return sorted((named | behind) - self.views.keys() - {VOCABULARY})

    def _show_views(self, cursor: duckdb.DuckDBPyConnection, named: frozenset[str]) -> None:
        for name in named & self.views.keys():
            with _translated():
                cursor.execute(f"CREATE TEMP VIEW {name} AS {self.views[name].select}")

    def _show(
        self, cursor: duckdb.DuckDBPyConnection, name: str, as_of: datetime | None, purpose: Purpose | None
    ) -> int | None:
        """Make table `name` a view of this cursor alone; returns the snapshot it shows."""
        condition = "" if as_of is None else f" WHERE {self._system_time(name)} <= {_literal(as_of)}"
        scan, snapshot = self._scan(name)
        if scan is None:
            cursor.register(name, self.tables[name].empty_table())
            return None
        select = f"FROM {scan}{condition}"
        if purpose is not None and purpose.rests_on_consent:
            contract = self._contracts.table(name)
            decisions = list(map(_decisions_on, streams_behind(self._contracts, contract)))
            time_column = self._contracts.stream(contract.stream).time.column
            select = consented_rows(f"({select})", time_column, decisions)
        with _translated():
            cursor.execute(f"CREATE TEMP VIEW {name} AS {select}")
        return snapshot

    def _scan(self, name: str) -> tuple[str | None, int | None]:
        """A lake's table as DuckDB reads it, and its snapshot; nothing where nobody made it yet."""
        try:
            table = self._catalog.load_table((self._settings.namespace, name))
        except NoSuchTableError:
            return None, None
        except (SQLAlchemyError, RESTError, OSError) as error:
            raise LakeUnavailable(_unavailable("catalog", type(error).__name__)) from None
        snapshot = table.current_snapshot()
        return f"iceberg_scan({quoted(table.metadata_location)})", snapshot.snapshot_id if snapshot else None

    def _decide(self, cursor: duckdb.DuckDBPyConnection, behind: list[str], purpose: Purpose) -> dict[str, int | None]:
        """Refuse tables that do not serve the purpose; where it rests on consent, bring in who consents to what these
        tables are made of. Returns the snapshot of the registry, if it was read."""
        contracts = [self._contracts.table(name) for name in behind]
        for table in contracts:
            if not serves(self._contracts, table, purpose):
                raise StatementRefused(
                    f"table {table.name} does not serve {purpose.name}, or cannot tell whose rows do"
                )
        if not purpose.rests_on_consent or not contracts:
            return {}
        scan, snapshot = self._scan(REGISTRY_TABLE)
        if scan is None:
            cursor.register(f"nothing in {REGISTRY_TABLE}", self.tables[REGISTRY_TABLE].empty_table())
            scan = f'"nothing in {REGISTRY_TABLE}"'
        streams = [topic.stream for topic in self._contracts.topics()]
        for stream in dict.fromkeys(s for table in contracts for s in streams_behind(self._contracts, table)):
            select = decisions_sql(scan, purpose.name, stream, streams, purpose.now)
            with _translated():
                cursor.execute(f'CREATE TEMP TABLE "{_decisions_on(stream)}" AS {select}')
        return {REGISTRY_TABLE: snapshot}

    def _system_time(self, name: str) -> str:
        for column in SYSTEM_TIMES:
            if column in self.tables[name].names:
                return column
        raise StatementRefused(f"table {name} keeps no system time, so it has no as-of; ask the table it is made from")


def _decisions_on(stream: str) -> str:
    """The name under which a session has what consent to a stream comes to: none that a statement may say."""
    return f"consent to {stream}"


def vocabulary() -> pa.Table:
    """The codes of observations: one row a code with its name, canonical unit, plausible range, source, the system it
    is from and the value sets it belongs to."""
    schema = pa.schema(
        {
            "code": pa.string(),
            "name": pa.string(),
            "unit": pa.string(),
            "low": pa.float64(),
            "high": pa.float64(),
            "source": pa.string(),
            "system": pa.string(),
            "value_sets": pa.list_(pa.string()),
        }
    )
    return pa.Table.from_pylist([{key: getattr(code, key) for key in schema.names} for code in CODES.values()], schema)


def is_whole_statement(text: str) -> bool:
    """Whether `text` ends with the `;` that ends a statement, and not with one in a literal or a comment."""
    whole = text.rstrip().encode()
    tokens = duckdb.tokenize(text)
    return whole.endswith(b";") and bool(tokens) and tokens[-1][0] == len(whole) - 1


def _parser() -> duckdb.DuckDBPyConnection:
    """A session that only parses: it holds no secret and no extension, and can open nothing."""
    closed = {"enable_external_access": "false", "autoload_known_extensions": "false", "lock_configuration": "true"}
    return duckdb.connect(":memory:", config={**closed, "threads": 1})


def _run(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Parameters | None,
    most_bytes: float,
    repeating: Sequence[str],
) -> pa.Table:
    """The answer, read as it comes: what a session hands out does not count towards its bound on memory."""
    with _translated(), _interruptible(cursor):
        reader = cursor.execute(sql, parameters).to_arrow_reader(BATCH_ROWS)
        batches, size = [_encoded(reader.schema.empty_table(), repeating)], 0
        for batch in reader:
            batches.append(_encoded(pa.Table.from_batches([batch]), repeating))
            size += batches[-1].nbytes
            if size > most_bytes:
                raise StatementFailed(f"its answer is larger than {ANSWER_BYTES >> 20} MiB; aggregate, or narrow it")
        return pa.concat_tables(batches).unify_dictionaries()


def _encoded(rows: pa.Table, repeating: Sequence[str]) -> pa.Table:
    for name in repeating:
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].dictionary_encode())
    return rows


@contextmanager
def _interruptible(cursor: duckdb.DuckDBPyConnection) -> Generator[None]:
    """Let Ctrl-C end the statement: DuckDB's own answer to the signal can leave the cursor waiting for ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = threading.Event()

    def stop(*_: object) -> None:
        pressed.set()
        cursor.interrupt()

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if pressed.is_set():
            raise KeyboardInterrupt from None


@contextmanager
def _translated() -> Generator[None]:
    """Turn DuckDB's errors, which print values, into ours, which do not.

    A failure past an answer's first batch comes as pyarrow's OSError with DuckDB's text.
    """
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise _told(str(error)) from None


_EXPLAINED = {
    "Conversion": "a value does not fit the type it is cast to; use try_cast",
    "Out of Range": "a number or time is out of its type's range; cast to a wider type",
    "Out of Memory": "it needs more memory than a session has; narrow it by time, ward or code, or raise "
    "WARDSTREAM_SQL_MEMORY_BYTES",
    "Invalid Input": "an argument or parameter is missing or does not fit",
}


def _told(text: str) -> StatementFailed | LakeUnavailable:
    """Names and types where the binder complains; otherwise the kind of failure alone, since its text holds values."""
    kind = text.partition(" Error:")[0]
    if kind in ("IO", "HTTP"):
        return LakeUnavailable(_refused(text) or _unavailable("object store", kind))
    if kind in ("Binder", "Catalog"):
        return StatementFailed(text.split("\n\nLINE", 1)[0].replace("\n", " "))
    shown = kind if kind.replace(" ", "").isalpha() and len(kind) < 30 else "unknown"
    return StatementFailed(_EXPLAINED.get(kind, f"it failed ({shown} error)"))


_REFUSALS = ("RequestTimeTooSkewed", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "AccessDenied")
"""S3's words for a store that answers, and says no."""


def _refused(text: str) -> str | None:
    """What to do where the store is well and does not let this session in; None where that is not so."""
    code = next((word for word in _REFUSALS if word in text), "403" if "403" in text else None)
    if code is None:
        return None
    if code == "RequestTimeTooSkewed":
        return f"the object store refuses this machine's requests ({code}): its clock is off; set it (NTP)"
    return (
        f"the object store refuses this session ({code}); look at WARDSTREAM_S3_READER_KEY and its secret, "
        "and at this machine's clock"
    )


def _unavailable(part: str, kind: str) -> str:
    return f"the {part} did not answer ({kind}); `wardstream status` shows what is up, `wardstream up` starts it"


def _literal(instant: datetime) -> str:
    return f"TIMESTAMPTZ {quoted(instant.astimezone(UTC).isoformat(sep=' '))}"
