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
from warehouse.vocabulary import DBP, DOSE_UNITS, HEART_RATE, MAP, SBP, SPO2, codes_in

STAGE = "normalise"
TIMESTAMP = pa.timestamp("us", "UTC")

OUT_OF_RANGE = "out_of_range"
PROBE_OFF = "probe_off"

# A monitor shows zero of these when it sees no signal; as a measurement it is not to be had from a living person.
ZERO_MEANS_PROBE_OFF = (HEART_RATE, SPO2, SBP, DBP, MAP)


def normalise(batch: StreamBatch, contract: StreamContract) -> StreamBatch:
    """The batch with typed times and dates and, for a stream of observations, canonical values and `quality_flag`; for
    one of doses, doses in canonical units.

    Strings come out dictionary-encoded, but for the column that names the event. Rejects: `time_without_zone`,
    `unreadable_time`, `unreadable_date`, `unknown_code`, `missing_value`, `unexpected_value`, `unknown_word`,
    `missing_unit`, `unknown_unit`, `missing_period`.
    """
    for column in contract.message:
        if column.iceberg in ("timestamptz", "date"):
            batch = _with_times(batch, column)
    batch = _encoded(batch, contract)
    if _observes(contract):
        return _with_canonical_values(batch, contract)
    dose = next((column.name for column in contract.message if column.unit == "per kind"), None)
    return batch if dose is None else _with_canonical_doses(batch, dose)


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
    """Some of the vocabulary as arrays, by place of a code in `codes` and of a unit in `units` (one past the end: no
    unit).

    Attributes:
        known: bool[codes, units + 1], whether the code may have the unit.
        factor, offset: float64[codes, units + 1], canonical = value x factor + offset.
        low, high: float64[codes], NaN where nothing is measured.
        numeric, coded, dense, zero_is_off: bool[codes]; whether it may come as a number, a word, a wave.
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
    dense: np.ndarray
    zero_is_off: np.ndarray
    canonical: pa.Array
    allowed: np.ndarray


def _observes(contract: StreamContract) -> bool:
    """Whether a message is an observation: a code of our vocabulary, whose value and unit it brings."""
    names = {column.name: column for column in contract.message}
    return {"code", "numeric_value", "unit"} <= names.keys() and bool(names["code"].value_sets)


@lru_cache(maxsize=16)
def _tables(value_sets: tuple[str, ...]) -> _Tables:
    known_codes = codes_in(value_sets)
    units = sorted({unit for known in known_codes for unit in known.units})
    words = sorted({word for known in known_codes for word in known.values or ()})
    fits = np.zeros((len(known_codes), len(units) + 1), bool)
    factor, offset = np.ones(fits.shape), np.zeros(fits.shape)
    for row, known in enumerate(known_codes):
        for unit, conversion in known.units.items():
            at = row, units.index(unit)
            fits[at], factor[at], offset[at] = True, conversion.factor, conversion.offset
    return _Tables(
        codes=pa.array([known.code for known in known_codes]),
        units=pa.array(units, pa.string()),
        words=pa.array(words, pa.string()),
        known=fits,
        factor=factor,
        offset=offset,
        low=_bounds([known.low for known in known_codes]),
        high=_bounds([known.high for known in known_codes]),
        numeric=np.array([known.numeric for known in known_codes]),
        coded=np.array([known.coded for known in known_codes]),
        dense=np.array([known.unit is not None for known in known_codes]),
        zero_is_off=np.array([known.code in ZERO_MEANS_PROBE_OFF for known in known_codes]),
        canonical=pa.array([known.unit or "" for known in known_codes]),
        allowed=np.array([[*(word in (known.values or ()) for word in words), False] for known in known_codes]),
    )


def _bounds(bounds: list[float | None]) -> np.ndarray:
    return np.array([np.nan if bound is None else bound for bound in bounds])


def _with_canonical_values(batch: StreamBatch, contract: StreamContract) -> StreamBatch:
    tables, rows = _tables(contract.field("code").value_sets), batch.rows
    code = _places(rows, "code", tables.codes)
    unit = _places(rows, "unit", tables.units)
    batch = _rejecting(batch, _wrong_observations(rows, tables, code, unit, _withdrawn(rows, contract)))
    if batch.rows is not rows:
        rows = batch.rows
        code, unit = _places(rows, "code", tables.codes), _places(rows, "unit", tables.units)
    return replace(batch, rows=_canonical(rows, tables, code, unit))


def _places(rows: pa.Table, name: str, words: pa.Array) -> np.ndarray:
    """int64[rows]: the place of each value in `words`; len(words) where it is not there, null, or no column at all."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, len(words), np.int64)
    column = _array(rows, name)
    places = pc.index_in(column.dictionary, value_set=words)
    return places.take(column.indices).fill_null(len(words)).to_numpy(zero_copy_only=False).astype(np.int64)


