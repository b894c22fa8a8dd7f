"""An order-free digest of rows, as SQL that DuckDB and Spark both run: same rows, same number.

Holds: how each type is written as text without loss, in each dialect.
Does not hold: any reading.

A row is the text of its columns; the digest is the sum, over all rows, of the first 60 bits of the MD5 of that text.
So the order does not matter, and a row that is there twice does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

FIELD, ELEMENT = "\x1f", "\x1e"
_FRACTION = 1 << 52

Text = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """The words that differ: SQL for the text of a value of each kind, and for the digest of a row's text."""

    instant: Text
    day: Text
    quote: str
    bigint: str
    string: str
    character: Text
    joined: Callable[[str, str], str]
    each: Callable[[str, str], str]
    digest: Text


DUCKDB = Dialect(
    instant=lambda x: f"epoch_us({x})",
    day=lambda x: f"date_diff('day', DATE '1970-01-01', {x})",
    quote='"',
    bigint="BIGINT",
    string="VARCHAR",
    character=lambda code: f"chr({code})",
    joined=lambda array, by: f"array_to_string({array}, {by})",
    each=lambda array, text: f"list_transform({array}, lambda x: {text})",
    digest=lambda text: f"sum(('0x' || substr(md5({text}), 1, 15))::BIGINT)",
)

SPARK = Dialect(
    instant=lambda x: f"unix_micros({x})",
    day=lambda x: f"unix_date({x})",
    quote="`",
    bigint="BIGINT",
    string="STRING",
    character=lambda code: f"char({code})",
    joined=lambda array, by: f"array_join({array}, {by})",
    each=lambda array, text: f"transform({array}, x -> {text})",
    digest=lambda text: f"sum(CAST(conv(substr(md5({text}), 1, 15), 16, 10) AS DECIMAL(38, 0)))",
)


def count_and_digest(schema: pa.Schema, source: str, dialect: Dialect) -> str:
    """A SELECT of one row over `source` (a table, or what stands in FROM): `n` rows and their digest as text, `d`.

    Without rows the digest is 0. Numbers are told apart down to 2 to the power of -52.
    """
    columns = [_column(field, dialect) for field in schema]
    row = f" || {dialect.character(str(ord(FIELD)))} || ".join(columns)
    total = f"CAST(coalesce({dialect.digest(row)}, 0) AS {dialect.string})"
    return f"SELECT count(*) AS n, {total} AS d FROM {source}"


def _column(field: pa.Field, dialect: Dialect) -> str:
    name = f"{dialect.quote}{field.name}{dialect.quote}"
    return f"CASE WHEN {name} IS NULL THEN 'null' ELSE '=' || {_text(name, field.type, dialect)} END"


def _text(value: str, type_: pa.DataType, dialect: Dialect) -> str:
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        each = dialect.each(value, _text("x", type_.value_type, dialect))
        return dialect.joined(each, dialect.character(str(ord(ELEMENT))))
    if pa.types.is_floating(type_):
        return _number(value, dialect)
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        return f"lower(hex({value}))"
    if pa.types.is_timestamp(type_):
        value = dialect.instant(value)
    elif pa.types.is_date(type_):
        value = dialect.day(value)
    return f"CAST({value} AS {dialect.string})"


def _number(value: str, dialect: Dialect) -> str:
    """Whole part and fraction as whole numbers: engines write the same double in different decimals."""
    whole = f"CAST(floor({value}) AS {dialect.bigint})"
    fraction = f"CAST(floor(({value} - floor({value})) * CAST({_FRACTION} AS DOUBLE)) AS {dialect.bigint})"
    return f"CAST({whole} AS {dialect.string}) || ':' || CAST({fraction} AS {dialect.string})"
