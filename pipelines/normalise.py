"""One way to write each thing: times in UTC microseconds, values in canonical units, flags on the implausible.

Holds: reading of times and dates, units by the vocabulary, `quality_flag`; what cannot be read so is rejected.
Does not hold: whether a time or a subject is possible (`pipelines/validate.py`), nor any code or unit itself.

Times are ISO 8601 as Arrow reads it, with `Z` or an offset, and up to nine fractional digits; what lies below the
microsecond is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batch import Reject, StreamBatch
from warehouse.contract import Column, StreamContract
from warehouse.vocabulary import CODES, DBP, HEART_RATE, LOINC, MAP, SBP, SPO2

STAGE = "normalise"
TIMESTAMP = pa.timestamp("us", "UTC")

OUT_OF_RANGE = "out_of_range"
PROBE_OFF = "probe_off"

# A monitor shows zero of these when it sees no signal; as a measurement it is not to be had from a living person.
ZERO_MEANS_PROBE_OFF = (HEART_RATE, SPO2, SBP, DBP, MAP)


def normalise(batch: StreamBatch, contract: StreamContract) -> StreamBatch:
    """The batch with typed times and dates and, for a stream of observations, canonical values and `quality_flag`.

    Strings come out dictionary-encoded, but for the column that names the event. Rejects: `time_without_zone`,
    `unreadable_time`, `unreadable_date`, `unknown_code`, `missing_value`, `unexpected_value`, `unknown_word`,
    `missing_unit`, `unknown_unit`.
    """
    for column in contract.message:
        if column.iceberg in ("timestamptz", "date"):
            batch = _with_times(batch, column)
    batch = _encoded(batch, contract)
    return _with_canonical_values(batch) if _observes(contract) else batch


def _encoded(batch: StreamBatch, contract: StreamContract) -> StreamBatch:
    """Strings as dictionaries: they repeat within a batch, and the steps then work on distinct values."""
    rows, unique = batch.rows, contract.deduplication.column if contract.deduplication else None
    for column in contract.message:
        if column.iceberg == "string" and column.name != unique:
            at = rows.schema.get_field_index(column.name)
            rows = rows.set_column(at, column.name, _array(rows, column.name).dictionary_encode())
    return replace(batch, rows=rows)


def _array(rows: pa.Table, name: str) -> pa.Array:
    """A column as one array."""
    column = rows[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _rejecting(batch: StreamBatch, reasons: list[tuple[np.ndarray, str, str]]) -> StreamBatch:
    """Reject rows by (bool[rows], reason, detail); the first that holds of a row counts."""
    left = np.ones(len(batch.row_index), bool)
    rejects = []
    for mask, reason, detail in reasons:
        for row in np.flatnonzero(mask & left):
            rejects.append(Reject(int(batch.row_index[row]), STAGE, reason, detail))
        left &= ~mask
    return batch.keep(left, rejects)


# ------------------------------------------------------------------ times and dates

_DAY = r"\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2\d))"
_CLOCK = r"[T ](?:[01]\d|2[0-3])(?::[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?)?"
_ZONE = r"(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"
_TIME = f"^{_DAY}{_CLOCK}{_ZONE}$"
_TIME_WITHOUT_ZONE = f"^{_DAY}(?:{_CLOCK})?$"
_BELOW_MICROSECONDS = r"(\.\d{6})\d+"


def _with_times(batch: StreamBatch, column: Column) -> StreamBatch:
    text = _array(batch.rows, column.name)
    kind = TIMESTAMP if column.iceberg == "timestamptz" else pa.date32()
    at = batch.rows.schema.get_field_index(column.name)
    try:
        return replace(batch, rows=batch.rows.set_column(at, column.name, text.cast(kind)))
    except pa.ArrowInvalid:
        # Some row does not read so. Arrow says which by showing its value; that must not get out.
        pass
    refused = _unreadable(text, kind)
    any_refused = np.logical_or.reduce([mask for mask, _ in refused])
    shortened = pc.replace_substring_regex(text, _BELOW_MICROSECONDS, r"\1")
    read = _cast_readable(pc.if_else(pa.array(any_refused), None, shortened), kind)
    batch = replace(batch, rows=batch.rows.set_column(at, column.name, read))
    return _rejecting(batch, [(mask, reason, str(column.path)) for mask, reason in refused])


def _cast_readable(text: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        raise AssertionError("the grammar of times takes what Arrow does not read") from None


def _unreadable(text: pa.Array, kind: pa.DataType) -> list[tuple[np.ndarray, str]]:
    """(bool[rows], reason) of text that Arrow would not read."""
    given = text.is_valid().to_numpy(zero_copy_only=False)
    no_such_day = _is_no_leap_year(text)
    if kind != TIMESTAMP:
        return [(given & (no_such_day | ~_matches(text, f"^{_DAY}$")), "unreadable_date")]
    zoned, bare = _matches(text, _TIME) & ~no_such_day, _matches(text, _TIME_WITHOUT_ZONE) & ~no_such_day
    return [(given & bare, "time_without_zone"), (given & ~zoned & ~bare, "unreadable_time")]


def _matches(text: pa.Array, pattern: str) -> np.ndarray:
    return pc.match_substring_regex(text, pattern).fill_null(False).to_numpy(zero_copy_only=False)


def _is_no_leap_year(text: pa.Array) -> np.ndarray:
    """bool[rows]: a 29 February of a year that has none."""
    found = np.flatnonzero(_matches(text, r"^\d{4}-02-29"))
    wrong = np.zeros(len(text), bool)
    if len(found):
        years = pc.utf8_slice_codeunits(text.take(pa.array(found)), 0, 4).cast(pa.int32()).to_numpy()
        wrong[found] = (years % 4 != 0) | ((years % 100 == 0) & (years % 400 != 0))
    return wrong


# ------------------------------------------------------------------ observations and units


@dataclass(frozen=True, slots=True)
class _Tables:
    """The vocabulary as arrays, by place of a code in `codes` and of a unit in `units` (one past the end: no unit).

    Attributes:
        known: bool[codes, units + 1], whether the code may have the unit.
        factor, offset: float64[codes, units + 1], canonical = value x factor + offset.
        low, high: float64[codes], NaN where nothing is measured.
        numeric, coded, zero_is_off: bool[codes].
        canonical: the canonical unit of each code; empty, and masked in every row, where nothing is measured: Arrow can
            neither unify nor write dictionaries that hold a null.
        words: the words of all codes; `allowed`: bool[codes, words + 1].
    """

    codes: pa.Array
    units: pa.Array
    words: pa.Array
    known: np.ndarray
    factor: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray
    numeric: np.ndarray
    coded: np.ndarray
    zero_is_off: np.ndarray
    canonical: pa.Array
    allowed: np.ndarray


def _observes(contract: StreamContract) -> bool:
    """Whether a message is an observation: a LOINC code whose value, unit or word it brings."""
    names = {column.name: column for column in contract.message}
    wanted = {"code", "numeric_value", "text_value", "unit"}
    return wanted <= names.keys() and names["code"].code_system == LOINC


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    vitals = list(CODES.values())
    units = sorted({unit for vital in vitals for unit in vital.units})
    words = sorted({word for vital in vitals for word in vital.values or ()})
    known = np.zeros((len(vitals), len(units) + 1), bool)
    factor, offset = np.ones(known.shape), np.zeros(known.shape)
    for row, vital in enumerate(vitals):
        for unit, conversion in vital.units.items():
            at = row, units.index(unit)
            known[at], factor[at], offset[at] = True, conversion.factor, conversion.offset
    return _Tables(
        codes=pa.array([vital.code for vital in vitals]),
        units=pa.array(units),
        words=pa.array(words),
        known=known,
        factor=factor,
        offset=offset,
        low=_bounds([vital.low for vital in vitals]),
        high=_bounds([vital.high for vital in vitals]),
        numeric=np.array([vital.numeric for vital in vitals]),
        coded=np.array([vital.coded for vital in vitals]),
        zero_is_off=np.array([vital.code in ZERO_MEANS_PROBE_OFF for vital in vitals]),
        canonical=pa.array([vital.unit or "" for vital in vitals]),
        allowed=np.array([[*(word in (vital.values or ()) for word in words), False] for vital in vitals]),
    )


def _bounds(bounds: list[float | None]) -> np.ndarray:
    return np.array([np.nan if bound is None else bound for bound in bounds])


def _with_canonical_values(batch: StreamBatch) -> StreamBatch:
    tables, rows = _tables(), batch.rows
    code = _places(rows, "code", tables.codes)
    unit = _places(rows, "unit", tables.units)
    word = _places(rows, "text_value", tables.words)
    batch = _rejecting(batch, _wrong_observations(rows, tables, code, unit, word))
    if batch.rows is not rows:
        rows = batch.rows
        code, unit = _places(rows, "code", tables.codes), _places(rows, "unit", tables.units)
    return replace(batch, rows=_canonical(rows, tables, code, unit))


def _places(rows: pa.Table, name: str, words: pa.Array) -> np.ndarray:
    """int64[rows]: the place of each value in `words`; len(words) where it is not there or null."""
    column = _array(rows, name)
    places = pc.index_in(column.dictionary, value_set=words)
    return places.take(column.indices).fill_null(len(words)).to_numpy(zero_copy_only=False).astype(np.int64)


def _is_null(rows: pa.Table, name: str) -> np.ndarray:
    return rows[name].is_null().to_numpy()


def _wrong_observations(
    rows: pa.Table, tables: _Tables, code: np.ndarray, unit: np.ndarray, word: np.ndarray
) -> list[tuple[np.ndarray, str, str]]:
    """(bool[rows], reason, detail). A code takes a number with a unit, or one of its words alone, or either."""
    unknown = code == len(tables.codes)
    code = np.where(unknown, 0, code)
    no_number, no_word, no_unit = (_is_null(rows, name) for name in ("numeric_value", "text_value", "unit"))
    number, worded = ~no_number, ~no_word
    unfit_number, unfit_word = number & ~tables.numeric[code], worded & ~tables.coded[code]
    return [
        (unknown, "unknown_code", "code"),
        (no_number & no_word, "missing_value", ""),
        (unfit_number | unfit_word | (number & worded), "unexpected_value", ""),
        (worded & ~tables.allowed[code, word], "unknown_word", "text_value"),
        (number & no_unit, "missing_unit", "unit"),
        (~no_unit & (worded | ~tables.known[code, unit]), "unknown_unit", "unit"),
    ]


def _canonical(rows: pa.Table, tables: _Tables, code: np.ndarray, unit: np.ndarray) -> pa.Table:
    """`numeric_value` and `unit` in canonical units, `quality_flag` behind all columns; all rows are right ones."""
    number = _array(rows, "numeric_value")
    value = number.fill_null(np.nan).to_numpy(zero_copy_only=False)
    worded = np.isnan(value)
    # A value beyond all numbers in its canonical unit is left to validate.
    with np.errstate(over="ignore"):
        value = value * tables.factor[code, unit] + tables.offset[code, unit]
    units = pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32), mask=worded), tables.canonical)
    rows = _replaced(rows, "numeric_value", pa.array(value, mask=worded))
    rows = _replaced(rows, "unit", units)
    return rows.append_column("quality_flag", _flags(value, code, tables))


def _replaced(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, column)


def _flags(value: np.ndarray, code: np.ndarray, tables: _Tables) -> pa.DictionaryArray:
    """dictionary<string>[rows]; null for a value that counts and for a word."""
    flag = np.full(len(value), -1, np.int8)
    flag[(value < tables.low[code]) | (value > tables.high[code])] = 0
    flag[(value == 0) & tables.zero_is_off[code]] = 1
    return pa.DictionaryArray.from_arrays(pa.array(flag, mask=flag < 0), pa.array([OUT_OF_RANGE, PROBE_OFF]))
