"""A table's contract, read as a suite of expectations.

Holds: which expectations follow from a contract and the vocabulary, their names, and the suite's version.
Does not hold: Great Expectations itself (its import takes seconds; `validate.py` loads it when a day is judged), nor
any rule that no contract or vocabulary states. An `Expectation` is plain data: a GX type, its arguments and the rows
it speaks of.

What follows from a contract blocks or warns as listed in `DERIVED_WARNINGS`; a contract that wants it otherwise names
the expectation among its `quality` rules with the implementation type `derived` and the severity it wants.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any

from expectations.measures import (
    APPEND_STEP,
    INGEST_SECONDS,
    VERSION_STEP,
    WAVE_COUNT,
    WAVE_GREATEST,
    WAVE_LEAST,
    Measure,
    measures_of,
)
from warehouse.contract import TableContract
from warehouse.vocabulary import CODES, DOSE_UNITS, ObservationCode

POSITION = ("topic_id", "kafka_partition", "kafka_offset")
WORD = re.compile(r"[A-Za-z_]\w*")
UNFLAGGED = ("quality_flag",)
SCHEMA = "columns_match_the_contract"

ROWS, HOURS, POSITIONS, AGE = "rows", "hours", "positions", "age"
"""What an expectation may speak of: rows of the day; its hours beside other days'; the source's positions; the age of
the newest row."""

DERIVED = "derived"
"""The implementation type by which a contract gives an expectation derived here another severity."""

DERIVED_WARNINGS = frozenset(
    {"kafka_time_rises", "versions_rise", "volume_as_usual", "soon_in_the_lake", "newest_is_recent"},
)
"""`kafka_time_rises`: a broker's clock may be set back; what the rows say is right all the same."""

STALE_AFTER = {
    "clinical": timedelta(minutes=5),
    "operational": timedelta(hours=2),
    "analytical": timedelta(hours=26),
}
"""How old a table's newest row may be, by latency class, before it counts as stale."""

SOON_AFTER = {
    "clinical": timedelta(seconds=10),
    "operational": timedelta(minutes=5),
    "analytical": timedelta(hours=2),
}
"""How long after Kafka's append ninety-nine rows in a hundred should be on their way into the lake."""

USUAL_SHARE = (0.2, 5.0)
"""An hour with less or more than this share of the same hour's median of other days is unusual. Ours: a ward that
empties at night or fills on a Monday stays within, a feed that stands still or sends everything again does not."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows an expectation speaks of: those of `code`, if given, in which every column of `null` is null and every
    one of `given` is not."""

    code: str | None = None
    null: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that must hold, or, if not `blocking`, should.

    `name` is unique in its suite and stands in verdicts; `arguments` are GX's; `of`: what it speaks of.
    """

    name: str
    type: str
    arguments: Mapping[str, Any]
    rows: Rows | None = None
    blocking: bool = True
    of: str = ROWS

    @property
    def columns(self) -> set[str]:
        """The columns it is about."""
        single = (self.arguments[key] for key in ("column", "column_A", "column_B") if key in self.arguments)
        conditional = (*_code_column(self.rows), *self.rows.null, *self.rows.given) if self.rows else ()
        return {*single, *self.arguments.get("column_list", ()), *conditional}

    @property
    def words(self) -> set[str]:
        """The columns it is about and the words of a contract's own row condition, columns among them."""
        return self.columns | set(WORD.findall(self.arguments.get("row_condition", "")))


def _code_column(rows: Rows) -> tuple[str, ...]:
    return () if rows.code is None else ("code",)


