"""What a raw message of `medication.events` says, read independently of the product.

Holds: doses in the canonical unit of their kind, restated, and the row that must come of an event.
Does not hold: any drug.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa

from .message import MOMENT, WORD, Shape, Unreadable, is_number, read

ROW_SCHEMA = pa.schema(
    [
        ("fault", WORD),
        ("event_id", pa.string()),
        ("patient_id", WORD),
        ("order_id", pa.string()),
        ("action", WORD),
        ("code", WORD),
        ("dose", pa.float64()),
        ("unit", WORD),
        ("route", WORD),
        ("event_time", MOMENT),
        ("unknown_size", pa.int32()),
        ("unknown_digest", pa.binary(32)),
    ]
)

# canonical unit of a kind -> the units of that kind and what one of them is in it
KINDS = {
    "mg": {"mg": 1.0, "g": 1_000.0, "ug": 0.001, "kg": 1e6, "ng": 1e-6},
    "mL": {"mL": 1.0, "L": 1_000.0, "ml": 1.0, "l": 1_000.0, "dL": 100.0, "uL": 0.001},
    "[IU]": {"[IU]": 1.0, "k[IU]": 1_000.0},
    "mmol": {"mmol": 1.0, "mol": 1_000.0, "umol": 0.001},
    "meq": {"meq": 1.0, "eq": 1_000.0},
    "mg/h": {"mg/h": 1.0, "g/h": 1_000.0, "ug/h": 0.001, "mg/min": 60.0, "ug/min": 0.06},
    "mL/h": {"mL/h": 1.0, "L/h": 1_000.0, "ml/h": 1.0, "mL/min": 60.0},
    "[IU]/h": {"[IU]/h": 1.0, "[IU]/min": 60.0},
    "ug/kg/min": {"ug/kg/min": 1.0, "mg/kg/min": 1_000.0, "ug/kg/h": 1 / 60, "mg/kg/h": 1_000 / 60},
    "meq/h": {"meq/h": 1.0},
    "1": {"1": 1.0, "{tablet}": 1.0, "{capsule}": 1.0, "{puff}": 1.0, "[drp]": 1.0, "{dose}": 1.0},
}
UNITS = {unit: (kind, factor) for kind, units in KINDS.items() for unit, factor in units.items()}


def _cells(message: dict[str, Any], at_us: int) -> tuple:
    action, dose, unit = message["action"], message.get("dose"), message.get("unit")
    if action not in ("ordered", "administered", "stopped", "fulfilled"):
        raise Unreadable("wrong_pattern")
    if dose is not None and (not is_number(dose) or dose < 0 or unit is None):
        raise Unreadable("no_dose")
    if unit is not None and unit not in UNITS:
        raise Unreadable("unknown_unit")
    kind, factor = UNITS.get(unit, (None, 1.0))
    amount = None if dose is None else float(dose) * factor
    if amount is not None and not abs(amount) < float("inf"):
        raise Unreadable("not_finite")
    return message["order_id"], action, message["code"], amount, kind, message.get("route"), at_us


_TEXTS = {
    "event_id": (1, 64), "patient_id": (1, 64), "order_id": (1, 64), "action": (1, 16), "code": (1, 64),
    "unit": (0, 32), "route": (0, 32), "event_time": (1, 64),
}  # fmt: skip
_REQUIRED = ("event_id", "patient_id", "order_id", "action", "code", "event_time")
read_medication = partial(read, Shape(ROW_SCHEMA, _TEXTS, {"dose": None}, _REQUIRED, "event_time", _cells))
"""(keys, values, append times in microseconds) -> one row of `ROW_SCHEMA` a message."""
