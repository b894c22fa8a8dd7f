"""The perfect ward's other streams: wearables, laboratory, admissions, medication, each with what must be kept of it.

Holds: messages and, made of the same facts by hand and not by any reader, the rows they must become.
Does not hold: the monitors' readings and the alerts (`perfect`), nor anything of the product.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .history import ADMISSIONS, LABS, MEDICATION, WEARABLES

START_MS = 1_795_000_000_000
STEP_MS = 20_000
COUNT = 80
PARTITIONS = 2


class Told(NamedTuple):
    """One message, whole or not, and the row it must become. `repeats`: the number of the one it repeats."""

    stream: str
    number: int
    patient: int | None
    said: dict[str, Any]
    kept: dict[str, Any]
    unknown: dict[str, Any]
    reason: str | None = None
    repeats: int | None = None

    @property
    def event_id(self) -> str:
        return f"{self.stream[:3]}-{self.number if self.repeats is None else self.repeats}"

    @property
    def person(self) -> str | None:
        return None if self.patient is None else f"P{self.patient:06d}"

    @property
    def token(self) -> str | None:
        return None if self.patient is None else hashlib.md5(f"{self.patient}".encode()).hexdigest()

    @property
    def partition(self) -> int:
        return (self.patient or 0) % PARTITIONS

    @property
    def offset(self) -> int:
        """Patients take turns: 1, 2, 3, 1, 2, 3 …; a device's messages are in partition 0."""
        return sum(each.partition == self.partition for each in _ALL[self.stream][: self.number])

    @property
    def fate(self) -> str:
        if self.reason:
            return "reject"
        return "row" if self.repeats is None else "duplicate"

    @property
    def appended_ms(self) -> int:
        return at_ms(self.number) + 600

    def key(self) -> bytes:
        return (self.person or "device:SCALE-1").encode()

    def message(self) -> bytes:
        said = {"event_id": self.event_id, "patient_id": self.person, **self.said, **self.unknown}
        whole = json.dumps(said).encode()
        return whole[:40] if self.reason else whole

    def row(self) -> dict[str, Any]:
        more = json.dumps(self.unknown, separators=(",", ":")).encode()
        cells = (
            sealed(self.stream, "unknown_fields", more, self.token, self.appended_ms) if self.unknown else (None, None)
        )
        fields = dict(zip(("unknown_fields", "unknown_sealed_under"), cells, strict=True))
        return {"event_id": self.event_id, "subject_token": self.token, **self.kept, **fields}


def key_of(owner: str) -> bytes:
    """The perfect ward's data keys, by the owner's name alone."""
    return hashlib.sha256(owner.encode()).digest()


def sealed(stream: str, column: str, plain: bytes, token: str | None, appended_ms: int) -> tuple[bytes, str]:
    """A cell as the product must seal it, and under whose key."""
    day = f"day:{datetime.fromtimestamp(appended_ms / 1000, UTC):%Y-%m-%d}"
    owner, place, under = (f"person:{token}", token, "person") if token else (day, day, day)
    nonce = hashlib.sha256(plain).digest()[:12]
    return nonce + AESGCM(key_of(owner)).encrypt(nonce, plain, f"{stream}|{column}|{place}|0".encode()), under


def packed(key: bytes, value: bytes) -> bytes:
    """A message of a key and a value of less than 256 and 65,536 bytes in MessagePack."""
    return bytes([0x92, 0xC4, len(key)]) + key + b"\xc5" + len(value).to_bytes(2, "big") + value


def sealed_message(stream: str, key: bytes, value: bytes, token: str | None, appended_ms: int) -> dict[str, Any]:
    """What a reject keeps of its message."""
    cells = sealed(stream, "sealed_payload", packed(key, value), token, appended_ms)
    return dict(zip(("sealed_payload", "sealed_under"), cells, strict=True))


def at_ms(number: int) -> int:
    return START_MS + number * STEP_MS