@dataclass(frozen=True, slots=True)
class Suite:
    """All expectations of a table. `schema` maps column to Iceberg type, `measures` names what can be computed of a
    day; `version` changes when any expectation or column does."""

    table: str
    schema: Mapping[str, str]
    expectations: tuple[Expectation, ...]
    measures: Mapping[str, Measure] = field(default_factory=dict, compare=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        content = json.dumps(
            [self.table, dict(self.schema), [asdict(each) for each in self.expectations]], sort_keys=True
        )
        object.__setattr__(self, "version", hashlib.sha256(content.encode()).hexdigest()[:12])

    def of(self, *kinds: str) -> list[Expectation]:
        """The expectations that speak of these."""
        return [each for each in self.expectations if each.of in kinds]

    @property
    def words(self) -> set[str]:
        """Every column and measure that an expectation about rows reads."""
        return {word for expectation in self.of(ROWS) for word in expectation.words}

    @property
    def columns(self) -> list[str]:
        """The columns that any expectation about rows reads, sorted."""
        return sorted(self.words & set(self.schema))


def suite_for(table: TableContract, codes: Mapping[str, ObservationCode] = CODES) -> Suite:
    """The suite that `table`'s contract leads to; of `codes` those count that are in its code column's value sets."""
    derived = [
        *_completeness(table),
        *_ranges(table),
        *_uniqueness(table),
        *_codes(table, codes),
        *_doses(table),
        *_order(table),
        *_timeliness(table),
        *_volume(table),
        *_reconciliation(table),
    ]
    said = {rule.name: rule.blocking for rule in table.quality if rule.expectation == DERIVED}
    known = {each.name: each for each in derived}
    if unknown := sorted(said.keys() - known.keys()):
        raise ValueError(f"{table.name}: its contract speaks of {unknown[0]}, which nothing in it leads to")
    named = [replace(each, blocking=said.get(each.name, each.name not in DERIVED_WARNINGS)) for each in derived]
    schema = {column.name: column.iceberg for column in table.columns}
    return Suite(table.name, schema, (*named, *_rules(table)), measures_of(table))


def _completeness(table: TableContract) -> Iterator[Expectation]:
    for column in table.columns:
        if column.required:
            yield _given(f"{column.name}_is_given", column.name)


def _ranges(table: TableContract) -> Iterator[Expectation]:
    for column in table.columns:
        if column.minimum is not None or column.maximum is not None:
            yield _between(f"{column.name}_in_range", column.name, column.minimum, column.maximum)


def _uniqueness(table: TableContract) -> Iterator[Expectation]:
    """The primary key names a row, and a position is in the table once."""
    yield _unique("key_is_unique", table.primary_key)
    if table.positioned and set(table.primary_key) != set(POSITION):
        yield _unique("position_is_unique", POSITION)


def _codes(table: TableContract, codes: Mapping[str, ObservationCode]) -> Iterator[Expectation]:
    """A code is of the column's value sets; where rows are readings, unit, range and kind of value follow from it."""
    sets = set(table.column("code").value_sets) if "code" in table.names else set()
    known = [codes[code] for code in sorted(codes) if sets & set(codes[code].value_sets)]
    if not known:
        return
    yield _among("code_is_known", "code", [each.code for each in known])
    if "numeric_value" not in table.names:
        return
    for each in known:
        yield from _measured(each, table.names)
        yield from _coded(each, table.names)
    if "samples" in table.names:
        yield from _waves()


def _measured(known: ObservationCode, columns: frozenset[str]) -> Iterator[Expectation]:
    """A number is in the canonical unit, and within what is plausible unless a flag says that it is not."""
    code, unflagged = known.code, tuple(set(UNFLAGGED) & columns)
    if not known.numeric:
        yield _absent(f"no_number[{code}]", "numeric_value", Rows(code))
    if known.unit is None:
        return
    yield _among(f"unit_of[{code}]", "unit", [known.unit], Rows(code))
    yield _given(f"unit_given[{code}]", "unit", Rows(code, given=("numeric_value",)))
    if known.numeric:
        yield _between(f"value_of[{code}]", "numeric_value", known.low, known.high, Rows(code, unflagged))
    if "samples" in columns:
        yield _between(f"least_of[{code}]", WAVE_LEAST, known.low, None, Rows(code, unflagged))
        yield _between(f"greatest_of[{code}]", WAVE_GREATEST, None, known.high, Rows(code, unflagged))


def _coded(known: ObservationCode, columns: frozenset[str]) -> Iterator[Expectation]:
    """A word is one of the code's answers, and stands only where the code has any."""
    if "text_value" not in columns:
        return
    if not known.coded:
        yield _absent(f"no_word[{known.code}]", "text_value", Rows(known.code))
        return
    answers = sorted(known.values or ())
    yield _among(f"answer_of[{known.code}]", "text_value", answers, Rows(known.code, UNFLAGGED))


def _waves() -> Iterator[Expectation]:
    """A wave has values, a unit and a period, and is nothing else; what is no wave has no period."""
    wave = Rows(given=(WAVE_COUNT,))
    yield _between("wave_has_values", WAVE_COUNT, 1, None)
    yield _given("wave_has_period", "period_ms", wave)
    yield _given("wave_has_unit", "unit", wave)
    yield _absent("wave_has_no_number", "numeric_value", wave)
    yield _absent("wave_has_no_word", "text_value", wave)
    yield _given("period_has_wave", WAVE_COUNT, Rows(given=("period_ms",)))


def _doses(table: TableContract) -> Iterator[Expectation]:
    """An amount is in the canonical unit of its kind."""
    for column in table.columns:
        if column.unit == "per kind" and "unit" in table.names:
            yield _among("unit_is_canonical", "unit", sorted({each.canonical for each in DOSE_UNITS.values()}))
            yield _given(f"{column.name}_has_unit", "unit", Rows(given=(column.name,)))


def _order(table: TableContract) -> Iterator[Expectation]:
    """Positions rise with append time; of versions, none is of a lesser rank than one reported before it."""
    measures = measures_of(table)
    if APPEND_STEP in measures:
        yield _between("kafka_time_rises", APPEND_STEP, 0, None)
    if VERSION_STEP in measures:
        yield _between("versions_rise", VERSION_STEP, 0, None)


def _timeliness(table: TableContract) -> Iterator[Expectation]:
    """Rows are soon under way, and a table that lives has a recent row."""
    if not table.positioned:
        return
    soon = {"column": INGEST_SECONDS, "max_value": SOON_AFTER[table.latency_class].total_seconds(), "mostly": 0.99}
    yield Expectation("soon_in_the_lake", "expect_column_values_to_be_between", soon)
    recent = _between("newest_is_recent", "age_seconds", None, STALE_AFTER[table.latency_class].total_seconds())
    yield replace(recent, of=AGE)


def _volume(table: TableContract) -> Iterator[Expectation]:
    if table.positioned:
        yield replace(_between("volume_as_usual", "share_of_usual", *USUAL_SHARE), of=HOURS)


def _reconciliation(table: TableContract) -> Iterator[Expectation]:
    """Every position of the topic is one row, one reject or one duplicate. Tables of many topics are parts of it."""
    if len(table.fed_by) == 1:
        yield replace(_between("positions_reconcile", "unaccounted", 0, 0), of=POSITIONS)


def _rules(table: TableContract) -> Iterator[Expectation]:
    """The contract's own `quality` rules of engine greatExpectations."""
    for rule in (rule for rule in table.quality if rule.expectation != DERIVED):
        yield Expectation(rule.name, rule.expectation, dict(rule.arguments), blocking=rule.blocking)


def _given(name: str, column: str, rows: Rows | None = None) -> Expectation:
    return Expectation(name, "expect_column_values_to_not_be_null", {"column": column}, rows)


def _absent(name: str, column: str, rows: Rows) -> Expectation:
    return Expectation(name, "expect_column_values_to_be_null", {"column": column}, rows)


def _among(name: str, column: str, allowed: Sequence[str | None], rows: Rows | None = None) -> Expectation:
    arguments = {"column": column, "value_set": list(allowed)}
    return Expectation(name, "expect_column_values_to_be_in_set", arguments, rows)


def _between(name: str, column: str, low: float | None, high: float | None, rows: Rows | None = None) -> Expectation:
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Expectation(name, "expect_column_values_to_be_between", arguments, rows)


def _unique(name: str, columns: tuple[str, ...]) -> Expectation:
    if len(columns) == 1:
        return Expectation(name, "expect_column_values_to_be_unique", {"column": columns[0]})
    return Expectation(name, "expect_compound_columns_to_be_unique", {"column_list": list(columns)})