def _given(rows: pa.Table, name: str) -> np.ndarray:
    """bool[rows]: whether there is a value; nowhere, where the message has no such field."""
    if name not in rows.column_names or rows[name].null_count == rows.num_rows:
        return np.zeros(rows.num_rows, bool)
    return rows[name].is_valid().to_numpy()


def _withdrawn(rows: pa.Table, contract: StreamContract) -> np.ndarray:
    """bool[rows]: the version says that there is no value."""
    withdrawn = np.zeros(rows.num_rows, bool)
    for table in contract.tables:
        for column, words in (table.versions.withdrawn if table.versions else {}).items():
            withdrawn |= _places(rows, column, pa.array(words)) < len(words)
    return withdrawn


def _wrong_observations(
    rows: pa.Table, tables: _Tables, code: np.ndarray, unit: np.ndarray, withdrawn: np.ndarray
) -> list[tuple[np.ndarray, str, str]]:
    """(bool[rows], reason, detail). A code takes a number or a wave with a unit, or one of its words alone."""
    unknown = code == len(tables.codes)
    code = np.where(unknown, 0, code)
    number, worded, wave = (_given(rows, name) for name in ("numeric_value", "text_value", "samples"))
    unit_given, paced = _given(rows, "unit"), _given(rows, "period_ms")
    given = number.astype(np.int8) + worded + wave
    unfit = (number & ~tables.numeric[code]) | (worded & ~tables.coded[code]) | (wave & ~tables.dense[code])
    word = _places(rows, "text_value", tables.words)
    return [
        (unknown, "unknown_code", "code"),
        (((given == 0) & ~withdrawn) | _empty(rows, wave), "missing_value", ""),
        (unfit | (given > 1) | (number & withdrawn), "unexpected_value", ""),
        (worded & ~tables.allowed[code, word], "unknown_word", "text_value"),
        ((number | wave) & ~unit_given, "missing_unit", "unit"),
        (unit_given & (worded | ~tables.known[code, unit]), "unknown_unit", "unit"),
        (wave & ~paced, "missing_period", "period_ms"),
        (~wave & paced, "unexpected_value", "period_ms"),
    ]


def _empty(rows: pa.Table, wave: np.ndarray) -> np.ndarray:
    """bool[rows]: a wave of no values."""
    if not wave.any():
        return wave
    return pc.equal(pc.list_value_length(_array(rows, "samples")), 0).fill_null(False).to_numpy(zero_copy_only=False)


def _canonical(rows: pa.Table, tables: _Tables, code: np.ndarray, unit: np.ndarray) -> pa.Table:
    """`numeric_value`, `samples` and `unit` in canonical units, `quality_flag` behind all columns; all rows are right
    ones."""
    number = _array(rows, "numeric_value")
    value = number.fill_null(np.nan).to_numpy(zero_copy_only=False)
    absent = np.isnan(value)
    factor, offset = tables.factor[code, unit], tables.offset[code, unit]
    # A value beyond all numbers in its canonical unit is left to validate.
    with np.errstate(over="ignore"):
        value = value * factor + offset
        wave = _given(rows, "samples")
        if wave.any():
            rows = _replaced(rows, "samples", _converted(_array(rows, "samples"), factor, offset))
    unitless = absent & ~wave
    units = pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32), mask=unitless), tables.canonical)
    rows = _replaced(rows, "numeric_value", pa.array(value, mask=absent))
    rows = _replaced(rows, "unit", units)
    flag = _flags(value, code, tables)
    if wave.any():
        flag = np.maximum(flag, _flags_of_waves(_array(rows, "samples"), code, tables))
    return rows.append_column("quality_flag", _words(flag))


