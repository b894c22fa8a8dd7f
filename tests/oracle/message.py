"""What all raw messages have in common, read a second time and independently of the product.

Holds: strict JSON, keys, times, and how a reader of one stream is put together from what its messages look like.
Does not hold: what any field means (`reading`, `lab_result`, `adt_event`, `medication_event`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

PATIENT_KEY = re.compile(rb"P[0-9]{6,12}")
DEVICE_KEY = re.compile(rb"device:[A-Za-z0-9._-]{1,64}")
AHEAD_US = 3_600 * 1_000_000
EARLIEST_US = 946_684_800 * 1_000_000

MOMENT = pa.timestamp("us", "UTC")
WORD = pa.dictionary(pa.int32(), pa.string())
COUNT_LIMIT = 1 << 63


class Unreadable(Exception):
    """A message that cannot become a row; its one argument is the fault."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the messages of one stream look like.

    Attributes:
        schema: the columns a message gives: `fault` (why it cannot be a row, null: it must be one; then every other
            column is null), `event_id`, `patient_id`, those of `row`, and last `unknown_size`: bytes of the fields that
            the stream does not know, as compact JSON, and `unknown_digest` of what they say; null where there are none.
        texts: field -> least and most characters; all must be strings where they are given.
        others: further fields that the stream knows; a value of objects' fields where it is an object.
        required: fields that must be there.
        time: the field that says when it happened.
        row: the message's cells between `patient_id` and `unknown_size`; raises `Unreadable`.
        needs_patient: whether a device's key will not do.
    """

    schema: pa.Schema
    texts: Mapping[str, tuple[int, int]]
    others: Mapping[str, frozenset[str] | None]
    required: tuple[str, ...]
    time: str
    row: Callable[[dict[str, Any], int], tuple]
    needs_patient: bool = True
    known: frozenset[str] = field(init=False)
    objects: tuple[tuple[str, frozenset[str]], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", frozenset((*self.texts, *self.others)))
        objects = tuple((name, inner) for name, inner in self.others.items() if inner is not None)
        object.__setattr__(self, "objects", objects)


def read(
    shape: Shape, keys: Sequence[bytes | None], values: Sequence[bytes | None], appended_us: np.ndarray
) -> pa.Table:
    """One row of `shape.schema` a message, in order. `appended_us`: int64[n], Kafka's append time, microseconds UTC."""
    columns: dict[str, list] = {name: [] for name in shape.schema.names}
    nothing = (None,) * (len(shape.schema) - 1)
    for key, value, appended in zip(keys, values, appended_us.tolist(), strict=True):
        try:
            row = _row(shape, key, value, appended)
        except Unreadable as unreadable:
            row = (unreadable.args[0], *nothing)
        for column, cell in zip(columns.values(), row, strict=True):
            column.append(cell)
    arrays = {name: _array(shape.schema.field(name).type, cells) for name, cells in columns.items()}
    return pa.table(arrays, schema=shape.schema)


def _array(wanted: pa.DataType, cells: list) -> pa.Array:
    if pa.types.is_dictionary(wanted):
        return pa.array(cells, pa.string()).dictionary_encode()
    return pa.array(cells, wanted)


def _row(shape: Shape, key: bytes | None, value: bytes | None, appended_us: int) -> tuple:
    person = _person(key, shape.needs_patient)
    message = _object(shape, value)
    at_us = micros(message[shape.time])
    if not EARLIEST_US <= at_us <= appended_us + AHEAD_US:
        raise Unreadable("implausible_time")
    if message.get("patient_id") != person:
        raise Unreadable("missing_subject" if message.get("patient_id") is None else "subject_mismatch")
    return None, message["event_id"], person, *shape.row(message, at_us), *_unknown(shape, message)


def _person(key: bytes | None, needed: bool) -> str | None:
    """The patient of a key; None for a device's."""
    if key is not None and PATIENT_KEY.fullmatch(key):
        return key.decode()
    if needed or key is None or not DEVICE_KEY.fullmatch(key):
        raise Unreadable("unreadable_key")
    return None


def _object(shape: Shape, value: bytes | None) -> dict[str, Any]:
    """The message's one JSON object with every text of its type and length."""
    if not value:
        raise Unreadable("empty_message")
    try:
        message = _STRICT.decode(value.decode("utf-8"))
    except UnicodeDecodeError:
        raise Unreadable("invalid_utf8") from None
    except (ValueError, RecursionError):
        raise Unreadable("malformed_json") from None
    if type(message) is not dict or any(message.get(name) is None for name in shape.required):
        raise Unreadable("wrong_type")
    for name, (least, most) in shape.texts.items():
        text = message.get(name)
        if text is not None and (type(text) is not str or not least <= len(text) <= most):
            raise Unreadable("wrong_type")
    return message


def _unknown(shape: Shape, message: dict[str, Any]) -> tuple[int, bytes] | tuple[None, None]:
    unknown = (
        {} if message.keys() <= shape.known else {n: value for n, value in message.items() if n not in shape.known}
    )
    for name, inner in shape.objects:
        if type(message.get(name)) is dict:
            within = {each: value for each, value in message[name].items() if each not in inner}
            unknown |= {name: within} if within else {}
    if not unknown:
        return None, None
    return len(json.dumps(unknown, separators=(",", ":"), ensure_ascii=False).encode()), said_digest(unknown)


def said_digest(said: object) -> bytes:
    """sha256 of what a JSON value says, however it is written."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


def _no_constant(name: str) -> float:
    raise ValueError(name)


_STRICT = json.JSONDecoder(parse_constant=_no_constant)


def is_number(value: object) -> bool:
    return type(value) in (int, float)


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < COUNT_LIMIT


def moment_or_none(text: str | None) -> int | None:
    return None if text is None else micros(text)


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
