"""One day of a table judged by its suite.

Holds: the only use of Great Expectations, and the verdict that leaves it.
Does not hold: what is expected (`suites.py`), where rows come from or where a verdict goes (`assets`). Nothing that
leaves this module carries a value of a row: results are asked for without any, and only names and counts are read
from them.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from expectations.suites import SCHEMA, Expectation, Rows, Suite

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
    """

    suite_version: str
    rows: int
    expectations: int
    failed: Mapping[str, int | None]
    warnings: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.failed


def validate_day(rows: pa.Table, suite: Suite) -> Verdict:
    """Hold the rows of one day against `suite`, in a single GX validation (2.6 s a million rows, import 7 s)."""
    answerable = [each for each in suite.expectations if each.columns <= set(rows.column_names)]
    unmet: dict[str, int | None] = {each.name: None for each in suite.expectations if each not in answerable}
    unmet |= _failures(_frame(rows, suite.columns), suite.table, answerable)
    if differing_columns(rows.schema, suite.schema):
        unmet[SCHEMA] = None
    advisory = {each.name for each in suite.expectations if not each.blocking}
    return Verdict(
        suite.version,
        rows.num_rows,
        suite.size,
        failed={name: unmet[name] for name in sorted(unmet) if name not in advisory},
        warnings={name: unmet[name] for name in sorted(unmet) if name in advisory},
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


def _frame(rows: pa.Table, columns: list[str]) -> pd.DataFrame:
    """Plain pandas (ArrowDtype is thirty times slower in GX), and only what the suite reads."""
    return rows.select([name for name in columns if name in rows.column_names]).to_pandas()


def _failures(frame: pd.DataFrame, name: str, expectations: list[Expectation]) -> dict[str, int | None]:
    import great_expectations as gx

    with _quiet():
        suite = gx.ExpectationSuite(name, expectations=[_configuration(each) for each in expectations])
        outcome = _batch(frame).validate(suite, result_format=COUNTS_ONLY)
    return {
        result.expectation_config.meta["name"]: _unexpected(result.result)
        for result in outcome.results
        if not result.success
    }


def _batch(frame: pd.DataFrame) -> Any:
    """The frame as GX's batch, in a context that is not kept and reports to nobody."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("day")
    definition = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    return definition.get_batch({"dataframe": frame})


def _configuration(expectation: Expectation) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    arguments = dict(expectation.arguments)
    if expectation.rows:
        arguments["row_condition"] = _condition(expectation.rows)
    return ExpectationConfiguration(expectation.type, arguments, meta={"name": expectation.name})


def _condition(rows: Rows) -> Any:
    from great_expectations.expectations.row_conditions import Column

    condition = Column("code") == rows.code
    for name in rows.null:
        condition &= Column(name).is_null()
    return condition


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
