"""What a raw message of `adt.events` says, read independently of the product.

Holds: the row that must come of an event: of the date of birth the year, of name and identifiers nothing.
Does not hold: stays; they are folded from many events.
"""

from __future__ import annotations

import re
from datetime import date
from functools import partial
from typing import Any

import pyarrow as pa

from .message import MOMENT, WORD, Shape, Unreadable, moment_or_none, read

ROW_SCHEMA = pa.schema(
    [
        ("fault", WORD),
        ("event_id", pa.string()),
        ("patient_id", WORD),
        ("stay_id", WORD),
        ("type", WORD),
        ("ward", WORD),
        ("bed", WORD),
        ("event_time", MOMENT),
        ("recorded_at", MOMENT),
        ("birth_year", pa.int32()),
        ("sex", WORD),
        ("unknown_size", pa.int32()),
        ("unknown_digest", pa.binary(32)),
    ]
)
_TRIGGERS = frozenset(("A01", "A02", "A03", "A04", "A08", "A11", "A12", "A13"))
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _cells(message: dict[str, Any], at_us: int) -> tuple:
    if message["type"] not in _TRIGGERS or message.get("sex") not in (None, *"FMOUAN"):
        raise Unreadable("wrong_pattern")
    name = message.get("name")
    if name is not None and (type(name) is not dict or not all(_is_name(name.get(n)) for n in ("family", "given"))):
        raise Unreadable("wrong_type")
    return (
        message["stay_id"], message["type"], message.get("ward"), message.get("bed"), at_us,
        moment_or_none(message.get("recorded_at")), _year(message.get("birth_date")), message.get("sex"),
    )  # fmt: skip


def _is_name(text: object) -> bool:
    return text is None or (type(text) is str and len(text) <= 128)


def _year(text: str | None) -> int | None:
    if text is None:
        return None
    if not _DAY.fullmatch(text):
        raise Unreadable("unreadable_date")
    try:
        return date.fromisoformat(text).year
    except ValueError:
        raise Unreadable("unreadable_date") from None


_TEXTS = {
    "event_id": (1, 64), "patient_id": (1, 64), "stay_id": (1, 64), "type": (3, 3), "ward": (0, 64), "bed": (0, 32),
    "event_time": (1, 64), "recorded_at": (1, 64), "birth_date": (0, 64), "sex": (0, 1),
}  # fmt: skip
_OTHERS = {"identifiers": None, "name": frozenset(("family", "given"))}
_REQUIRED = ("event_id", "patient_id", "stay_id", "type", "event_time")
read_admissions = partial(read, Shape(ROW_SCHEMA, _TEXTS, _OTHERS, _REQUIRED, "event_time", _cells))
"""(keys, values, append times in microseconds) -> one row of `ROW_SCHEMA` a message."""
