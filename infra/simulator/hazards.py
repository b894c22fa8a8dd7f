"""What befalls right messages on their way to Kafka: damaged copies, repetitions, lateness, fields nobody knows.

Holds: the faults of each stream with the reject reason each must earn, and when one strikes.
Does not hold: the right messages; nor the monitors' numbers, which have their own troubles (`ward`, `faults`).

A damaged message is one more, sent just before the right one it resembles and under an id of its own: senders notice,
mend and send again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from random import Random
from typing import Any

from infra.simulator.message import Message, encoded, new_id
from infra.simulator.script import MINUTE_MS
from infra.simulator.ward import DUPLICATE, REJECT, ROW, Event

ADMISSIONS, LABORATORY, PHARMACY, VITALS, WEARABLES = (
    "adt.events", "lab.results", "medication.events", "device.vitals", "iot.patient",
)  # fmt: skip
TIME_FIELD = {LABORATORY: "collected_at"}
"""Which field says when it happened, where it is not `event_time`."""


@dataclass(frozen=True, slots=True)
class Hazards:
    """How often trouble strikes, as shares of a stream's messages; in a small stream more often."""

    faults: float = 0.06
    duplicates: float = 0.04
    late: float = 0.03
    unknown_fields: float = 0.03

    @classmethod
    def none(cls) -> Hazards:
        """Every message arrives once, whole, in time, and says nothing unknown."""
        return cls(0, 0, 0, 0)


LEAST = 8
"""So many times, about, should each hazard befall a stream."""

Spoil = Callable[[dict[str, Any], str], bytes | None]


@dataclass(frozen=True, slots=True)
class StreamFault:
    """One kind of damage: `spoil(fields, name of the time field)` gives the bytes sent; `reason` is the reject's."""

    kind: str
    reason: str
    spoil: Spoil


def _with(**changes: Any) -> Spoil:
    """The message with these fields instead; a change to `...` leaves the field out."""

    def spoil(fields: dict[str, Any], _time: str) -> bytes:
        return encoded({name: value for name, value in (fields | changes).items() if value is not ...})

    return spoil


def _at(moment: str) -> Spoil:
    return lambda fields, time: encoded(fields | {time: moment})


def _invalid_utf8(fields: dict[str, Any], _time: str) -> bytes:
    return encoded(fields).replace(b'"patient_id":"', b'"patient_id":"\xff\xfe', 1)


_ANY = (
    StreamFault("truncated", "malformed_json", lambda fields, _: encoded(fields)[:45]),
    StreamFault("tombstone", "tombstone", lambda fields, _: None),
    StreamFault("subject_mismatch", "subject_mismatch", _with(patient_id="P999999")),
    StreamFault("far_future", "time_in_future", _at("9999-12-31T23:59:59.999Z")),
    StreamFault("two_objects", "several_objects", lambda fields, _: encoded(fields) * 2),
    StreamFault("clock_unset", "implausible_time", _at("1970-01-01T00:00:07.000Z")),
    StreamFault("empty", "empty_message", lambda fields, _: b""),
    StreamFault("no_time_zone", "time_without_zone", _at("2026-11-22T01:02:03.456")),
    StreamFault("missing_field", "missing_field", _with(event_id=...)),
    StreamFault("invalid_utf8", "invalid_utf8", _invalid_utf8),
    StreamFault("not_json", "malformed_json", lambda fields, _: b"interface restarted, please wait"),
)
_NUMBER = {"code": "8867-4", "value": 71.0, "unit": "/min", "text_value": ..., "values": ..., "period_ms": ...}
_WAVE = {"code": "131330", "values": [0.1, 0.2], "period_ms": 4.0, "unit": "mV", "value": ..., "text_value": ...}
_RESULT = {"code": "2524-7", "value": 2.1, "unit": "mmol/L", "status": "F"}

