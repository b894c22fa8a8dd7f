"""Batches of messages for the tests of the steps."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.decode.json import JsonDecoder
from pipelines.deduplicate import FirstPositions, deduplicate
from pipelines.normalise import normalise
from pipelines.pseudonymise import pseudonymise
from pipelines.validate import validate
from warehouse.contract import StreamContract, load_contracts
from warehouse.identity import Tokenizer

VITALS = load_contracts().stream("device.vitals")
LABS = load_contracts().stream("lab.results")
ADT = load_contracts().stream("adt.events")
MEDICATION = load_contracts().stream("medication.events")
ALERTS = load_contracts().stream("clinical.alerts")
KEY = bytes(range(32))
APPENDED_MS = 1_795_309_500_000  # 2026-11-22T01:05:00Z


def tokenizer() -> Tokenizer:
    return Tokenizer(KEY, VITALS.topic.key_system)


def _changed(fields: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    """The fields with the changes; a change to `...` leaves its field out."""
    return {name: value for name, value in (fields | changes).items() if value is not ...}


def reading(**changes: object) -> dict[str, object]:
    """A right reading of patient P000123; a change to `...` leaves the field out."""
    fields = {
        "event_id": "3f1c6f52-8d54-4f0a-9a3e-0a7f6f0f2b11",
        "patient_id": "P000123",
        "device_id": "MON-0042",
        "ward": "ICU-2",
        "code": "8867-4",
        "value": 82.0,
        "unit": "/min",
        "event_time": "2026-11-22T01:02:03.456Z",
        "received_at": None,
        "seq": 12345,
    }
    return _changed(fields, changes)


def wave(**changes: object) -> dict[str, object]:
    """A right stretch of electrocardiogram of patient P000123."""
    fields = {"code": "131330", "value": ..., "values": [0.1, 0.2, 1.1], "period_ms": 4.0, "unit": "mV"}
    return reading(**(fields | changes))


def lab(**changes: object) -> dict[str, object]:
    """A right lactate of patient P000123; a change to `...` leaves the field out."""
    fields = {
        "event_id": "9d2f6c1e",
        "patient_id": "P000123",
        "order_id": "L-1",
        "code": "2524-7",
        "value": 3.1,
        "unit": "mmol/L",
        "status": "F",
        "collected_at": "2026-11-22T01:00:00Z",
        "reported_at": "2026-11-22T01:04:00Z",
    }
    return _changed(fields, changes)


def adt(**changes: object) -> dict[str, object]:
    """A right admission of patient P000123; a change to `...` leaves the field out."""
    fields = {
        "event_id": "b7e1",
        "patient_id": "P000123",
        "stay_id": "S1",
        "type": "A01",
        "ward": "ICU-2",
        "bed": "07",
        "event_time": "2026-11-22T01:00:00Z",
        "identifiers": [{"system": "urn:oid:1.2", "value": "999"}],
        "name": {"family": "Example", "given": "Alex"},
        "birth_date": "1958-03-02",
        "sex": "F",
    }
    return _changed(fields, changes)


def medication(**changes: object) -> dict[str, object]:
    """A right administration to patient P000123; a change to `...` leaves the field out."""
    fields = {
        "event_id": "c0de",
        "patient_id": "P000123",
        "order_id": "M-1",
        "action": "administered",
        "code": "7512",
        "dose": 8.0,
        "unit": "ug/min",
        "route": "IV",
        "event_time": "2026-11-22T01:00:00.250Z",
    }
    return _changed(fields, changes)


def alert(**changes: object) -> dict[str, object]:
    """A right alert of patient P000123."""
    times = dict.fromkeys(("device", "appended", "processed"), "2026-11-22T01:02:03Z")
    fields = {
        "alert_id": "a1",
        "rule": "news2",
        "rule_version": "1",
        "model": None,
        "severity": "critical",
        "level": 3,
        "patient": {"patient_id": "P000123", "birth_date": "1950-02-28"},
        "subject_token": "t" * 26,
        "ward": "ICU-2",
        "bed": None,
        "episode_start": "2026-11-22T01:02:03Z",
        "reasons": ["respiratory_rate 26"],
        "missing": [],
        "late": False,
        "times": times,
        "expires_at": "2026-11-22T02:02:03Z",
        "retracts": None,
        "source": {"topic_id": "T", "partition": 1, "offset": 7},
    }
    return fields | changes


def encoded(message: object) -> bytes | None:
    return message if message is None or isinstance(message, bytes) else json.dumps(message).encode()


def messages(
    values: Iterable[object], keys: Iterable[bytes | None] | None = None, contract: StreamContract = VITALS
) -> MessageBatch:
    """Messages of partitions 0 and 1 in turn, at offsets with gaps."""
    values = [encoded(value) for value in values]
    n = len(values)
    return MessageBatch(
        stream=contract.name,
        topic_id="topic-1",
        partitions=np.arange(n, dtype=np.int32) % 2,
        offsets=np.arange(n, dtype=np.int64) * 3 + 100,
        appended_ms=np.full(n, APPENDED_MS, np.int64),
        keys=list(keys) if keys is not None else [b"P000123"] * n,
        values=values,
        intervals={0: (100, 3 * n + 100), 1: (100, 3 * n + 100)} if n else {},
    )


def decoded(
    values: Iterable[object], keys: Iterable[bytes | None] | None = None, contract: StreamContract = VITALS
) -> StreamBatch:
    batch = pseudonymise(StreamBatch(messages(values, keys, contract)), tokenizer(), contract)
    return JsonDecoder(contract).decode(batch)


def reasons(batch: StreamBatch) -> dict[int, str]:
    """Index -> reason of the rejects; asserts that no message is in two places."""
    places = [reject.index for reject in batch.rejects] + batch.row_index.tolist() + batch.duplicates.index.tolist()
    assert sorted(places) == list(range(len(batch.messages)))
    return {reject.index: reject.reason for reject in batch.rejects}


def worked(
    values: Iterable[object], contract: StreamContract, keys: Iterable[bytes | None] | None = None
) -> StreamBatch:
    """The messages through every step, with a memory of first positions that knows nothing before them."""
    batch = validate(normalise(decoded(values, keys, contract), contract), contract)
    return deduplicate(batch, FirstPositions(1000, 1000, KEY), contract)
