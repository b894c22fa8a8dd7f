"""One day of a table judged by its suite.

Holds: the only use of Great Expectations, and the verdict that leaves it.
Does not hold: what is expected (`suites.py`), where rows come from or where a verdict goes (`assets`). Nothing that
leaves this module carries a value of a row: results are asked for without any, and only names and counts are read
from them.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from expectations.measures import with_measures
from expectations.suites import AGE, HOURS, POSITIONS, ROWS, SCHEMA, Expectation, Rows, Suite

if TYPE_CHECKING:
    import pandas as pd

# Counts of failing rows without a sample of them; never COMPLETE or SUMMARY, which copy patients' values.
COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a suite says of one day: no row's value is in it.

    Attributes:
        rows: how many rows were judged.
        expectations: how many expectations they were held against.
        failed: name of each that must hold and does not, sorted -> number of rows at fault; None where it speaks
            of the table as a whole or could not be evaluated.
        warnings: the same of those that only should hold; they stop nothing.
        held: names of those that hold, sorted.
    """

    suite_version: str
    rows: int
    expectations: int
    failed: Mapping[str, int | None]
    warnings: Mapping[str, int | None] = field(default_factory=dict)
    held: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failed


@dataclass(frozen=True, slots=True)
class Day:
    """What is judged. What is None was not looked at, and expectations of it are not counted.

    Attributes:
        rows: the rows of the day.
        hours: a row an hour with `share_of_usual`: rows over the median of the same hour of other days; null where the
            hour is not over or nothing is usual yet.
        positions: a row a partition with `unaccounted`: positions less rows, rejects and duplicates.
        age: one row with `age_seconds` of the newest row; null where the day is past.
    """

    rows: pa.Table
    hours: pa.Table | None = None
    positions: pa.Table | None = None
    age: pa.Table | None = None

    def frames(self, suite: Suite) -> dict[str, pa.Table]:
        """What was looked at, by kind; of the rows what the suite reads, measures among it."""
        wanted = set(suite.columns) & set(self.rows.column_names)
        measured = with_measures(self.rows, suite.measures, suite.words)
        rows = measured.select([n for n in measured.column_names if n in wanted or n not in self.rows.column_names])
        given = {ROWS: rows, HOURS: self.hours, POSITIONS: self.positions, AGE: self.age}
        return {kind: table for kind, table in given.items() if table is not None}


def validate_day(day: Day, suite: Suite) -> Verdict:
    """Hold one day against `suite`, a GX validation for each kind of thing and each code."""
    unmet: dict[str, int | None] = {}
    frames = day.frames(suite)
    for kind, table in frames.items():
        asked = suite.of(kind)
        answerable = [each for each in asked if each.columns <= set(table.column_names)]
        unmet |= {each.name: None for each in asked if each not in answerable}
        unmet |= _failures(table, f"{suite.table}.{kind}", _not_vacuous(answerable, table))
    if differing_columns(day.rows.schema, suite.schema):
        unmet[SCHEMA] = None
    return _verdict(day, suite, suite.of(*frames), unmet)


def _verdict(day: Day, suite: Suite, asked: list[Expectation], unmet: Mapping[str, int | None]) -> Verdict:
    advisory = {each.name for each in asked if not each.blocking}
    return Verdict(
        suite.version,
        day.rows.num_rows,
        len(asked) + 1,  # the comparison of columns is the one beside
        failed={name: unmet[name] for name in sorted(unmet) if name not in advisory},
        warnings={name: unmet[name] for name in sorted(unmet) if name in advisory},
        held=tuple(sorted({SCHEMA, *(each.name for each in asked)} - unmet.keys())),
    )


def differing_columns(schema: pa.Schema, expected: Mapping[str, str]) -> list[str]:
    """Names of columns that are missing, not in the contract, or of another type than it says.

    Types are compared here, on Arrow, because a pandas frame cannot tell them apart (a nullable integer is a float).
    """
    found = {column.name: iceberg_type(column.type) for column in schema}
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def iceberg_type(kind: pa.DataType) -> str:
    """Iceberg's name of an Arrow type, whatever its physical encoding (dictionary, large, view)."""
    if pa.types.is_dictionary(kind):
        return iceberg_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{iceberg_type(kind.value_type)}>"
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    names = {
        "string": "string", "large_string": "string", "string_view": "string",
        "binary": "binary", "large_binary": "binary", "binary_view": "binary",
        "int32": "int", "int64": "long", "double": "double", "float": "float",
        "bool": "boolean", "date32[day]": "date",
    }  # fmt: skip
    return names.get(str(kind), str(kind))


