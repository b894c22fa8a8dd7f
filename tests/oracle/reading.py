"""What a raw `device.vitals` message says, read a second time and independently of the product.

Holds: strict JSON, the vocabulary restated (LOINC codes, UCUM conversions, plausible ranges), and the row that must
come of a message.
Does not hold: Kafka or the lake.

Four million messages take about a minute: one pass of Python over the raw bytes, everything after it in columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

ROW_SCHEMA = pa.schema(
    [
        ("fault", pa.dictionary(pa.int32(), pa.string())),
        ("event_id", pa.string()),
        ("patient_id", pa.dictionary(pa.int32(), pa.string())),
        ("device_id", pa.dictionary(pa.int32(), pa.string())),
        ("ward", pa.dictionary(pa.int32(), pa.string())),
        ("code", pa.dictionary(pa.int32(), pa.string())),
        ("numeric_value", pa.float64()),
        ("text_value", pa.dictionary(pa.int32(), pa.string())),
        ("unit", pa.dictionary(pa.int32(), pa.string())),
        ("quality_flag", pa.dictionary(pa.int32(), pa.string())),
        ("event_time", pa.timestamp("us", "UTC")),
        ("received_at", pa.timestamp("us", "UTC")),
        ("seq", pa.int64()),
    ]
)
"""`fault` is why the message cannot be a row (null: it must be one); then every other column is null."""

_RATE = {"/min": (1.0, 0.0), "1/min": (1.0, 0.0)}
_PRESSURE = {"mm[Hg]": (1.0, 0.0), "kPa": (7.500616827, 0.0)}
_TEMPERATURE = {"Cel": (1.0, 0.0), "[degF]": (5 / 9, -160 / 9), "K": (1.0, -273.15)}
_FLOW = {"L/min": (1.0, 0.0), "l/min": (1.0, 0.0), "mL/min": (0.001, 0.0), "ml/min": (0.001, 0.0)}

# LOINC -> canonical unit, {unit: (factor, offset)}, lowest and highest plausible value, words
NUMERIC = {
    "8867-4": ("/min", {**_RATE, "{beats}/min": (1.0, 0.0), "{beat}/min": (1.0, 0.0)}, 10, 350),
    "9279-1": ("/min", {**_RATE, "{breaths}/min": (1.0, 0.0), "{breath}/min": (1.0, 0.0)}, 1, 150),
    "59408-5": ("%", {"%": (1.0, 0.0)}, 1, 100),
    "8480-6": ("mm[Hg]", _PRESSURE, 20, 375),
    "8462-4": ("mm[Hg]", _PRESSURE, 5, 375),
    "8478-0": ("mm[Hg]", _PRESSURE, 14, 330),
    "8310-5": ("Cel", _TEMPERATURE, 26, 45),
    "3151-8": ("L/min", _FLOW, 0, 100),
}
WORDS = {"80288-4": frozenset("ACVPU"), "3151-8": frozenset(("air", "oxygen"))}
PULSATILE = frozenset(("8867-4", "59408-5", "8480-6", "8462-4", "8478-0"))
"""Signals in which zero means that the probe is off, not that the patient has none."""

PATIENT_KEY = re.compile(rb"P[0-9]{6,12}")
DEVICE_KEY = re.compile(rb"device:[A-Za-z0-9._-]{1,64}")
AHEAD_US = 3_600 * 1_000_000
EARLIEST_US = 946_684_800 * 1_000_000

# field -> least and most characters
_TEXTS = {
    "event_id": (1, 64), "patient_id": (1, 64), "device_id": (1, 64), "ward": (0, 64), "code": (1, 16),
    "text_value": (0, 32), "unit": (0, 32), "event_time": (1, 64), "received_at": (1, 64),
}  # fmt: skip
_REQUIRED = ("event_id", "code", "event_time")


class Unreadable(Exception):
    """A message that cannot become a row; its one argument is the fault."""


def read_messages(keys: Sequence[bytes | None], values: Sequence[bytes | None], appended_us: np.ndarray) -> pa.Table:
    """One row of `ROW_SCHEMA` a message, in order. `appended_us`: int64[n], Kafka's append time, microseconds UTC."""
    columns: dict[str, list] = {name: [] for name in ROW_SCHEMA.names}
    for key, value, appended in zip(keys, values, appended_us.tolist(), strict=True):
        try:
            row = _row(key, value, appended)
        except Unreadable as unreadable:
            row = (unreadable.args[0], *_NOTHING)
        for column, cell in zip(columns.values(), row, strict=True):
            column.append(cell)
    return pa.table({name: _array(name, cells) for name, cells in columns.items()}, schema=ROW_SCHEMA)


