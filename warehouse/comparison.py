"""A table as it is kept beside the same rows made again: equal or not, and if not, in which column and where.

Holds: digests of a day that no order of rows changes, and, only where they differ, the differences: rows that one side
lacks, positions that are there twice, columns by name; counts and a few positions, never a value.
Does not hold: how rows are made again (`pipelines/rebuild.py`, `assets/derive.py`), nor what is sealed
(`sealed_comparison.py`): nothing is sealed twice alike, so of that a digest would say nothing.

Rows of messages are told apart by their position, rows of derived tables by their primary key. Differences are looked
for in stretches of `WINDOW` positions, so that memory stays bounded whatever a day holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import duckdb
import pyarrow as pa

from warehouse.contract import TableContract
from warehouse.contract_model import UNKNOWN_FIELDS, UNKNOWN_SEALED_UNDER
from warehouse.days import Head, day_bounds
from warehouse.identity import RAW_COLUMN, REJECT_COLUMN
from warehouse.lake_session import quoted
from warehouse.offsets import Interval
from warehouse.tables import arrow_schema

WINDOW = 1 << 18
EXAMPLES = 3
PIECE_ROWS = 100_000
TOLERANCE = 1e-9
"""Two derived numbers are equal when they differ by less than this part of the greater: sums depend on their order."""

POSITION = ("topic_id", "kafka_partition", "kafka_offset")
SEALS: Mapping[str, str] = {
    REJECT_COLUMN: "sealed_under",
    RAW_COLUMN: "sealed_under",
    UNKNOWN_FIELDS: UNKNOWN_SEALED_UNDER,
}
"""Sealed column -> the column that says whose key seals it."""

MISSING, EXTRA, DOUBLED, COLUMN = "missing", "extra", "doubled", "column"
_DUPLICATES = "duplicates"
_POSITIONS = pa.schema([("topic_id", pa.string()), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())])

Example = tuple[str, int, int]
"""topic id, partition, offset"""
Days = Sequence[date] | None
"""The days that are asked for; None: whatever lies in the stretches that are looked at."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows of one day that differ in one way.

    Attributes:
        day: None for rows without a day.
        kind: `missing` (made again, not in the table), `extra` (in the table, not made again), `doubled` (there more
            than once), `column` (a value differs).
        column: which, of kind `column`.
        instead: of `missing` the table that keeps the position, of `extra` the one that it is made again for; None:
            none of those compared.
        examples: a few positions; none of derived rows, whose keys may name people.
    """

    day: date | None
    kind: str
    rows: int
    column: str | None = None
    instead: str | None = None
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class TableComparison:
    """One table's rows on both sides. `differences` is empty exactly where they are equal.

    Attributes:
        kept, rebuilt: rows of each day.
        past_horizon: positions that the replay makes rows of and the table's duplicates have: their event stands
            earlier than the memory reaches, and compaction found it. Told, and no difference.
        moved: rows missing at one position whose event stands at another, where there is none made again.
        unopened: sealed values whose key was destroyed; they were not compared.
    """

    table: str
    kept: Mapping[date | None, int]
    rebuilt: Mapping[date | None, int]
    differences: tuple[Difference, ...]
    past_horizon: int = 0
    moved: int = 0
    unopened: int = 0

    @property
    def equal(self) -> bool:
        return not self.differences

    def also(self, differences: Iterable[Difference], unopened: int, past_horizon: int) -> TableComparison:
        """The same with what was found in other ways."""
        found = summed([*self.differences, *differences])
        return replace(self, differences=found, unopened=unopened, past_horizon=past_horizon)


Digest = tuple[int, int, int]
"""rows, sum of their hashes, exclusive or of their hashes"""
Place = tuple[str, int, int]
"""topic id, partition, number of the window"""


class Comparison:
    """Both sides of some tables over stretches of positions, as views of one session.

    Args:
        session: from `open_session`; its views are named after the tables.
        spans: the positions that were made again. What lies outside them is not looked at.
        hidden: positions within them that could not be made again: topic_id, kafka_partition, kafka_offset.
    """

    def __init__(self, session: duckdb.DuckDBPyConnection, spans: Iterable[Interval], hidden: pa.Table) -> None:
        self.session, self.spans = session, list(spans)
        self.tables: dict[str, TableContract] = {}
        self._views: dict[str, str] = {}
        session.register("replayed_spans", _spans(self.spans))
        session.register("replayed_hidden", hidden)

    def add(self, table: TableContract, head: Head | None, rebuilt: Sequence[str]) -> None:
        """Take in a table: its rows at `head` (None: it has no snapshot) and the files of those made again."""
        name = table.name
        self.session.register(f"none_of_{name}", arrow_schema(table).empty_table())
        whole = f"iceberg_scan({quoted(head.metadata_location)})" if head else f"none_of_{name}"
        files = f"[{', '.join(map(quoted, rebuilt))}]"
        # Its folders are named after days; they are no columns.
        made = f"read_parquet({files}, hive_partitioning = false)" if rebuilt else f"none_of_{name}"
        self._show(f"whole_{name}", f"SELECT * FROM {whole}")
        self._show(f"kept_{name}", self._replayed(whole))
        self._show(f"rebuilt_{name}", f"SELECT * FROM {made}")
        self.tables[name] = table

    def _show(self, view: str, select: str) -> None:
        self._views[view] = select
        self.session.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS {select}")

    def compare(self, name: str, days: Days, event: str | None = None) -> TableComparison:
        """One of the tables added, on `days`. The others added share its account of positions.

        `event`: the column that names the event of a row.
        """
        account = [other for other, table in self.tables.items() if RAW_COLUMN not in table.names]
        others = [other for other in account if other != name] if name in account else []
        return _PositionedTable(self.session, self.tables[name], others, event).compared(days)

    def excuse(self, name: str, event: str) -> int:
        """Leave out of both sides, before anything is compared, the positions of which the replay makes rows of `name`
        and the duplicates rightly have: the table has the same event (column `event`) at the first offset named there,
        earlier than the memory reaches. How many they are."""
        run, place = self.session.execute, ", ".join(POSITION)
        run(
            f"""CREATE OR REPLACE TEMP TABLE again AS
                SELECT {", ".join(f"r.{one}" for one in POSITION)}, d.first_offset, r."{event}" AS event
                FROM rebuilt_{name} r JOIN kept_{_DUPLICATES} d USING ({place})
                ANTI JOIN kept_{name} k USING ({place})"""
        )
        least, most = run(
            "SELECT coalesce(min(first_offset), 0), coalesce(max(first_offset), -1) FROM again"
        ).fetchall()[0]
        run(
            f"""CREATE OR REPLACE TEMP TABLE past_horizon AS
                SELECT {", ".join(f"a.{one}" for one in POSITION)} FROM again a SEMI JOIN
                    (SELECT * FROM whole_{name} WHERE kafka_offset >= {least} AND kafka_offset <= {most}) w
                ON w.topic_id = a.topic_id AND w.kafka_partition = a.kafka_partition
                    AND w.kafka_offset = a.first_offset AND w."{event}" = a.event"""
        )
        count = run("SELECT count(*) FROM past_horizon").fetchall()[0][0]
        for view in (f"rebuilt_{name}", f"kept_{_DUPLICATES}") if count else ():
            self._show(view, f"SELECT v.* FROM ({self._views[view]}) v ANTI JOIN past_horizon p USING ({place})")
        return count

    def rows_to_swap(self, name: str, days: Sequence[date]) -> Iterator[pa.Table]:
        """The rows made again on `days`, what was excused left out, in pieces."""
        table = self.tables[name]
        assert table.partitioning is not None, "a table that topics feed has days"
        column = f'"{table.partitioning.column}"'
        reader = self.session.execute(f"SELECT * FROM rebuilt_{name} WHERE {on_days(column, days)}").to_arrow_reader(
            PIECE_ROWS
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])

    def astray(self, name: str, days: Sequence[date]) -> int:
        """Positions that lie on `days` on one side and on another day on the other."""
        table = self.tables[name]
        assert table.partitioning is not None, "a table that topics feed has days"
        column = f'"{table.partitioning.column}"'
        statement = f"""SELECT count(*) FROM kept_{name} k JOIN rebuilt_{name} r USING ({", ".join(POSITION)})
            WHERE {on_days(f"k.{column}", days)} <> {on_days(f"r.{column}", days)}"""
        return self.session.execute(statement).fetchall()[0][0]

    def _replayed(self, scan: str) -> str:
        """The rows of a table at positions that were made again."""
        least = min((span.start for span in self.spans), default=0)
        past = max((span.end for span in self.spans), default=0)
        return f"""
            SELECT t.* FROM {scan} t
            SEMI JOIN replayed_spans s ON t.topic_id = s.topic_id AND t.kafka_partition = s.kafka_partition
                AND t.kafka_offset >= s.first AND t.kafka_offset < s.past
            ANTI JOIN replayed_hidden h ON t.topic_id = h.topic_id AND t.kafka_partition = h.kafka_partition
                AND t.kafka_offset = h.kafka_offset
            WHERE t.kafka_offset >= {least} AND t.kafka_offset < {past}"""


def no_positions() -> pa.Table:
    """No position at all, as `Comparison` takes hidden ones."""
    return _POSITIONS.empty_table()


def _spans(spans: Sequence[Interval]) -> pa.Table:
    kinds = {"topic_id": pa.string(), "kafka_partition": pa.int32(), "first": pa.int64(), "past": pa.int64()}
    rows = [(span.topic_id, span.partition, span.start, span.end) for span in spans]
    return pa.Table.from_pylist([dict(zip(kinds, row, strict=True)) for row in rows], pa.schema(kinds))


class _PositionedTable:
    """Digests and differences of one table of rows with positions."""

    def __init__(
        self, session: duckdb.DuckDBPyConnection, table: TableContract, others: Sequence[str], event: str | None
    ) -> None:
        assert table.partitioning is not None, "a table that topics feed has days"
        self._session, self._name, self._others, self._event = session, table.name, others, event
        self._rows = _Rows(session, table.partitioning.column, compared_columns(table), POSITION)

    def compared(self, days: Days) -> TableComparison:
        kept, rebuilt = self._digests(f"kept_{self._name}", days), self._digests(f"rebuilt_{self._name}", days)
        places = sorted({at[1:] for at in kept.keys() | rebuilt.keys() if kept.get(at) != rebuilt.get(at)})
        differences: list[Difference] = []
        for place in places:
            self._open(place)
            differences += self._rows.differences(days)
        kinds = {difference.kind for difference in differences}
        moved = self._moved(days) if {MISSING, EXTRA} <= kinds else 0
        return TableComparison(self._name, by_day(kept), by_day(rebuilt), summed(differences), moved=moved)

    def _digests(self, view: str, days: Days) -> dict[tuple[date | None, str, int, int], Digest]:
        """(day, topic id, partition, window) -> digest."""
        found = self._session.execute(
            f"""SELECT {self._rows.day("")} AS day, topic_id, kafka_partition, kafka_offset // {WINDOW} AS place,
                       count(*), sum(h), bit_xor(h)
                FROM (SELECT *, {self._rows.hashed()} AS h FROM {view}) WHERE {self._rows.on("", days)} GROUP BY ALL"""
        ).fetchall()
        return {(_date(row[0]), *row[1:4]): row[4:] for row in found}

    def _open(self, place: Place) -> None:
        """Both sides of one window: `kept`, `rebuilt`, and where else a position is (`kept_else`, `rebuilt_else`)."""
        topic, partition, number = place
        within = (
            f"topic_id = {quoted(topic)} AND kafka_partition = {int(partition)} "
            f"AND kafka_offset >= {int(number) * WINDOW} AND kafka_offset < {(int(number) + 1) * WINDOW}"
        )
        columns = ", ".join(f'"{name}"' for name in self._rows.needed)
        for side in ("kept", "rebuilt"):
            self._session.execute(
                f"CREATE OR REPLACE TEMP TABLE {side} AS SELECT {columns} FROM {side}_{self._name} WHERE {within}"
            )
            parts = [
                f"SELECT {', '.join(POSITION)}, {quoted(other)} AS place FROM {side}_{other} WHERE {within}"
                for other in self._others
            ] or [f"SELECT {', '.join(POSITION)}, '' AS place FROM kept WHERE false"]
            self._session.execute(
                f"CREATE OR REPLACE TEMP TABLE {side}_else AS SELECT {', '.join(POSITION)}, min(place) AS place "
                f"FROM ({' UNION ALL '.join(parts)}) GROUP BY {', '.join(POSITION)}"
            )

    def _moved(self, days: Days) -> int:
        """Events made again at a position where the table lacks them, and kept by it where none is made again."""
        if self._event is None:
            return 0
        using = f"USING ({', '.join(POSITION)})"
        lacking, left = (
            f'SELECT "{self._event}" AS event FROM {one}_{self._name} a ANTI JOIN {two}_{self._name} b {using} '
            f"WHERE {self._rows.on('a.', days)}"
            for one, two in (("rebuilt", "kept"), ("kept", "rebuilt"))
        )
        both = f"SELECT count(*) FROM ({lacking}) SEMI JOIN ({left}) USING (event)"
        return self._session.execute(both).fetchall()[0][0]


class _Rows:
    """What a session's `kept` and `rebuilt` have against each other; `kept_else` and `rebuilt_else` say where else a
    key is. Differences of floating numbers below `tolerance` (part of the greater) are none."""

    def __init__(
        self,
        session: duckdb.DuckDBPyConnection,
        time: str,
        columns: Sequence[str],
        key: Sequence[str],
        floats: frozenset[str] = frozenset(),
    ) -> None:
        self._session, self._time, self._columns, self._key, self._floats = session, time, columns, key, floats

    @property
    def needed(self) -> list[str]:
        """All columns that are looked at."""
        return list(dict.fromkeys([*self._key, *self._columns, self._time]))

    def day(self, side: str) -> str:
        return f"date_trunc('day', {side}\"{self._time}\")"

    def on(self, side: str, days: Days) -> str:
        return "true" if days is None else on_days(f'{side}"{self._time}"', days)

    def hashed(self) -> str:
        return f"hash({', '.join(_named('', name) for name in (*self._key, *self._columns))})"

    def differences(self, days: Days) -> list[Difference]:
        """Of what the session holds now, where either side lies on `days`."""
        key = ", ".join(f'"{name}"' for name in self._key)
        self._session.execute(
            f"""CREATE OR REPLACE TEMP TABLE doubled AS
                SELECT {key}, any_value("{self._time}") AS "{self._time}", count(*) AS times
                FROM kept GROUP BY {key} HAVING count(*) > 1"""
        )
        self._session.execute(f"CREATE OR REPLACE TEMP VIEW k AS SELECT DISTINCT ON ({key}) *, true AS here FROM kept")
        self._session.execute("CREATE OR REPLACE TEMP VIEW r AS SELECT *, true AS here FROM rebuilt")
        one_sided = [*self._one_sided(days, MISSING), *self._one_sided(days, EXTRA)]
        return [*one_sided, *self._doubled(days), *self._by_column(days)]

    def _one_sided(self, days: Days, kind: str) -> list[Difference]:
        """Rows that one side lacks, by day and by where the other has their position instead."""
        one, two, elsewhere = ("r", "k", "kept_else") if kind == MISSING else ("k", "r", "rebuilt_else")
        found = self._session.execute(
            f"""SELECT {self.day("a.")} AS day, e.place, count(*), {self._examples("a.")}
                FROM {one} a ANTI JOIN {two} b ON {self._same("a", "b")}
                    LEFT JOIN {elsewhere} e ON {self._same("a", "e")}
                WHERE {self.on("a.", days)} GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
        return [Difference(_date(day), kind, n, instead=place, examples=_examples(at)) for day, place, n, at in found]

    def _doubled(self, days: Days) -> list[Difference]:
        found = self._session.execute(
            f"""SELECT {self.day("d.")} AS day, sum(times - 1)::BIGINT, {self._examples("d.")}
                FROM doubled d WHERE {self.on("d.", days)} GROUP BY ALL"""
        ).fetchall()
        return [Difference(_date(day), DOUBLED, n, examples=_examples(at)) for day, n, at in found]

    def _by_column(self, days: Days) -> list[Difference]:
        if not self._columns:
            return []
        counts = ", ".join(
            f"count(*) FILTER ({self._differs(name)}), {self._examples('r.', self._differs(name))}"
            for name in self._columns
        )
        day = f"CASE WHEN {self.on('r.', days)} THEN {self.day('r.')} ELSE {self.day('k.')} END"
        found = self._session.execute(
            f"SELECT {day} AS day, {counts} FROM r JOIN k ON {self._same('r', 'k')} "
            f"WHERE {self.on('r.', days)} OR {self.on('k.', days)} GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        return [
            Difference(_date(row[0]), COLUMN, row[1 + 2 * at], name, examples=_examples(row[2 + 2 * at]))
            for row in found
            for at, name in enumerate(self._columns)
            if row[1 + 2 * at]
        ]

    def _same(self, one: str, two: str) -> str:
        """That two rows are of one key; a key of a derived table may hold nulls."""
        return " AND ".join(f'{one}."{name}" IS NOT DISTINCT FROM {two}."{name}"' for name in self._key)

    def _differs(self, name: str) -> str:
        one, two = _named("r.", name), _named("k.", name)
        if name not in self._floats:
            return f"{one} IS DISTINCT FROM {two}"
        near = f"abs({one} - {two}) <= {TOLERANCE} * greatest(abs({one}), abs({two}))"
        return f"{one} IS DISTINCT FROM {two} AND NOT coalesce({near}, false)"

    def _examples(self, side: str, condition: str = "true") -> str:
        """A few positions, the first ones; nothing of a key that is none."""
        if tuple(self._key) != POSITION:
            return "NULL"
        place = ", ".join(f"{side}{name}" for name in POSITION)
        return f"min(row({place}), {EXAMPLES}) FILTER ({condition})"