def _not_vacuous(expectations: list[Expectation], rows: pa.Table) -> list[Expectation]:
    """Without those of codes that no row has: they hold, and GX takes some twenty milliseconds for each."""
    present = set(pc.unique(rows["code"]).to_pylist()) if "code" in rows.column_names else set()
    return [each for each in expectations if not each.rows or each.rows.code is None or each.rows.code in present]


def _failures(rows: pa.Table, name: str, expectations: list[Expectation]) -> dict[str, int | None]:
    """What does not hold, a GX validation for the rows of each code and one for what speaks of all: GX's own row
    conditions would cost a query of the whole frame for each number that it asks of it."""
    import great_expectations as gx

    if not expectations:
        return {}
    unmet: dict[str, int | None] = {}
    with _quiet():
        source = _source()
        for code, asked in _by_code(expectations).items():
            part, asked = _conditioned(rows if code is None else _of_code(rows, code, asked), asked)
            suite = gx.ExpectationSuite(f"{name} {code}", expectations=[_configuration(each) for each in asked])
            # Plain pandas: ArrowDtype is thirty times slower in GX.
            outcome = _batch(source, suite.name, part.to_pandas()).validate(suite, result_format=COUNTS_ONLY)
            unmet |= {
                result.expectation_config.meta["name"]: _unexpected(result.result)
                for result in outcome.results
                if not result.success
            }
    return unmet


def _by_code(expectations: list[Expectation]) -> dict[str | None, list[Expectation]]:
    parts: dict[str | None, list[Expectation]] = {}
    for each in expectations:
        parts.setdefault(each.rows.code if each.rows else None, []).append(each)
    return parts


def _of_code(rows: pa.Table, code: str, expectations: list[Expectation]) -> pa.Table:
    """The columns that these read, in the rows of the code."""
    words = {word for each in expectations for word in each.words}
    read = rows.select([name for name in rows.column_names if name in words])
    return read.filter(pc.equal(_plain(rows["code"]), code))


def _conditioned(rows: pa.Table, expectations: list[Expectation]) -> tuple[pa.Table, list[Expectation]]:
    """The rows, and each expectation that speaks of some of them only about a column of its own, in which no other row
    can be at fault."""
    frame, about = rows, []
    for each in expectations:
        if each.rows and (each.rows.null or each.rows.given):
            frame = frame.append_column(each.name, _where(rows, each.type, each.arguments["column"], each.rows))
            each = replace(each, arguments={**each.arguments, "column": each.name})
        about.append(each)
    return frame, about


def _where(rows: pa.Table, expectation_type: str, column: str, where: Rows) -> pa.ChunkedArray:
    """The column in the rows that are spoken of. In the others there is nothing that GX would look at: a null, or,
    where a null is what must not be, a value."""
    spoken_of = [_missing(rows[name]) for name in where.null] + [
        pc.invert(_missing(rows[name])) for name in where.given
    ]
    holds = functools.reduce(pc.and_, spoken_of)
    if expectation_type == "expect_column_values_to_not_be_null":
        missing = pc.and_(holds, _missing(rows[column]))
        return pc.if_else(missing, pa.scalar(None, pa.int8()), pa.scalar(1, pa.int8()))
    values = _plain(rows[column])
    return pc.if_else(holds, values, pa.scalar(None, values.type))


def _missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As pandas takes it: what is not a number is missing."""
    return pc.is_null(_plain(column), nan_is_null=True)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _source() -> Any:
    """GX's source of frames, in a context that is not kept and reports to nobody."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context.data_sources.add_pandas("day")


def _batch(source: Any, name: str, frame: pd.DataFrame) -> Any:
    """The frame as GX's batch."""
    definition = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    return definition.get_batch({"dataframe": frame})


def _configuration(expectation: Expectation) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(expectation.type, dict(expectation.arguments), meta={"name": expectation.name})


def _unexpected(result: Mapping[str, Any]) -> int | None:
    count = result.get("unexpected_count")
    return int(count) if count is not None else None


@contextmanager
def _quiet() -> Generator[None]:
    """GX logs and warns with fragments of what it looked at: not while it looks at patients."""
    import warnings

    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