def iso(milliseconds: int) -> str:
    """ISO 8601 with milliseconds and Z."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def _wearable(number: int) -> tuple[dict, dict]:
    said = {"device_id": "CGM-1", "ward": "HOME", "event_time": iso(at_ms(number)), "seq": number}
    kept = {**said, "event_time": at_ms(number) * 1000, "quality_flag": None}
    if number % 4 == 0:
        wave = {"code": "131330", "values": [100.0 + number, -50.0], "period_ms": 4.0, "unit": "uV"}
        samples = [(100.0 + number) / 1000, -0.05]
        return said | wave, kept | {"code": "131330", "samples": samples, "period_ms": 4.0, "unit": "mV"}
    if number % 4 == 1:
        glucose = {"code": "99504-3", "value": 5.0 + number / 8, "unit": "mmol/L"}
        return said | glucose, kept | {"code": "99504-3", "numeric_value": (5.0 + number / 8) * 18.016, "unit": "mg/dL"}
    value = 0.0 if number == 6 else 60.0 + number
    kept |= {"numeric_value": value, "quality_flag": "probe_off" if number == 6 else None, "unit": "/min"}
    return said | {"code": "8867-4", "value": value, "unit": "/min"}, kept | {"code": "8867-4"}


def _result(number: int) -> tuple[dict, dict]:
    status = "PFCX"[number // 3 % 4]
    said = {"order_id": f"L-{number // 12}", "code": "2160-0", "status": status, "lab": "CENTRAL", "comparator": None}
    said |= {"collected_at": iso(at_ms(number - number % 12)), "reported_at": iso(at_ms(number))}
    times = {"collected_at": at_ms(number - number % 12) * 1000, "reported_at": at_ms(number) * 1000}
    kept = said | times | {"quality_flag": None}
    if status == "X":
        return said, kept
    comparator = "<" if number % 5 == 0 else None
    said |= {"value": 88.4 * (1 + number), "unit": "umol/L", "comparator": comparator}
    flag = "out_of_range" if 1 + number > 60 else None
    return said, kept | {"numeric_value": 1.0 + number, "unit": "mg/dL", "comparator": comparator, "quality_flag": flag}


def _admission(number: int) -> tuple[dict, dict]:
    said = {
        "stay_id": f"S{number % 3}",
        "type": ("A01", "A02", "A03", "A13")[number // 3 % 4],
        "ward": f"W{number % 5}",
    }
    said |= {"bed": f"{number:02d}", "sex": "F"}
    kept = said | {"event_time": at_ms(number) * 1000, "recorded_at": at_ms(number) * 1000 + 1, "birth_year": 1950}
    said |= {"event_time": iso(at_ms(number)), "recorded_at": iso(at_ms(number))[:-1] + "001Z"}
    return said | {"birth_date": "1950-12-31", "name": {"family": "Example"}, "identifiers": [{"value": "1"}]}, kept


def _medication(number: int) -> tuple[dict, dict]:
    said = {"order_id": f"M-{number}", "action": "administered", "code": "7512", "route": "IV"}
    kept = said | {"event_time": at_ms(number) * 1000 + 250, "dose": 0.06 * number, "unit": "mg/h"}
    said |= {"event_time": iso(at_ms(number))[:-1] + "250Z", "dose": 1.0 * number, "unit": "ug/min"}
    return said, kept


_STRINGS = {
    WEARABLES: ("device_id", "ward", "code", "text_value", "unit", "quality_flag"),
    LABS: ("order_id", "code", "comparator", "unit", "status", "lab", "quality_flag"),
    ADMISSIONS: ("stay_id", "type", "ward", "bed", "sex"),
    MEDICATION: ("order_id", "action", "code", "unit", "route"),
}
_MOMENT = pa.timestamp("us", "UTC")
_OTHERS = {
    WEARABLES: (
        ("numeric_value", pa.float64()), ("samples", pa.list_(pa.float64())), ("period_ms", pa.float64()),
        ("event_time", _MOMENT), ("received_at", _MOMENT), ("seq", pa.int64()),
    ),
    LABS: (("numeric_value", pa.float64()), ("collected_at", _MOMENT), ("reported_at", _MOMENT)),
    ADMISSIONS: (("event_time", _MOMENT), ("recorded_at", _MOMENT), ("birth_year", pa.int32())),
    MEDICATION: (("dose", pa.float64()), ("event_time", _MOMENT)),
}  # fmt: skip
SEALED = [("unknown_fields", pa.binary()), ("unknown_sealed_under", pa.string())]


def row_columns(stream: str) -> list[tuple[str, pa.DataType]]:
    """Columns of a stream's table but those of the message's place."""
    strings = ("event_id", "subject_token", *_STRINGS[stream])
    return [*((name, pa.string()) for name in strings), *_OTHERS[stream], *SEALED]


def _told(stream: str, say: Callable[[int], tuple[dict, dict]], number: int) -> Told:
    patient: int | None = 1 + number % 3
    if stream == WEARABLES and number % 20 == 7:
        patient = None
    unknown = {"vendor": {"site": number}} if number % 9 in (3, 7) else {}
    if number % 10 == 6 and number > 6:
        return _told(stream, say, number - 3)._replace(number=number, repeats=number - 3, reason=None)
    return Told(stream, number, patient, *say(number), unknown, "malformed_json" if number % 10 == 5 else None)


_ALL = {
    stream: [_told(stream, say, number) for number in range(COUNT)]
    for stream, say in (
        (WEARABLES, _wearable),
        (LABS, _result),
        (ADMISSIONS, _admission),
        (MEDICATION, _medication),
    )
}


def told_by_stream() -> dict[str, list[Told]]:
    """Stream -> its messages in the order of sending: rows, rejects, duplicates, some saying more than is known."""
    return _ALL
