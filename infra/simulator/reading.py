"""A device reading and its JSON, as a monitor or its gateway writes it (stream `device.vitals`).

Holds: the message format a front door produces.
Does not hold: the contract itself; a simulated device is the outside world and writes its bytes without our help.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple


class Reading(NamedTuple):
    """One reading. Times are milliseconds since 1970 UTC; `value` or `text_value` is None."""

    event_id: str
    patient_id: str | None
    device_id: str
    ward: str
    code: str
    value: float | None
    text_value: str | None
    unit: str | None
    event_ms: int
    received_ms: int | None
    seq: int


def encode(reading: Reading, value_literal: str | None = None, event_time: str | None = None) -> str:
    """The reading as one JSON object without white space.

    `value_literal` and `event_time` replace those fields' text: the way for a fault to write what no number or
    date can hold.
    """
    r = reading
    return (
        f'{{"event_id":"{r.event_id}","patient_id":{_quoted(r.patient_id)},"device_id":"{r.device_id}",'
        f'"ward":"{r.ward}","code":"{r.code}",{_value(r, value_literal)},'
        f'"event_time":"{event_time or iso_utc(r.event_ms)}",'
        f'"received_at":{_quoted(None if r.received_ms is None else iso_utc(r.received_ms))},"seq":{r.seq}}}'
    )


def iso_utc(at_ms: int) -> str:
    """ISO 8601 with milliseconds and `Z`."""
    return f"{_to_the_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _to_the_second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))


def _quoted(text: str | None) -> str:
    return "null" if text is None else f'"{text}"'


def _value(reading: Reading, literal: str | None) -> str:
    if reading.text_value is not None and literal is None:
        return f'"text_value":"{reading.text_value}"'
    return f'"value":{literal or reading.value},"unit":{_quoted(reading.unit)}'