_OBSERVED = (
    StreamFault("unknown_unit", "unknown_unit", _with(**_NUMBER | {"unit": "bpm"})),
    StreamFault("wave_without_period", "missing_period", _with(**_WAVE | {"period_ms": ...})),
    StreamFault("unknown_code", "unknown_code", _with(**_NUMBER | {"code": "X8867-4"})),
    StreamFault("wave_and_number", "unexpected_value", _with(**_WAVE | {"value": 0.1})),
    StreamFault("missing_value", "missing_value", _with(**_NUMBER | {"value": None})),
    StreamFault("wave_of_words", "wrong_type", _with(**_WAVE | {"values": [0.1, "lead off"]})),
    StreamFault("empty_wave", "missing_value", _with(**_WAVE | {"values": []})),
    StreamFault("missing_unit", "missing_unit", _with(**_NUMBER | {"unit": ...})),
    StreamFault("missing_subject", "missing_subject", _with(patient_id=None)),
)
OF_STREAM = {
    VITALS: _OBSERVED,
    WEARABLES: (
        StreamFault("glucose_case", "unknown_unit", _with(**_NUMBER | {"code": "99504-3", "unit": "MG/DL"})),
        *_OBSERVED,
    ),
    LABORATORY: (
        StreamFault("unknown_unit", "unknown_unit", _with(**_RESULT | {"unit": "mmol/l/kg"})),
        StreamFault("unit_of_another", "unknown_unit", _with(**_RESULT | {"unit": "10*9/L"})),
        StreamFault("local_code", "unknown_code", _with(**_RESULT | {"code": "LACT"})),
        StreamFault("missing_value", "missing_value", _with(**_RESULT | {"value": None})),
        StreamFault("withdrawn_with_value", "unexpected_value", _with(**_RESULT | {"status": "X"})),
        StreamFault("unknown_status", "wrong_pattern", _with(status="Z")),
        StreamFault("unknown_comparator", "wrong_pattern", _with(comparator="~")),
        StreamFault("word_for_number", "wrong_type", _with(**_RESULT | {"value": "haemolysed"})),
        StreamFault("no_patient", "missing_field", _with(patient_id=None)),
    ),
    ADMISSIONS: (
        StreamFault("unknown_trigger", "wrong_pattern", _with(type="A99")),
        StreamFault("no_such_day", "unreadable_date", _with(birth_date="1958-13-02")),
        StreamFault("no_stay", "missing_field", _with(stay_id=...)),
        StreamFault("no_such_sex", "wrong_pattern", _with(sex="X")),
        StreamFault("name_is_text", "wrong_type", _with(name="Example, Alex")),
    ),
    PHARMACY: (
        StreamFault("spoons", "unknown_unit", _with(dose=2.0, unit="spoons")),
        StreamFault("dose_without_unit", "missing_unit", _with(dose=2.0, unit=None)),
        StreamFault("negative_dose", "out_of_bounds", _with(dose=-1.0, unit="mg")),
        StreamFault("unknown_action", "wrong_pattern", _with(action="swallowed")),
    ),
}  # fmt: skip

_NEWS = ({"firmware": "2.1"}, {"vendor": {"site": 7, "batch": "7f"}}, {"comment": "überprüft"}, {"channels": [1, 2]})
"""What a sender's next version says beside all it said before."""


def disturbed(messages: Iterable[Message], rng: Random, end_ms: int, hazards: Hazards) -> list[Event]:
    """The messages of one stream with their share of trouble, in the order of sending.

    What is late leaves at the latest at `end_ms` (ward time, milliseconds since 1970 UTC).
    """
    struck, events, messages = 0, [], list(messages)
    hazards = _often_enough(hazards, len(messages))
    for number, message in enumerate(messages):
        if rng.random() < hazards.faults:
            events.append(_damaged(message, struck, rng))
            struck += 1
        message = _saying_more(message, number, rng, hazards)
        events += _sent(message, rng, hazards)
    capped = [event._replace(due_ms=min(event.due_ms, end_ms)) for event in events]
    return sorted(capped, key=lambda event: event.due_ms)


def _often_enough(hazards: Hazards, messages: int) -> Hazards:
    """The same, but for a stream so small that it would hardly see any: each then about `LEAST` times."""
    least = min(0.25, LEAST / max(1, messages))
    return Hazards(*(share and max(share, least) for share in astuple(hazards)))


def _damaged(message: Message, struck: int, rng: Random) -> Event:
    faults = [fault for pair in zip(OF_STREAM[message.stream], _ANY, strict=False) for fault in pair]
    faults += [fault for fault in (*OF_STREAM[message.stream], *_ANY) if fault not in faults]
    fault = faults[struck % len(faults)]
    named = message._replace(kind=fault.kind, fields=message.fields | {"event_id": new_id(rng)})
    value = fault.spoil(named.fields, TIME_FIELD.get(message.stream, "event_time"))
    if message.patient is None and fault.kind in ("missing_subject", "invalid_utf8"):
        return _event(named)._replace(kind=message.kind)
    return _event(named)._replace(value=value, fate=REJECT, reason=fault.reason)


def _saying_more(message: Message, number: int, rng: Random, hazards: Hazards) -> Message:
    if rng.random() >= hazards.unknown_fields:
        return message
    return message._replace(kind="unknown_fields", fields=message.fields | _NEWS[number % len(_NEWS)])


def _sent(message: Message, rng: Random, hazards: Hazards) -> list[Event]:
    event = _event(message)
    if rng.random() < hazards.late:
        event = event._replace(kind="late", due_ms=event.due_ms + rng.randrange(2 * MINUTE_MS, 40 * MINUTE_MS))
    if rng.random() >= hazards.duplicates:
        return [event]
    again_ms = event.due_ms + rng.randrange(1, 30_000)
    return [event, event._replace(kind="repeated", fate=DUPLICATE, due_ms=again_ms)]


def _event(message: Message) -> Event:
    return Event(
        message.key, message.encode(), message.kind, message.fields["event_id"], message.patient, message.due_ms, ROW,
        None, message.stream,
    )  # fmt: skip
