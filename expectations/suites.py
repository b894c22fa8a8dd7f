"""A table's contract, read as a suite of expectations.

Holds: which expectations follow from a contract and the vocabulary, their names, and the suite's version.
Does not hold: Great Expectations itself (its import takes seconds; `validate.py` loads it when a day is judged), nor
any rule that no contract or vocabulary states. An `Expectation` is plain data: a GX type, its arguments and the rows
it speaks of.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from warehouse.contract import TableContract
from warehouse.vocabulary import ObservationCode

POSITION = ("topic_id", "kafka_partition", "kafka_offset")
WORD = re.compile(r"[A-Za-z_]\w*")
UNFLAGGED = ("quality_flag",)
SCHEMA = "columns_match_the_contract"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows an expectation speaks of: those of one `code` in which every column of `null` is null."""

    code: str
    null: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that must hold, or, if not `blocking`, should.

    `name` is unique in its suite and stands in verdicts; `arguments` are GX's.
    """

    name: str
    type: str
    arguments: Mapping[str, Any]
    rows: Rows | None = None
    blocking: bool = True

    @property
    def columns(self) -> set[str]:
        """The columns it is about."""
        single = (self.arguments[key] for key in ("column", "column_A", "column_B") if key in self.arguments)
        conditional = ("code", *self.rows.null) if self.rows else ()
        return {*single, *self.arguments.get("column_list", ()), *conditional}

    @property
    def words(self) -> set[str]:
        """The columns it is about and the words of a contract's own row condition, columns among them."""
        return self.columns | set(WORD.findall(self.arguments.get("row_condition", "")))


@dataclass(frozen=True, slots=True)
class Suite:
    """All expectations of a table. `schema` maps column to Iceberg type; `version` changes when any of it changes."""

    table: str
    schema: Mapping[str, str]
    expectations: tuple[Expectation, ...]
    version: str = field(init=False)

    def __post_init__(self) -> None:
        content = json.dumps(
            [self.table, dict(self.schema), [asdict(each) for each in self.expectations]], sort_keys=True
        )
        object.__setattr__(self, "version", hashlib.sha256(content.encode()).hexdigest()[:12])

    @property
    def size(self) -> int:
        """How many expectations a verdict counts: these and the comparison of columns."""
        return len(self.expectations) + 1

    @property
    def columns(self) -> list[str]:
        """The columns that any expectation reads, sorted."""
        words = {word for expectation in self.expectations for word in expectation.words}
        return sorted(words & set(self.schema))


def suite_for(table: TableContract, codes: Mapping[str, ObservationCode]) -> Suite:
    """The suite that `table`'s contract leads to; `codes` are the readings its `code` column may name."""
    expectations = [
        *_completeness(table),
        *_ranges(table),
        *_uniqueness(table),
        *(_readings(codes) if _holds_readings(table) else ()),
        *_rules(table),
    ]
    return Suite(table.name, {column.name: column.iceberg for column in table.columns}, tuple(expectations))


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


def _holds_readings(table: TableContract) -> bool:
    """Whether a row is one reading: its unit and range then follow from its code."""
    return {"code", "numeric_value", "text_value", "unit", "quality_flag"} <= {column.name for column in table.columns}


def _readings(codes: Mapping[str, ObservationCode]) -> Iterator[Expectation]:
    yield _among("code_is_known", "code", sorted(codes))
    for code in sorted(codes):
        yield from _measured(codes[code])
        yield from _coded(codes[code])


def _measured(vital: ObservationCode) -> Iterator[Expectation]:
    """A number is in the canonical unit, and within what is plausible unless a flag says that it is not."""
    if not vital.numeric:
        yield _absent(f"no_number[{vital.code}]", "numeric_value", Rows(vital.code))
        return
    yield _among(f"unit_of[{vital.code}]", "unit", [vital.unit], Rows(vital.code))
    yield _between(f"value_of[{vital.code}]", "numeric_value", vital.low, vital.high, Rows(vital.code, UNFLAGGED))


def _coded(vital: ObservationCode) -> Iterator[Expectation]:
    """A word is one of the code's answers, and stands only where the code has any."""
    if not vital.coded:
        yield _absent(f"no_word[{vital.code}]", "text_value", Rows(vital.code))
        yield _given(f"unit_given[{vital.code}]", "unit", Rows(vital.code))
        return
    yield _among(f"answer_of[{vital.code}]", "text_value", sorted(vital.values or ()), Rows(vital.code, UNFLAGGED))


def _rules(table: TableContract) -> Iterator[Expectation]:
    """The contract's own `quality` rules of engine greatExpectations."""
    for rule in table.quality:
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