def compare_derived(
    session: duckdb.DuckDBPyConnection, table: TableContract, day: date, kept: pa.Table, rebuilt: pa.Table
) -> TableComparison:
    """A day of a derived table beside the same day made again: rows in the table's columns."""
    assert table.partitioning is not None, "a derived table has days"
    columns = [name for name in compared_columns(table) if name not in table.primary_key]
    floats = frozenset(column.name for column in table.columns if column.iceberg == "double")
    session.register("derived_kept", kept)
    session.register("derived_rebuilt", rebuilt)
    for side in ("kept", "rebuilt"):
        session.execute(f"CREATE OR REPLACE TEMP TABLE {side} AS SELECT * FROM derived_{side}")
        session.execute(f"CREATE OR REPLACE TEMP TABLE {side}_else AS SELECT *, NULL AS place FROM {side} WHERE false")
    rows = _Rows(session, table.partitioning.column, columns, table.primary_key, floats)
    return TableComparison(table.name, {day: kept.num_rows}, {day: rebuilt.num_rows}, summed(rows.differences(None)))


def compared_columns(table: TableContract) -> list[str]:
    """The columns that are compared by value: all but the position, those that the contract leaves out, and what is
    sealed (`SEALS`) with the name of its key."""
    sealed = {column.name for column in table.columns if column.protection == "sealed"}
    unders = {SEALS[name] for name in sealed if name in SEALS}
    skipped = {*POSITION, *table.left_out, *sealed, *unders}
    return [column.name for column in table.columns if column.name not in skipped]


