"""What a raw message of `lab.results` says, read independently of the product.

Holds: the analytes restated with their units, conversions and plausible ranges, and the row that must come of a result.
Does not hold: which version of a result is the current one.

Conversions from molar masses: glucose 180.16 g/mol, creatinine 113.12, bilirubin 584.66, lactic acid 90.08, urea's
nitrogen 28.01, calcium 40.078, magnesium 24.305, phosphorus 30.974; haemoglobin per monomer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa

from .message import MOMENT, WORD, Shape, Unreadable, micros, read
from .reading import FIO2, Measure, converted, flag

ROW_SCHEMA = pa.schema(
    [
        ("fault", WORD),
        ("event_id", pa.string()),
        ("patient_id", WORD),
        ("order_id", pa.string()),
        ("code", WORD),
        ("numeric_value", pa.float64()),
        ("comparator", WORD),
        ("unit", WORD),
        ("status", WORD),
        ("collected_at", MOMENT),
        ("reported_at", MOMENT),
        ("lab", WORD),
        ("quality_flag", WORD),
        ("unknown_size", pa.int32()),
        ("unknown_digest", pa.binary(32)),
    ]
)


def _in(unit: str, low: float, high: float, factors: dict[str, float] | None = None) -> Measure:
    return Measure(unit, {unit: (1.0, 0.0), **{name: (by, 0.0) for name, by in (factors or {}).items()}}, low, high)


_MOLAR, _CELLS, _ENZYME = {"meq/L": 1.0}, {"10*9/L": 1.0, "/uL": 0.001}, {"[IU]/L": 1.0}
_SUGAR = {"mmol/L": 18.016}
_TROPONIN = {"ug/L": 1.0, "ng/L": 0.001, "pg/mL": 0.001}
ANALYTES = {
    "2524-7": _in("mmol/L", 0.05, 50, {"mg/dL": 1 / 9.008}),
    "2160-0": _in("mg/dL", 0.05, 60, {"umol/L": 1 / 88.40}),
    "1975-2": _in("mg/dL", 0, 100, {"umol/L": 1 / 17.10}),
    "1968-7": _in("mg/dL", 0, 80, {"umol/L": 1 / 17.10}),
    "777-3": _in("10*3/uL", 0, 3_000, _CELLS),
    "6690-2": _in("10*3/uL", 0, 1_000, _CELLS),
    "789-8": _in("10*6/uL", 0.1, 15, {"10*12/L": 1.0}),
    "718-7": _in("g/dL", 0.5, 30, {"g/L": 0.1, "mmol/L": 1.6114}),
    "4544-3": _in("%", 1, 85, {"1": 100.0, "L/L": 100.0}),
    "2345-7": _in("mg/dL", 1, 3_000, _SUGAR),
    "2339-0": _in("mg/dL", 1, 3_000, _SUGAR),
    "2823-3": _in("mmol/L", 0.5, 20, _MOLAR),
    "2951-2": _in("mmol/L", 60, 250, _MOLAR),
    "2075-0": _in("mmol/L", 30, 220, _MOLAR),
    "1963-8": _in("mmol/L", 0.5, 80, _MOLAR),
    "1863-0": _in("mmol/L", -50, 100, _MOLAR),
    "3094-0": _in("mg/dL", 0.5, 400, {"mmol/L": 2.801}),
    "17861-6": _in("mg/dL", 1, 30, {"mmol/L": 4.0078}),
    "1994-3": _in("mmol/L", 0.1, 8, {"mg/dL": 1 / 4.0078}),
    "19123-9": _in("mg/dL", 0.1, 25, {"mmol/L": 2.4305, "meq/L": 1.21525}),
    "2777-1": _in("mg/dL", 0.05, 40, {"mmol/L": 3.0974}),
    "1920-8": _in("U/L", 0, 50_000, _ENZYME),
    "1742-6": _in("U/L", 0, 50_000, _ENZYME),
    "6768-6": _in("U/L", 0, 10_000, _ENZYME),
    "1751-7": _in("g/dL", 0.2, 10, {"g/L": 0.1}),
    "1988-5": _in("mg/L", 0, 1_000, {"mg/dL": 10.0}),
    "33959-8": _in("ng/mL", 0, 1_000, {"ug/L": 1.0}),
    "10839-9": _in("ng/mL", 0, 1_000, _TROPONIN),
    "6598-7": _in("ng/mL", 0, 1_000, _TROPONIN),
    "14979-9": _in("s", 1, 500),
    "5902-2": _in("s", 1, 500),
    "6301-6": _in("{INR}", 0.1, 50, {"1": 1.0}),
    "3255-7": _in("mg/dL", 5, 3_000, {"g/L": 100.0}),
    "2744-1": _in("[pH]", 6, 8.5, {"1": 1.0}),
    "2019-8": _in("mm[Hg]", 3, 300, {"kPa": 7.500616827}),
    "2703-7": _in("mm[Hg]", 5, 800, {"kPa": 7.500616827}),
    "2708-6": _in("%", 1, 100, {"1": 100.0}),
    "11555-0": _in("mmol/L", -60, 60, _MOLAR),
    "3150-0": FIO2,
}


def _cells(message: dict[str, Any], at_us: int) -> tuple:
    code, status, comparator, unit = (message.get(name) for name in ("code", "status", "comparator", "unit"))
    if status not in ("P", "F", "C", "X") or comparator not in (None, "<", "<=", ">", ">="):
        raise Unreadable("wrong_pattern")
    if code not in ANALYTES:
        raise Unreadable("unknown_code")
    analyte, value = ANALYTES[code], message.get("value")
    if (value is None) != (status == "X"):
        raise Unreadable("no_value")
    if unit is not None and unit not in analyte.units:
        raise Unreadable("unknown_unit")
    number = None if value is None else converted(analyte, unit, value)
    return (
        message["order_id"], code, number, comparator, None if number is None else analyte.unit, status, at_us,
        micros(message["reported_at"]), message.get("lab"), None if number is None else flag(code, analyte, number),
    )  # fmt: skip


_TEXTS = {
    "event_id": (1, 64), "patient_id": (1, 64), "order_id": (1, 64), "code": (1, 16), "comparator": (0, 2),
    "unit": (0, 32), "status": (1, 1), "collected_at": (1, 64), "reported_at": (1, 64), "lab": (0, 64),
}  # fmt: skip
_REQUIRED = ("event_id", "patient_id", "order_id", "code", "status", "collected_at", "reported_at")
read_results = partial(read, Shape(ROW_SCHEMA, _TEXTS, {"value": None}, _REQUIRED, "collected_at", _cells))
"""(keys, values, append times in microseconds) -> one row of `ROW_SCHEMA` a message."""
