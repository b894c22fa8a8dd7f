"""What a raw message of `device.vitals` or `iot.patient` says, read independently of the product.

Holds: the vocabulary restated (codes, UCUM conversions, plausible ranges), and the row that must come of a message.
Does not hold: Kafka or the lake; laboratory analytes (`lab_result`).

Four million messages take under two minutes: one pass of Python over the raw bytes, everything after it in columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from .message import MOMENT, WORD, Shape, Unreadable, is_count, is_number, moment_or_none, read

ROW_SCHEMA = pa.schema(
    [
        ("fault", WORD),
        ("event_id", pa.string()),
        ("patient_id", WORD),
        ("device_id", WORD),
        ("ward", WORD),
        ("code", WORD),
        ("numeric_value", pa.float64()),
        ("text_value", WORD),
        ("samples", pa.list_(pa.float64())),
        ("period_ms", pa.float64()),
        ("unit", WORD),
        ("quality_flag", WORD),
        ("event_time", MOMENT),
        ("received_at", MOMENT),
        ("seq", pa.int64()),
        ("unknown_size", pa.int32()),
        ("unknown_digest", pa.binary(32)),
    ]
)

Units = Mapping[str, tuple[float, float]]
"""unit -> (factor, offset) to the canonical one"""


class Measure(NamedTuple):
    """A code that is measured: canonical unit, its units, least and greatest plausible value."""

    unit: str
    units: Units
    low: float
    high: float


_RATE = {"/min": (1.0, 0.0), "1/min": (1.0, 0.0)}
_PRESSURE = {"mm[Hg]": (1.0, 0.0), "kPa": (7.500616827, 0.0)}
_TEMPERATURE = {"Cel": (1.0, 0.0), "[degF]": (5 / 9, -160 / 9), "K": (1.0, -273.15)}
_FLOW = {"L/min": (1.0, 0.0), "l/min": (1.0, 0.0), "mL/min": (0.001, 0.0), "ml/min": (0.001, 0.0)}
_WEIGHT = {"kg": (1.0, 0.0), "g": (0.001, 0.0), "[lb_av]": (0.45359237, 0.0)}

FIO2 = Measure("%", {"%": (1.0, 0.0), "1": (100.0, 0.0)}, 20, 100)
_EVERYWHERE = {
    "8867-4": Measure("/min", {**_RATE, "{beats}/min": (1.0, 0.0), "{beat}/min": (1.0, 0.0)}, 10, 350),
    "9279-1": Measure("/min", {**_RATE, "{breaths}/min": (1.0, 0.0), "{breath}/min": (1.0, 0.0)}, 1, 150),
    "59408-5": Measure("%", {"%": (1.0, 0.0)}, 1, 100),
    "8480-6": Measure("mm[Hg]", _PRESSURE, 20, 375),
    "8462-4": Measure("mm[Hg]", _PRESSURE, 5, 375),
    "8478-0": Measure("mm[Hg]", _PRESSURE, 14, 330),
    "8310-5": Measure("Cel", _TEMPERATURE, 26, 45),
    "29463-7": Measure("kg", _WEIGHT, 0.3, 500),
}
BEDSIDE = _EVERYWHERE | {
    "3151-8": Measure("L/min", _FLOW, 0, 100),
    "3150-0": FIO2,
    "19891-1": Measure("mm[Hg]", _PRESSURE, 1, 150),
}
WORN = _EVERYWHERE | {
    "99504-3": Measure("mg/dL", {"mg/dL": (1.0, 0.0), "mmol/L": (18.016, 0.0)}, 20, 600),
    "55423-8": Measure("{steps}", {"{steps}": (1.0, 0.0), "1": (1.0, 0.0)}, 0, 200_000),
}
WAVES = {
    "131330": Measure("mV", {"mV": (1.0, 0.0), "uV": (0.001, 0.0)}, -20, 20),
    "150452": Measure("1", {"1": (1.0, 0.0), "%": (0.01, 0.0)}, -1e6, 1e6),
}
WORDS = {"80288-4": frozenset("ACVPU"), "3151-8": frozenset(("air", "oxygen"))}
PULSATILE = frozenset(("8867-4", "59408-5", "8480-6", "8462-4", "8478-0"))
"""Signals in which zero means that the probe is off, not that the patient has none."""


def _cells(
    measures: Mapping[str, Measure], words: Mapping[str, frozenset], message: dict[str, Any], at_us: int
) -> tuple:
    seq = message.get("seq")
    if seq is not None and not is_count(seq):
        raise Unreadable("wrong_type")
    code, value, text, wave = message["code"], message.get("value"), message.get("text_value"), message.get("values")
    if code not in measures and code not in WAVES and code not in words:
        raise Unreadable("unknown_code")
    if (value is None) + (text is None) + (wave is None) != 2 or (message.get("period_ms") is None) != (wave is None):
        raise Unreadable("no_value")
    if value is not None:
        measured = _number(measures, code, message)
    else:
        measured = _word(words, code, message) if wave is None else _wave(measures, code, message)
    return (
        message.get("device_id"), message.get("ward"), code, *measured, at_us,
        moment_or_none(message.get("received_at")), seq,
    )  # fmt: skip


def _word(words: Mapping[str, frozenset], code: str, message: dict[str, Any]) -> tuple:
    if message["text_value"] not in words.get(code, ()) or message.get("unit") is not None:
        raise Unreadable("unknown_word")
    return None, message["text_value"], None, None, None, None


def _number(measures: Mapping[str, Measure], code: str, message: dict[str, Any]) -> tuple:
    if code not in measures:
        raise Unreadable("no_value")
    number = converted(measures[code], message.get("unit"), message["value"])
    return number, None, None, None, measures[code].unit, flag(code, measures[code], number)


def _wave(measures: Mapping[str, Measure], code: str, message: dict[str, Any]) -> tuple:
    values, period_ms = message["values"], message["period_ms"]
    measure = WAVES.get(code) or measures.get(code)
    if measure is None or type(values) is not list or not values:
        raise Unreadable("no_value")
    if not is_number(period_ms) or not 0.001 <= period_ms <= 3_600_000:
        raise Unreadable("out_of_bounds")
    samples = [converted(measure, message.get("unit"), value) for value in values]
    flags = {flag(code, measure, sample) for sample in samples}
    gravest = next((word for word in ("probe_off", "out_of_range") if word in flags), None)
    return None, None, samples, float(period_ms), measure.unit, gravest


def converted(measure: Measure, unit: str | None, value: object) -> float:
    """The number in the canonical unit. Raises `Unreadable`."""
    if not is_number(value):
        raise Unreadable("wrong_type")
    if unit not in measure.units:
        raise Unreadable("unknown_unit")
    factor, offset = measure.units[unit]
    number = float(value) * factor + offset  # ty: ignore[invalid-argument-type]
    if not abs(number) < float("inf"):
        raise Unreadable("not_finite")
    return number


def flag(code: str, measure: Measure, number: float) -> str | None:
    """What is kept, and not to be counted."""
    if number == 0 and code in PULSATILE:
        return "probe_off"
    return None if measure.low <= number <= measure.high else "out_of_range"


_TEXTS = {
    "event_id": (1, 64), "patient_id": (1, 64), "device_id": (1, 64), "ward": (0, 64), "code": (1, 16),
    "text_value": (0, 32), "unit": (0, 32), "event_time": (1, 64), "received_at": (1, 64),
}  # fmt: skip
_OTHERS = dict.fromkeys(("value", "values", "period_ms", "seq"))


def _shape(measures: Mapping[str, Measure], words: Mapping[str, frozenset]) -> Shape:
    row, required = partial(_cells, measures, words), ("event_id", "code", "event_time")
    return Shape(ROW_SCHEMA, _TEXTS, _OTHERS, required, "event_time", row, needs_patient=False)


read_messages = partial(read, _shape(BEDSIDE, WORDS))
"""`device.vitals`: (keys, values, append times in microseconds) -> one row of `ROW_SCHEMA` a message."""
read_wearables = partial(read, _shape(WORN, {}))
"""`iot.patient`, likewise."""
