"""What goes wrong with a message between a monitor and Kafka, and what must become of it.

Holds: every kind of damage as a pure function from a good reading to bytes, with the reject reason it must earn.
Does not hold: when damage strikes (`ward`), nor harmless trouble of time (late, out of order, repeated), which
leaves a message whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.simulator.reading import Reading, encode


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of damage: `spoil` gives the bytes sent; `reason` is the reject's, None where it must become a row."""

    kind: str
    reason: str | None
    spoil: Callable[[Reading], bytes | None]


def _replaced(old: str, new: str) -> Callable[[Reading], bytes]:
    def spoil(reading: Reading) -> bytes:
        text = encode(reading)
        spoiled = text.replace(old, new, 1)
        if spoiled == text:
            raise ValueError(f"no {old} in the message to spoil")
        return spoiled.encode()

    return spoil


def _number_as(literal: str) -> Callable[[Reading], bytes]:
    return lambda reading: encode(reading, value_literal=literal).encode()


def _at_time(event_time: str) -> Callable[[Reading], bytes]:
    return lambda reading: encode(reading, event_time=event_time).encode()


def _truncated(reading: Reading) -> bytes:
    return encode(reading)[: 40 + reading.seq % 60].encode()


def _two_objects(reading: Reading) -> bytes:
    text = encode(reading)
    return (text + text).encode()


def _invalid_utf8(reading: Reading) -> bytes:
    return encode(reading).encode().replace(b'"device_id":"', b'"device_id":"\xff\xfe', 1)


def _someone_else(reading: Reading) -> bytes:
    return encode(reading._replace(patient_id="P999999")).encode()


def _nobody(reading: Reading) -> bytes:
    return encode(reading._replace(patient_id=None)).encode()


def _larger_than_usual(reading: Reading) -> bytes:
    """A right message that carries 200 kB of white space, as a gateway that pretty-prints might send."""
    text = encode(reading)
    return (text[:1] + " " * 200_000 + text[1:]).encode()


FAULTS = (
    Fault("truncated", "malformed_json", _truncated),
    Fault("not_json", "malformed_json", lambda reading: b"monitor restarted, please wait"),
    Fault("two_objects", "several_objects", _two_objects),
    Fault("nan", "malformed_json", _number_as("NaN")),
    Fault("wrong_type", "wrong_type", _number_as('"eighty-two"')),
    Fault("wrong_type_seq", "wrong_type", _replaced('"seq":', '"seq":0.5,"was_seq":')),
    Fault("invalid_utf8", "invalid_utf8", _invalid_utf8),
    Fault("empty", "empty_message", lambda reading: b""),
    Fault("tombstone", "tombstone", lambda reading: None),
    Fault("unknown_code", "unknown_code", _replaced('"code":"', '"code":"X')),
    Fault("unknown_unit", "unknown_unit", lambda reading: encode(reading._replace(unit="furlong")).encode()),
    Fault("missing_subject", "missing_subject", _nobody),
    Fault("subject_mismatch", "subject_mismatch", _someone_else),
    Fault("far_future", "time_in_future", _at_time("9999-12-31T23:59:59.999Z")),
    Fault("clock_unset", "implausible_time", _at_time("1970-01-01T00:00:07.000Z")),
    Fault("no_time_zone", "time_without_zone", _at_time("2026-11-22T01:02:03.456")),
    Fault("missing_field", "missing_field", _replaced('"code":', '"kode":')),
    Fault("missing_value", "missing_value", _number_as("null")),
    Fault("missing_unit", "missing_unit", lambda reading: encode(reading._replace(unit=None)).encode()),
    Fault("larger_than_usual", None, _larger_than_usual),
)
"""In the order in which a ward sends them, over and over: a short run sees as many kinds as it has faults."""