def _converted(waves: pa.ListArray, factor: np.ndarray, offset: np.ndarray) -> pa.ListArray:
    """The waves with every value of row i times factor[i] plus offset[i]."""
    of_row = pc.list_parent_indices(waves).to_numpy()
    values = pc.list_flatten(waves).to_numpy() * factor[of_row] + offset[of_row]
    lengths = pc.list_value_length(waves).fill_null(0).to_numpy(zero_copy_only=False)
    bounds = pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    return pa.ListArray.from_arrays(bounds, pa.array(values), mask=waves.is_null())


def _replaced(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, column)


_FLAGS = pa.array([OUT_OF_RANGE, PROBE_OFF])


def _flags(value: np.ndarray, code: np.ndarray, tables: _Tables) -> np.ndarray:
    """int8[values]: the place in `_FLAGS`; -1 for a value that counts, and where there is none."""
    flag = np.full(len(value), -1, np.int8)
    flag[(value < tables.low[code]) | (value > tables.high[code])] = 0
    flag[(value == 0) & tables.zero_is_off[code]] = 1
    return flag


def _flags_of_waves(waves: pa.ListArray, code: np.ndarray, tables: _Tables) -> np.ndarray:
    """int8[rows]: the gravest flag of any sample of a row's wave; -1 without one."""
    flag = np.full(len(waves), -1, np.int8)
    of_row = pc.list_parent_indices(waves).to_numpy()
    np.maximum.at(flag, of_row, _flags(pc.list_flatten(waves).to_numpy(), code[of_row], tables))
    return flag


def _words(flag: np.ndarray) -> pa.DictionaryArray:
    """dictionary<string>[rows]; null for what counts."""
    return pa.DictionaryArray.from_arrays(pa.array(flag, mask=flag < 0), _FLAGS)


# ------------------------------------------------------------------ doses

_DOSES = pa.array(list(DOSE_UNITS))
_DOSE_FACTORS = np.array([unit.factor for unit in DOSE_UNITS.values()])
_KINDS = pa.array(sorted({unit.canonical for unit in DOSE_UNITS.values()}))
_KIND_OF = np.array([_KINDS.index(unit.canonical).as_py() for unit in DOSE_UNITS.values()], np.int32)


def _with_canonical_doses(batch: StreamBatch, dose: str) -> StreamBatch:
    """Amounts and rates in the canonical unit of their kind."""
    unit, given, unit_given = (
        _places(batch.rows, "unit", _DOSES), _given(batch.rows, dose), _given(batch.rows, "unit")
    )  # fmt: skip
    unknown = unit_given & (unit == len(_DOSES))
    batch = _rejecting(batch, [(given & ~unit_given, "missing_unit", "unit"), (unknown, "unknown_unit", "unit")])
    unit = _places(batch.rows, "unit", _DOSES)
    none = unit == len(_DOSES)
    unit = np.where(none, 0, unit)
    with np.errstate(over="ignore"):
        amount = _array(batch.rows, dose).fill_null(np.nan).to_numpy(zero_copy_only=False) * _DOSE_FACTORS[unit]
    kinds = pa.DictionaryArray.from_arrays(pa.array(_KIND_OF[unit], mask=none), _KINDS)
    rows = _replaced(batch.rows, dose, pa.array(amount, mask=np.isnan(amount)))
    return replace(batch, rows=_replaced(rows, "unit", kinds))