def on_days(column: str, days: Sequence[date]) -> str:
    """An SQL condition: whether the column's time lies on one of the days (UTC)."""
    spans: list[tuple[datetime, datetime]] = []
    for first, past in map(day_bounds, sorted(set(days))):
        if spans and spans[-1][1] == first:
            spans[-1] = (spans[-1][0], past)
        else:
            spans.append((first, past))
    parts = [f"({column} >= {_moment(first)} AND {column} < {_moment(past)})" for first, past in spans]
    return f"({' OR '.join(parts)})" if parts else "false"


def _moment(at: datetime) -> str:
    return f"TIMESTAMPTZ '{at.isoformat(sep=' ')}'"


def by_day(digests: Mapping[tuple[date | None, str, int, int], Digest]) -> dict[date | None, int]:
    """Rows of each day."""
    rows: dict[date | None, int] = {}
    for (day, *_), digest in digests.items():
        rows[day] = rows.get(day, 0) + digest[0]
    return rows


def summed(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """Differences of one day and kind as one, in order."""
    found: dict[tuple[str, str, str, str], Difference] = {}
    for each in differences:
        key = (str(each.day or ""), each.kind, each.column or "", each.instead or "")
        before = found.get(key)
        if before is not None:
            each = replace(each, rows=before.rows + each.rows, examples=(*before.examples, *each.examples)[:EXAMPLES])
        found[key] = each
    return tuple(found[key] for key in sorted(found))


def _named(side: str, name: str) -> str:
    return f'{side}"{name}"'


def _date(value: object) -> date | None:
    return value.date() if isinstance(value, datetime) else value  # ty: ignore[invalid-explicit-return]


def _examples(found: Iterable[Sequence[object] | Mapping[str, object]] | None) -> tuple[Example, ...]:
    rows = (tuple(each.values()) if isinstance(each, Mapping) else tuple(each) for each in found or ())
    return tuple((str(topic), int(partition), int(offset)) for topic, partition, offset in rows)  # ty: ignore