def _array(name: str, cells: list) -> pa.Array:
    wanted = ROW_SCHEMA.field(name).type
    if pa.types.is_dictionary(wanted):
        return pa.array(cells, pa.string()).dictionary_encode()
    return pa.array(cells, wanted)


_NOTHING = (None,) * (len(ROW_SCHEMA) - 1)


def _row(key: bytes | None, value: bytes | None, appended_us: int) -> tuple:
    person = _person(key)
    message = _object(value)
    code, event_us = message["code"], micros(message["event_time"])
    if not EARLIEST_US <= event_us <= appended_us + AHEAD_US:
        raise Unreadable("implausible_time")
    if message.get("patient_id") != person:
        raise Unreadable("missing_subject" if message.get("patient_id") is None else "subject_mismatch")
    number, text, unit, flag = _measured(code, message)
    received = message.get("received_at")
    return (
        None, message["event_id"], person, message.get("device_id"), message.get("ward"), code, number, text, unit,
        flag, event_us, None if received is None else micros(received), message.get("seq"),
    )  # fmt: skip


def _person(key: bytes | None) -> str | None:
    """The patient of a key; None for a device's."""
    if key is not None and PATIENT_KEY.fullmatch(key):
        return key.decode()
    if key is None or not DEVICE_KEY.fullmatch(key):
        raise Unreadable("unreadable_key")
    return None


def _object(value: bytes | None) -> dict:
    """The message's one JSON object with every field of its type."""
    if not value:
        raise Unreadable("empty_message")
    try:
        message = _STRICT.decode(value.decode("utf-8"))
    except UnicodeDecodeError:
        raise Unreadable("invalid_utf8") from None
    except (ValueError, RecursionError):
        raise Unreadable("malformed_json") from None
    if type(message) is not dict or any(message.get(name) is None for name in _REQUIRED):
        raise Unreadable("wrong_type")
    for name, (least, most) in _TEXTS.items():
        text = message.get(name)
        if text is not None and (type(text) is not str or not least <= len(text) <= most):
            raise Unreadable("wrong_type")
    seq = message.get("seq")
    if type(message.get("value")) not in (int, float, type(None)) or (seq is not None and not _is_count(seq)):
        raise Unreadable("wrong_type")
    return message


def _is_count(seq: object) -> bool:
    return type(seq) is int and 0 <= seq < 1 << 63


def _no_constant(name: str) -> float:
    raise ValueError(name)


_STRICT = json.JSONDecoder(parse_constant=_no_constant)


def _measured(code: str, message: dict) -> tuple[float | None, str | None, str | None, str | None]:
    """Number in canonical unit, word, canonical unit, quality flag."""
    value, text = message.get("value"), message.get("text_value")
    if code not in NUMERIC and code not in WORDS:
        raise Unreadable("unknown_code")
    if value is None or text is not None:
        if value is None and text in WORDS.get(code, ()) and message.get("unit") is None:
            return None, text, None, None
        raise Unreadable("no_value")
    if code not in NUMERIC:
        raise Unreadable("no_value")
    canonical, units, low, high = NUMERIC[code]
    if message.get("unit") not in units:
        raise Unreadable("unknown_unit")
    factor, offset = units[message["unit"]]
    number = value * factor + offset
    if not abs(number) < float("inf"):
        raise Unreadable("not_finite")
    return number, None, canonical, _flag(code, number, low, high)


def _flag(code: str, number: float, low: float, high: float) -> str | None:
    if number == 0 and code in PULSATILE:
        return "probe_off"
    return None if low <= number <= high else "out_of_range"


_seconds: dict[str, int] = {}


def micros(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time with its offset from UTC. Raises `Unreadable` for anything else."""
    if len(text) == 24 and text[19] == "." and text[23] == "Z" and text[20:23].isdecimal():
        second = _seconds.get(text[:19])
        if second is None:
            if len(_seconds) > 200_000:
                _seconds.clear()
            second = _seconds[text[:19]] = _parse(text[:19] + "Z")
        return second + int(text[20:23]) * 1000
    return _parse(text)


def _parse(text: str) -> int:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable("wrong_type") from None
    if parsed.tzinfo is None:
        raise Unreadable("wrong_type")
    return round((parsed - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
